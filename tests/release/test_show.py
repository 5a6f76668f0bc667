"""Nothing is removed that isn't proven now, and everything that is."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

import jobtool
from jobtool.jobs.table import read_table, write_table
from tests.commands import unused_port
from tests.release.worlds import (
    FILES_OF,
    MTIME_NS,
    World,
    deletions,
    moved_world,
    reasons,
    send,
)


@pytest.fixture
def world(folder: Path) -> World:
    return moved_world(folder)


def forge(world: World, job: str, **changes: object) -> None:
    """Change all receipts of a job."""
    table = str(world.joblist / "receipts" / f"{job}.parquet")
    receipts = [msgspec.structs.replace(one, **changes) for one in read_table(table)]
    write_table(table, receipts)


def assert_nothing_went(world: World, released: jobtool.Released, *paths: str) -> None:
    """These files are still there, and no record says that they go."""
    left = world.left()
    assert {path: left.get(path) is not None for path in paths} == dict.fromkeys(paths, True)
    named = {record["path"] for record in deletions(world)}
    assert not named & {os.fspath(world.source / path) for path in paths}
    assert released.exit_code == 1


def test_what_is_proven_goes_to_the_trash_with_a_record_of_it(world: World) -> None:
    released = world.release()
    assert (released.exit_code, released.stays) == (0, ())
    assert world.left() == {}
    assert world.arrived() == FILES_OF
    assert sorted(world.trashed().values()) == sorted(FILES_OF.values())
    assert released.files == len(FILES_OF)
    assert released.bytes == sum(map(len, FILES_OF.values()))
    kinds = [record["type"] for record in deletions(world)]
    assert kinds.count("intent") == kinds.count("trashed") == len(FILES_OF)
    assert jobtool.verify_jobs(str(world.joblist), deep=True).exit_code == 0


def test_without_being_asked_nothing_changes(world: World) -> None:
    before = world.left()
    released = jobtool.release_jobs(str(world.joblist))
    assert released.files == len(FILES_OF)
    assert world.left() == before
    assert not world.trash.exists()
    assert not (world.joblist / "deletions").exists()


def test_content_that_has_changed_with_the_same_size_and_time_stays(world: World) -> None:
    changed = world.source / "a" / "1"
    changed.write_bytes(b"ONE\n" * 50)
    os.utime(changed, ns=(MTIME_NS, MTIME_NS))
    released = world.release()
    assert_nothing_went(world, released, "a/1")
    assert "content has changed since" in reasons(released)["1"]
    assert world.left() == {"a/1": b"ONE\n" * 50}


@pytest.mark.parametrize("change", ["size", "time"])
def test_a_file_of_another_size_or_time_stays(world: World, change: str) -> None:
    changed = world.source / "b" / "2"
    if change == "size":
        changed.write_bytes(b"longer now\n" * 100)
    os.utime(changed, ns=(MTIME_NS + (change == "time"), MTIME_NS + (change == "time")))
    released = world.release()
    assert_nothing_went(world, released, "b/2")
    assert "changed since" in reasons(released)["2"]


def test_a_new_file_stays(world: World) -> None:
    (world.source / "a" / "new").write_bytes(b"not sent")
    world.release()
    assert world.left() == {"a/new": b"not sent"}


def test_a_receipt_that_names_other_bytes_proves_nothing(world: World) -> None:
    forge(world, "b", hashsum_src="0" * 32, hashsum_dst="0" * 32)
    released = world.release()
    assert_nothing_went(world, released, "b/2", "b/\udcff")
    assert "its receipt is false" in reasons(released)["2"]


def test_a_receipt_for_what_the_destination_does_not_hold(world: World) -> None:
    """The source and the receipt fit each other; the destination has other bytes of that size."""
    copy = world.copies / "b" / "2"
    copy.write_bytes(b"2wo\n" * 70)
    os.utime(copy, ns=(MTIME_NS, MTIME_NS))
    released = world.release()
    assert_nothing_went(world, released, "b/2")
    assert "it holds other bytes now" in reasons(released)["2"]


def test_a_receipt_with_two_digests(world: World) -> None:
    forge(world, "a", hashsum_dst="0" * 32)
    released = world.release()
    assert_nothing_went(world, released, "a/1")
    assert "proves nothing" in reasons(released)["1"]


def test_a_receipt_for_a_file_of_someone_else(world: World) -> None:
    precious = world.folder / "precious"
    precious.write_bytes(b"one\n" * 50)
    os.utime(precious, ns=(MTIME_NS, MTIME_NS))
    forge(world, "a", src_path=str(precious))
    released = world.release()
    assert precious.exists()
    assert any("isn't the job's to remove" in one.reason for one in released.stays)


def test_a_receipt_of_another_destination(world: World) -> None:
    """The job file names the required destination now; the receipts are of the former one."""
    path = world.joblist / "b.txt"
    path.write_bytes(path.read_bytes().replace(b"copies/b", b"elsewhere/b"))
    released = world.release()
    assert_nothing_went(world, released, "b/2", "b/\udcff")
    assert "expected a receipt of the destination of the job" in reasons(released)["2"]


def test_an_emptied_destination(world: World) -> None:
    shutil.rmtree(world.copies)
    before = world.left()
    released = world.release()
    assert world.left() == before == FILES_OF
    assert_nothing_went(world, released, *FILES_OF)
    assert "found nothing there now" in reasons(released)["1"]


def test_a_file_that_is_missing_at_the_destination_leaves_the_others_free(world: World) -> None:
    (world.copies / "b" / "2").unlink()
    released = world.release()
    assert world.left() == {"b/2": FILES_OF["b/2"]}
    assert released.files == len(FILES_OF) - 1


def test_an_unreachable_destination(
    folder: Path, rclone_s3, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in rclone_s3.environment.items():
        monkeypatch.setenv(name, value)
    world = World(folder)
    (world.source / "a").mkdir(parents=True)
    (world.source / "a" / "1").write_bytes(b"one")
    send(world, f"s3://{rclone_s3.new_bucket()}/x")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{unused_port()}")
    monkeypatch.setattr("jobtool.api.release._PATIENCE_SECONDS", 0.1)
    with pytest.raises(jobtool.UnreachableError, match=r"127\.0\.0\.1"):
        world.release()
    assert world.left() == {"a/1": b"one"}
    assert deletions(world) == []


@pytest.mark.parametrize("how", ["link", "linked folder", "hard link"])
def test_a_destination_that_is_the_source_itself(world: World, how: str) -> None:
    copy, source = world.copies / "b" / "2", world.source / "b" / "2"
    if how == "linked folder":
        shutil.rmtree(world.copies / "b")
        (world.copies / "b").symlink_to(world.source / "b")
    else:
        copy.unlink()
        copy.symlink_to(source) if how == "link" else os.link(source, copy)
    released = world.release()
    assert_nothing_went(world, released, "b/2")
    assert source.read_bytes() == FILES_OF["b/2"]


def test_a_destination_that_is_a_bind_mount_of_the_source(world: World) -> None:
    shutil.rmtree(world.copies)
    world.copies.mkdir()
    mounted = subprocess.run(
        ["mount", "--bind", world.source, world.copies], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no bind mount here: {mounted.stderr.strip()}")
    try:
        released = world.release()
        assert_nothing_went(world, released, *FILES_OF)
        assert "this file itself" in reasons(released)["1"]
    finally:
        subprocess.run(["umount", world.copies], check=True)
    assert world.left() == FILES_OF


def test_a_destination_that_is_the_source_by_a_mount_of_other_numbers(world: World) -> None:
    """bindfs gives files another device: only the look after the move notices it."""
    if shutil.which("bindfs") is None or not os.path.exists("/dev/fuse"):
        pytest.skip("no bindfs")
    shutil.rmtree(world.copies)
    world.copies.mkdir()
    mounted = subprocess.run(["bindfs", world.source, world.copies], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"bindfs can't mount here: {mounted.stderr.strip()}")
    try:
        released = world.release()
        assert released.exit_code == 1
        texts = " ".join(one.reason for one in released.stays)
        assert "It was put back" in texts
        assert "source and destination may be one" in texts
    finally:
        subprocess.run(["fusermount", "-u", world.copies], check=True)
    assert world.left() == FILES_OF
    assert world.trashed() == {}


def test_a_file_with_two_names_stays(world: World) -> None:
    os.link(world.source / "a" / "1", world.folder / "second name")
    released = world.release()
    assert_nothing_went(world, released, "a/1")
    assert "hard links" in reasons(released)["1"]


def test_a_folder_that_became_a_link(world: World) -> None:
    elsewhere = world.folder / "elsewhere"
    (world.source / "a").rename(elsewhere)
    (world.source / "a").symlink_to(elsewhere)
    released = world.release(jobs=["a"])
    assert "without links on the way" in reasons(released)["a"]
    assert (elsewhere / "1").read_bytes() == FILES_OF["a/1"]


def test_a_folder_below_the_source_that_became_a_link(world: World) -> None:
    elsewhere = world.folder / "elsewhere"
    (world.source / "a" / "deep").rename(elsewhere)
    (world.source / "a" / "deep").symlink_to(elsewhere)
    released = world.release(jobs=["a"])
    assert any("found a link" in one.reason for one in released.stays)
    assert (elsewhere / "x \n'ü").exists()


def test_a_job_that_is_not_done_keeps_its_files(world: World) -> None:
    path = world.joblist / "b.txt"
    path.write_bytes(path.read_bytes().replace(b"success", b"todo", 1))
    released = world.release()
    assert set(world.left()) == {"b/2", "b/\udcff"}
    assert released.exit_code == 0
    assert "found todo" in reasons(world.release(jobs=["b"]))["b"]


def test_a_second_job_needs_the_same_files_by_a_link(world: World) -> None:
    (world.folder / "link").symlink_to(world.source)
    job = (world.joblist / "a.txt").read_bytes().partition(b"\n---\n")[0]
    lines = [line for line in job.split(b"\n") if not line.startswith((b"attempts", b"fields"))]
    text = b"\n".join(lines).replace(b"success", b"todo", 1)
    text = text.replace(b"copies/a", b"more/a").replace(b"data/a", b"link/a")
    (world.joblist / "again.txt").write_bytes(text + b"\n---\n")
    released = world.release(jobs=["a"])
    assert {"a/1", "a/deep/x \n'ü"} <= set(world.left())
    assert "expected that the job again has sent it, too" in reasons(released)["1"]
    assert jobtool.transfer_jobs(str(world.joblist)).exit_code == 0
    assert world.release(jobs=["a"]).exit_code == 0
    assert not {"a/1", "a/deep/x \n'ü"} & set(world.left())


def test_a_second_job_needs_the_same_files(world: World) -> None:
    """Two destinations: no file goes before both have it."""
    more = world.folder / "more"
    job = (world.joblist / "a.txt").read_bytes().partition(b"\n---\n")[0]
    job = job.replace(b"success", b"todo", 1)
    destination = os.fsencode(world.copies)
    lines = [line for line in job.split(b"\n") if not line.startswith((b"attempts", b"fields"))]
    text = b"\n".join(lines).replace(b"copies/a", b"more/a")
    assert destination not in text.replace(b"copies/a", b"")
    (world.joblist / "again.txt").write_bytes(text + b"\n---\n")
    released = world.release(jobs=["a"])
    assert set(world.left()) >= {"a/1"}
    assert "expected that the job again has sent it, too" in reasons(released)["1"]
    assert jobtool.transfer_jobs(str(world.joblist)).exit_code == 0
    assert (more / "a" / "1").exists()
    (more / "a" / "1").write_bytes(b"lost\n" * 40)
    assert "bytes now" in reasons(world.release(jobs=["a"]))["1"]
    (more / "a" / "1").write_bytes(FILES_OF["a/1"])
    assert world.release(jobs=["a"]).exit_code == 0
    assert "a/1" not in world.left()


def test_a_job_file_that_cannot_be_read_keeps_everything(world: World) -> None:
    (world.joblist / "broken.txt").write_bytes(b"nonsense")
    with pytest.raises(jobtool.JobFileError, match="Nothing is released"):
        world.release()
    assert world.left() == FILES_OF


def test_compressed_copies_are_opened(folder: Path) -> None:
    world = World(folder)
    (world.source / "a").mkdir(parents=True)
    (world.source / "a" / "1").write_bytes(b"text " * 1000)
    (world.source / "a" / "2").write_bytes(b"more " * 1000)
    jobtool.generate_joblist(str(world.source), str(world.joblist), destination=str(world.copies))
    done = jobtool.transfer_jobs(str(world.joblist), compression="gzip")
    assert done.exit_code == 0
    shutil.copy(world.copies / "a" / "2.gz", world.copies / "a" / "1.gz")
    released = world.release()
    assert set(world.left()) == {"a/1"}
    assert released.exit_code == 1
