"""Partitions: two tables of each go to two folders, under names that are made once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.commands import run, run_ok
from tests.trees import contents, make_partition, statuses

A80 = "https%3A%2F%2Fa.example%3A80"
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


@pytest.fixture
def folders(place) -> dict[str, str]:
    return {
        "dst_image_folder": f"{place.root}/images",
        "dst_error_folder": f"{place.root}/errors",
    }


def generate(place, folders: dict[str, str]):
    return place.generate("partitions", destination=None, values=folders)


def uuids(place) -> set[str]:
    text = b"".join(path.read_bytes() for path in place.joblist.glob("*.txt")).decode()
    return set(re.findall(UUID, text))


def test_a_partition_copies_its_two_tables_under_one_uuid(place, folders) -> None:
    folder = make_partition(place.source, A80, 7)
    generate(place, folders)
    (job,) = place.jobs().values()
    assert (job.name, job.source) == ("https___a.example_80__7", str(folder))
    assert job.fields == {"server": A80, "partition": "7"}
    (uuid,) = uuids(place)
    assert {pair.source: pair.destination for pair in job.files} == {
        "successes.parquet": f"{place.root}/images/server=https___a.example_80/data_{uuid}.parquet",
        "errors.parquet": f"{place.root}/errors/server=https___a.example_80/errors_{uuid}.parquet",
    }


def test_each_partition_has_a_uuid_and_no_second_one_is_minted(place, folders) -> None:
    for partition in range(3):
        make_partition(place.source, A80, partition)
    generate(place, folders)
    before, minted = place.files(), uuids(place)
    assert len(minted) == 3
    assert generate(place, folders).counts == (0, 3)
    assert place.files() == before
    make_partition(place.source, A80, 3)
    assert generate(place, folders).counts == (1, 3)
    after = place.files()
    assert {path: after[path] for path in before} == before
    assert len(uuids(place)) == 4
    assert minted < uuids(place)


def test_unfinished_partitions_are_skipped_and_counted(place, folders) -> None:
    make_partition(place.source, "a", 0)
    unfinished = make_partition(place.source, "a", 1, completed=False)
    outcome = generate(place, folders)
    assert outcome.counts == (1, 0)
    assert outcome.generated.incomplete == 1
    assert outcome.texts("incomplete") == [
        f"Skipped 1 without completed, not finished yet:\n  - {unfinished}"
    ]
    (unfinished / "completed").touch()
    assert generate(place, folders).counts == (1, 1)


def test_only_unfinished_partitions_make_no_job_and_are_no_mistake(place, folders) -> None:
    make_partition(place.source, "a", 0, completed=False)
    outcome = generate(place, folders)
    assert outcome.counts == (0, 0)
    assert outcome.generated.exit_code == 0


def test_a_missing_table_of_errors_is_normal(place, folders) -> None:
    make_partition(place.source, "a", 0, errors=False)
    assert generate(place, folders).generated.exit_code == 0
    (job,) = place.jobs().values()
    assert [pair.source for pair in job.files] == ["successes.parquet"]
    assert job.status == "todo"


def test_a_missing_table_of_successes_is_a_job_in_error_and_exit_1(tmp_path: Path) -> None:
    make_partition(tmp_path / "in", "a", 0)
    missing = make_partition(tmp_path / "in", "a", 1, successes=False)
    values = [f"--set=dst_{kind}_folder={tmp_path}/{kind}" for kind in ("image", "error")]
    done = run("generate-joblist", "-i", tmp_path / "in", "-o", tmp_path / "list", *values)
    reason = f"expected successes.parquet in {missing}; found none"
    assert done.exit_code == 1
    assert f"❌ Invalid job a__1: {reason}" in done.lines
    assert "💡 Created 2 job(s); 1 invalid." in done.lines
    assert statuses(tmp_path / "list") == {"a__0": "todo", "a__1": "error"}
    assert run("transfer-worker", "-i", tmp_path / "list").exit_code == 1
    assert statuses(tmp_path / "list") == {"a__0": "success", "a__1": "error"}
    assert reason in run("summarise-jobs", "-i", tmp_path / "list").stdout
    # Once the table is there, a person puts the job back.
    (missing / "successes.parquet").write_bytes(b"late")
    jobfile = tmp_path / "list" / "a__1.txt"
    jobfile.write_text(jobfile.read_text().replace("error\n", "todo\n", 1))
    run_ok("transfer-worker", "-i", tmp_path / "list")
    assert b"late" in contents(tmp_path / "image").values()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("a%3A80", "a_80", "a_80"), ("a%3A80", "a%3a80", "a_80"), ("a b", "a:b", "a_b")],
)
def test_two_servers_of_one_safe_name_are_refused_with_both_named(
    place, folders, one: str, other: str, same: str
) -> None:
    make_partition(place.source, one, 0)
    make_partition(place.source, other, 1)
    message = place.refused("partitions", destination=None, values=folders)
    assert f"server {one} and server {other} would both become {same!r}" in message


@pytest.mark.parametrize("missing", ["dst_image_folder", "dst_error_folder"])
def test_a_folder_that_is_not_given_is_asked_for(place, folders, missing: str) -> None:
    make_partition(place.source, "a", 0)
    del folders[missing]
    message = place.refused("partitions", destination=None, values=folders)
    assert f"--set {missing}=VALUE" in message


def test_folders_may_be_relative_to_the_destination(place) -> None:
    make_partition(place.source, "a", 0)
    values = {"dst_image_folder": "images", "dst_error_folder": "errors"}
    place.generate("partitions", values=values)
    (job,) = place.jobs().values()
    assert all(pair.destination.startswith(("images/", "errors/")) for pair in job.files)
    run_ok("transfer-worker", "-i", place.joblist)
    assert len(contents(Path(place.destination))) == 2


def test_the_two_folders_may_lie_in_different_stores(place, rclone_s3) -> None:
    bucket = rclone_s3.new_bucket()
    for partition in range(2):
        make_partition(place.source, A80, partition)
    values = {
        "dst_image_folder": f"s3://{bucket}/images",
        "dst_error_folder": f"{place.root}/errors",
    }
    generate(place, values)
    run_ok("transfer-worker", "-i", place.joblist, env=rclone_s3.environment)
    listed = rclone_s3.client.list_objects_v2(Bucket=bucket)["Contents"]
    name = r"server=https___a\.example_80"
    assert all(re.fullmatch(rf"images/{name}/data_{UUID}\.parquet", item["Key"]) for item in listed)
    found = contents(place.root / "errors")
    assert all(re.fullmatch(rf"{name}/errors_{UUID}\.parquet", path) for path in found)
    assert len(listed) == len(found) == 2
    assert set(found.values()) == {f"errors of {A80} {n}".encode() for n in range(2)}


def test_a_secret_value_is_refused_before_anything_is_written(place, folders) -> None:
    make_partition(place.source, "a", 0)
    message = place.refused(
        "partitions", destination=None, values={**folders, "session_token": "sesame"}
    )
    assert "session_token" in message
    assert "sesame" not in message
