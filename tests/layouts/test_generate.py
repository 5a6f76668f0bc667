"""Generating turns plates and trees into job files, and never touches one that exists."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jobtool.errors import LayoutError
from jobtool.jobs.jobfile import decode
from jobtool.layouts.drafts import Drafter
from tests.trees import OBJECTS, contents, make_items, make_plate, snapshot, write

OBJECTS_8 = OBJECTS.format("source_8", "cellpose")


def test_plates_become_jobs_with_their_fields_and_destination(place) -> None:
    for source, batch, plate in (("s1", "J1", "A1"), ("s1", "J2", "A1"), ("s2", "J1", "A1")):
        make_plate(place.source, plate, batch=batch, source=source)
    outcome = place.generate("plates")
    assert outcome.counts == (3, 0)
    jobs = place.jobs()
    assert set(jobs) == {"s1__J1__A1", "s1__J2__A1", "s2__J1__A1"}
    job = jobs["s1__J2__A1"]
    assert job.fields == {"source": "s1", "batch": "J2", "plate": "A1"}
    assert job.destination == f"{place.destination}/s1/J2/A1"
    assert job.source == f"{place.source}/{OBJECTS.format('s1', 'cellpose')}/J2/A1"
    assert {job.status.value for job in jobs.values()} == {"todo"}


def test_sources_batches_and_plates_are_counted(place) -> None:
    for source, batch, plate in (("s1", "J1", "A1"), ("s1", "J1", "A2"), ("s2", "J9", "A1")):
        make_plate(place.source, plate, batch=batch, source=source)
    outcome = place.generate("plates")
    assert outcome.texts("found") == [
        "Found 2 source(s):\n  - s1\n  - s2",
        "Found 1 batch(es) for source 's1'.",
        "Found 2 plate(s) for source 's1' in batch 'J1'.",
        "Found 1 batch(es) for source 's2'.",
        "Found 1 plate(s) for source 's2' in batch 'J9'.",
    ]
    assert outcome.texts("generated") == ["Created 3 job(s)."]


def test_plates_without_their_zarr_are_counted_and_named(place) -> None:
    make_plate(place.source, "A1")
    missing = [str(make_plate(place.source, plate, complete=False)) for plate in ("A2", "A3")]
    outcome = place.generate("plates")
    assert set(place.jobs()) == {"source_8__J1__A1"}
    assert outcome.texts("incomplete") == [
        "\n".join(
            ["Skipped 2 without {plate}.zarr, not finished yet:", *(f"  - {m}" for m in missing)]
        )
    ]
    assert outcome.generated.incomplete == 2
    assert outcome.texts("found")[-1] == "Found 1 plate(s) for source 'source_8' in batch 'J1'."


def test_generating_again_adds_what_is_new_and_touches_nothing_else(place) -> None:
    make_plate(place.source, "A1")
    late = make_plate(place.source, "A2", complete=False)
    place.generate("plates")
    before = place.files()
    write(late / "A2.zarr" / ".zgroup")
    make_plate(place.source, "A0")
    assert place.generate("plates").counts == (2, 1)
    after = place.files()
    assert len(after) == 3
    assert {path: after[path] for path in before} == before


def test_finished_edited_and_invalid_job_files_stay_as_they_are(place) -> None:
    for plate in ("A1", "A2", "A3", "A4"):
        make_plate(place.source, plate)
    place.generate("plates")
    files = sorted(place.joblist.glob("*.txt"))
    files[0].write_bytes(files[0].read_bytes().replace(b"todo", b"success") + b"my note\n")
    files[1].write_bytes(files[1].read_bytes().replace(b"/out/", b"/elsewhere/"))
    files[2].write_bytes(b"Done\n")
    files[3].write_bytes(b"")
    before = place.files()
    assert place.generate("plates").counts == (0, 4)
    assert place.files() == before


def test_a_job_file_that_was_removed_is_made_again(place) -> None:
    make_plate(place.source, "A1")
    place.generate("plates")
    (place.joblist / "source_8__J1__A1.txt").unlink()
    assert place.generate("plates").counts == (1, 0)


def test_two_plates_with_one_destination_are_refused_with_both_named(place) -> None:
    one = make_plate(place.source, "A1")
    other = make_plate(place.source, "A1", method="stardist")
    message = place.refused("plates")
    assert str(one) in message
    assert str(other) in message
    assert f"{place.destination}/source_8/J1/A1" in message


def test_jobs_of_one_name_but_other_destinations_are_both_made_and_stay(place, layout_file) -> None:
    for path in ("a/b__c", "a__b/c"):
        write(place.source / path / "file")
    layout = layout_file(
        "pattern = '{x}/{y}'\nname = '{x}__{y}'\ndestination = '{destination}/{x}/{y}'"
    )
    assert place.generate(layout).counts == (2, 0)
    jobs = place.jobs()
    assert {job.destination for job in jobs.values()} == {
        f"{place.destination}/a/b__c",
        f"{place.destination}/a__b/c",
    }
    assert "a__b__c" in jobs
    before = place.files()
    assert place.generate(layout).counts == (0, 2)
    assert place.files() == before


def test_a_second_job_of_one_source_is_never_taken_for_one_that_was_there(
    place, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(place.source / "f")
    find = Drafter.drafts
    monkeypatch.setattr(Drafter, "drafts", lambda drafter: find(drafter) * 2)
    with pytest.raises(LayoutError, match="two jobs would have the one source"):
        place.generate("tree")


HARD_NAMES = [
    'a "quoted" -> #1',
    "line\nbreak",
    "-leading dash",
    "~",
    ".hidden",
    "per%cent%2F",
    "ü🧬",
    "x" * 255,
    "é" * 127,
    os.fsdecode(b"caf\xe9"),
]


def test_items_of_any_name_become_jobs_that_know_their_name(place) -> None:
    for name in HARD_NAMES:
        write(place.source / name / "file")
    assert place.generate("tree").counts == (len(HARD_NAMES), 0)
    jobs = place.jobs()
    assert set(jobs) == set(HARD_NAMES)
    for name, job in jobs.items():
        assert job.source == f"{place.source}/{name}"
        assert job.destination == f"{place.destination}/{name}"
    for path in place.joblist.glob("*.txt"):
        assert len(os.fsencode(path.name)) <= 255
        assert not set(path.name) & set("\n/ \t") - {" "}
        assert decode(path.read_bytes(), job_id=path.stem)[0].name in HARD_NAMES
    before = place.files()
    assert place.generate("tree").counts == (0, len(HARD_NAMES))
    assert place.files() == before


def test_a_name_with_a_slash_is_one_job_file(place, layout_file) -> None:
    write(place.source / "b1" / "p1" / "file")
    layout = layout_file(
        "pattern = '{b}/{p}'\nname = '{b}/{p}'\ndestination = '{destination}/{b}/{p}'"
    )
    place.generate(layout)
    assert set(place.jobs()) == {"b1/p1"}
    assert [path.name for path in place.joblist.glob("**/*.txt")] == ["b1%2Fp1.txt"]
    assert place.generate(layout).counts == (0, 1)


def test_a_joblist_inside_the_input_path_is_no_job(place) -> None:
    make_items(place.source, 2)
    joblist = str(place.source / "jobs" / "list")
    for counts in ((2, 0), (0, 2)):
        assert place.generate("tree", joblist_path=joblist).counts == counts
    assert "jobs" not in {path.stem for path in Path(joblist).glob("*.txt")}


@pytest.mark.parametrize("inside", ["", "/out", "/deep/er"])
def test_a_destination_inside_the_input_path_is_refused(place, inside: str) -> None:
    make_items(place.source, 2)
    destination = f"{place.source}{inside}"
    assert destination in place.refused("tree", destination=destination)


def test_a_destination_beside_the_input_path_with_its_name_in_front_is_fine(place) -> None:
    make_items(place.source, 2)
    assert place.generate("tree", destination=f"{place.source}-moved").counts == (2, 0)


def test_a_dry_run_tells_the_same_and_writes_nothing(place) -> None:
    make_plate(place.source, "A1")
    make_plate(place.source, "A2", complete=False)
    before = snapshot(place.root)
    outcome = place.generate("plates", dry_run=True)
    assert outcome.texts("generated") == ["Would create 1 job(s); 1 not finished."]
    assert len(outcome.texts("job")) == 1
    assert snapshot(place.root) == before
    place.generate("plates")
    before = snapshot(place.root)
    make_plate(place.source, "A3")
    source = snapshot(place.source)
    assert place.generate("plates", dry_run=True).counts == (1, 1)
    assert snapshot(place.root) == before | source


def test_a_joblist_knows_all_a_second_run_needs(place) -> None:
    make_plate(place.source, "A1")
    place.generate("plates")
    make_plate(place.source, "A2")
    assert place.generate(None, destination=None).counts == (1, 1)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"destination": "s3://other/place"}, ["destination", "s3://other/place", "{out}"]),
        ({"layout": "tree"}, ["layout", "{{item}}", "{{plate}}"]),
        ({"source": "{root}/in2"}, ["input path", "{root}/in2", "{root}/in"]),
    ],
    ids=["destination", "layout", "input path"],
)
def test_an_existing_joblist_is_never_mixed_with_another_way_of_making_it(
    place, change: dict[str, str], expected: list[str]
) -> None:
    names = {"out": place.destination, "root": str(place.root)}
    make_plate(place.source, "A1")
    make_plate(place.root / "in2", "A2")
    place.generate("plates")
    message = place.refused(
        **{"layout": "plates", **{k: v.format(**names) for k, v in change.items()}}
    )
    for text in expected:
        assert text.format(**names) in message
    assert str(place.joblist) in message


def test_a_layout_of_the_users_with_values_of_its_own(place, layout_file) -> None:
    for run in ("run_1", "run_2", "notes"):
        write(place.source / run / "DONE")
    write(place.source / "run_3" / "data")
    layout = layout_file(
        "pattern = 'run_{run}'\nname = '{lab}-{run}'\nrequire = ['DONE']\n"
        "destination = '{destination}/{lab}/{run}'\n[layout.values]\nlab = 'ann'"
    )
    # A value's name can't be part of a job's name: that must not change with --set.
    assert "{lab}" in place.refused(layout)
    layout = layout_file(
        "pattern = 'run_{run}'\nname = '{run}'\nrequire = ['DONE']\n"
        "destination = '{destination}/{lab}/{run}'\n[layout.values]\nlab = 'ann'"
    )
    assert place.generate(layout, values={"lab": "bob"}).counts == (2, 0)
    assert {job.destination for job in place.jobs().values()} == {
        f"{place.destination}/bob/1",
        f"{place.destination}/bob/2",
    }
    os.unlink(layout)  # the joblist doesn't depend on it
    write(place.source / "run_3" / "DONE")
    assert place.generate(None).counts == (1, 2)
    assert "'ann'" in place.refused(None, values={"lab": "ann"})


def test_files_of_a_layout_may_have_names_that_sound_secret(place, layout_file) -> None:
    write(place.source / "p1" / "tokens.parquet")
    layout = layout_file(
        "pattern = '{p}'\nname = '{p}'\n[layout.files]\n"
        "'tokens.parquet' = '{destination}/{p}.parquet'"
    )
    place.generate(layout)
    assert place.generate(None).counts == (0, 1)


def test_an_s3_prefix_is_an_input_path(place, rclone_s3, monkeypatch) -> None:
    for name, value in rclone_s3.environment.items():
        monkeypatch.setenv(name, value)
    bucket = rclone_s3.new_bucket()
    tree = place.root / "tree"
    make_plate(tree, "A1")
    make_plate(tree, "A2", complete=False)
    for path, data in contents(tree).items():
        rclone_s3.client.put_object(Bucket=bucket, Key=f"results/{path}", Body=data)
    outcome = place.generate(None, source=f"s3://{bucket}/results")
    assert outcome.texts("layout")[0].startswith("Layout: plates")
    assert place.jobs()["source_8__J1__A1"].source == f"s3://{bucket}/results/{OBJECTS_8}/J1/A1"
    assert outcome.generated.incomplete == 1
    assert place.generate(None, source=f"s3://{bucket}/results").counts == (0, 1)
