"""``jobtool release``, as people and scripts use it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.commands import assert_one_line_error, run, run_ok
from tests.release.worlds import FILES_OF, World, fill, moved_world


@pytest.fixture
def world(folder: Path) -> World:
    return moved_world(folder)


def test_without_yes_it_lists_what_would_go(world: World) -> None:
    done = run_ok("jobtool", "release", world.joblist)
    assert done.lines == [
        "💡 a: 2 file(s), 200 B, would go",
        "💡 b: 2 file(s), 299 B, would go",
        "💡 Nothing was changed. Do it with --yes.",
    ]
    assert run_ok("jobtool", "release", world.joblist, "--dry-run").lines == done.lines
    assert world.left() == FILES_OF


def test_with_yes_it_does_it_and_names_each_file_if_asked(world: World) -> None:
    (world.copies / "b" / "2").unlink()
    done = run("jobtool", "release", "-i", world.joblist, "--yes", "-v", "3")
    assert done.exit_code == 1
    assert done.stdout.count("Moved to the trash") == 3
    assert "found nothing there now" in done.stdout
    assert set(world.left()) == {"b/2"}


def test_events_are_json(world: World) -> None:
    (world.copies / "b" / "2").unlink()
    done = run("jobtool", "release", world.joblist, "--yes", "--json", "-v", "3")
    events = [json.loads(line) for line in done.lines]
    assert [one["event"] for one in events].count("file-released") == 3
    (stays,) = [one for one in events if one["event"] == "file-stays"]
    assert set(stays) == {"event", "job", "path", "reason"}
    sums = {one["job"]: one for one in events if one["event"] == "job-released"}
    assert (sums["a"]["files"], sums["b"]["files"], sums["b"]["stay"]) == (2, 1, 1)


def test_single_jobs_and_the_trash(world: World) -> None:
    run_ok("jobtool", "release", world.joblist, "--yes", "--job", "a", "--keep-days", "0")
    assert set(world.left()) == {path for path in FILES_OF if path.startswith("b/")}
    done = run_ok("jobtool", "release", world.joblist, "--empty-trash")
    assert "2 file(s), 200 B, would be removed from the trash" in done.stdout
    assert len(world.trashed()) == 2
    run_ok("jobtool", "release", world.joblist, "--empty-trash", "--yes")
    assert not world.trash.exists()
    assert set(world.left()) == {path for path in FILES_OF if path.startswith("b/")}


def test_wrong_usage(world: World) -> None:
    done = run("jobtool", "release", world.joblist, "--yes", "--dry-run")
    assert_one_line_error(done, 2, "either --yes or --dry-run")
    done = run("jobtool", "release", world.joblist, "--job", "nowhere")
    assert_one_line_error(done, 2, "found nowhere")
    done = run("jobtool", "release", world.joblist, "--keep-days", "-1")
    assert done.exit_code == 2
    done = run("jobtool", "release", world.joblist, "--trash", "s3://bucket/x")
    assert_one_line_error(done, 2, "expected a folder")
    assert world.left() == FILES_OF


@pytest.mark.parametrize("what", [".", "joblist.toml", "a.txt", "receipts", "receipts/a.parquet"])
def test_a_joblist_that_others_may_write_removes_nothing(world: World, what: str) -> None:
    path = world.joblist / what
    path.chmod(path.stat().st_mode | 0o022)
    done = run("jobtool", "release", world.joblist, "--yes")
    assert_one_line_error(done, 2, "others could have written", "--trust")
    assert world.left() == FILES_OF
    run_ok("jobtool", "release", world.joblist, "--yes", "--trust")
    assert world.left() == {}


def test_what_a_table_lists(folder: Path) -> None:
    world = World(folder)
    fill(world.source, {"one.bin": b"1", "two.bin": b"2", "x/three.bin": b"3"})
    table = folder / "files.csv"
    table.write_text("src_path,dst_path\ndata/one.bin,1\ndata/x/three.bin,3\ndata/one.bin,again\n")
    run_ok("generate-joblist", "-i", table, "-o", world.joblist, "-d", world.copies, "-v", "0")
    run_ok("transfer-worker", "-i", world.joblist, "-v", "0")
    (world.copies / "again").unlink()
    assert run("jobtool", "release", world.joblist, "--yes").exit_code == 1
    assert world.left() == {"one.bin": b"1", "two.bin": b"2"}
    (world.copies / "again").write_bytes(b"1")
    run_ok("jobtool", "release", world.joblist, "--yes")
    assert world.left() == {"two.bin": b"2"}


def test_the_trash_is_no_job(world: World) -> None:
    run_ok("jobtool", "release", world.joblist, "--yes")
    before = sorted(world.joblist.glob("*.txt"))
    run("generate-joblist", "-i", world.source, "-o", world.joblist)
    assert sorted(world.joblist.glob("*.txt")) == before
