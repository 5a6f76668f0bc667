"""A folder of job files of the older form becomes a joblist without a change to any of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands import assert_one_line_error, run, run_ok
from tests.trees import contents, events, make_plate, status_of, statuses


@pytest.fixture
def old(place) -> dict[str, Path]:
    """Two plates with job files of the older form, and one without."""
    place.joblist.mkdir()
    plates = {plate: make_plate(place.source, plate) for plate in ("A1", "A2", "A3")}
    for plate, status in (("A1", "todo"), ("A2", "success")):
        text = f"{status}\n{plates[plate]}\n---\n2024-05-01 12:00:00 - started {plate}\n"
        (place.joblist / f"source_8__J1__{plate}.txt").write_text(text)
    return plates


def test_without_joblist_toml_it_is_refused_with_the_way_out(place, old) -> None:
    for command in ("transfer-worker", "summarise-jobs"):
        done = run(command, "-i", place.joblist)
        assert_one_line_error(done, 2, "joblist.toml", "generate-joblist", "older job files")


def test_generating_adds_what_is_missing_and_touches_no_job_file(place, old) -> None:
    before = place.files()
    assert place.generate("plates").counts == (1, 2)
    after = place.files()
    assert {path: after[path] for path in before} == before
    assert statuses(place.joblist) == {
        "source_8__J1__A1": "todo",
        "source_8__J1__A2": "success",
        "source_8__J1__A3": "todo",
    }


def test_its_jobs_go_where_the_layout_says(place, old) -> None:
    place.generate("plates")
    run_ok("transfer-worker", "-i", place.joblist)
    assert set(statuses(place.joblist).values()) == {"success"}
    for plate in ("A1", "A3"):
        moved = Path(place.destination) / "source_8" / "J1" / plate
        assert contents(moved) == contents(old[plate])
    assert not (Path(place.destination) / "source_8" / "J1" / "A2").exists()
    jobfile = place.joblist / "source_8__J1__A1.txt"
    assert "2024-05-01 12:00:00 - started A1\n" in jobfile.read_text()
    assert len(events(jobfile, "success")) == 1


def test_its_jobs_are_counted(place, old) -> None:
    place.generate("plates")
    lines = run_ok("summarise-jobs", "-i", place.joblist).lines
    assert {"💡 Total jobs: 3", "💡 Todo jobs: 2", "✅ Success jobs: 1"} <= set(lines)


def test_a_source_that_fits_no_layout_is_invalid_and_goes_nowhere(place, old) -> None:
    place.generate("plates")
    jobfile = place.joblist / "source_8__J1__A1.txt"
    jobfile.write_text("todo\n/somewhere/else/A1\n---\n")
    done = run("transfer-worker", "-i", place.joblist)
    assert (done.exit_code, done.stderr) == (1, "")
    assert "❌ Invalid job file source_8__J1__A1.txt: it names no destination" in done.stdout
    assert "/somewhere/else/A1 doesn't match" in done.stdout
    assert status_of(jobfile) == "todo"
    assert status_of(place.joblist / "source_8__J1__A3.txt") == "success"


def test_a_folder_of_nothing_but_older_job_files_gets_its_joblist_toml(place, old) -> None:
    place.generate("plates")
    (place.joblist / "joblist.toml").unlink()
    before = place.files()
    assert place.generate("plates").counts == (0, 3)
    assert place.files() == before
    assert (place.joblist / "joblist.toml").exists()
