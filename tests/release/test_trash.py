"""The trash: what may be wrong with it, and when it is emptied."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool.events import Event
from jobtool.jobs.joblist import JobList
from jobtool.jobs.stamps import stamp_of
from jobtool.release.context import ReleaseContext
from jobtool.release.deletionlog import DeletionLog
from jobtool.release.emptying import empty_trash
from jobtool.release.trash import (
    TrashRecord,
    decode_record,
    encode_record,
    record_of,
    why_not_due,
)
from jobtool.transfer.stores_of import stores_of
from tests.commands import BIN
from tests.needs import lack
from tests.release.worlds import (
    FILES_OF,
    World,
    days_later,
    fill,
    moved_world,
    reasons,
)

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


@pytest.fixture
def world(folder: Path) -> World:
    found = moved_world(folder)
    found.release(keep_days=10)
    return found


def empty(world: World, **clocks) -> tuple[int, list[Event]]:
    """Empty the trash of all jobs; return the number of removed files, and the events."""
    joblist = JobList.open(str(world.joblist))
    events: list[Event] = []
    removed = 0
    context = ReleaseContext(stores=stores_of(joblist), emit=events.append, **clocks)
    for job_id in joblist.job_ids_with_deletions():
        log = DeletionLog(joblist.deletions_path_of(job_id))
        done = empty_trash(job_id, job_id, log, joblist_id=joblist.settings.id, context=context)
        removed += done.removed
    return removed, events


def without_service_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The filesystem's clock is this machine's, so a test can't move it."""
    monkeypatch.setattr("jobtool.release.filesplace.FilesPlace.clock_ns", lambda *_: None)


def test_files_are_kept_as_long_as_was_asked_for(world: World, monkeypatch) -> None:
    without_service_clock(monkeypatch)
    now, boot = days_later(9.9)
    removed, events = empty(world, now=now, boot_seconds=boot)
    assert removed == 0
    assert all("it is kept until" in event.text() for event in events)
    now, boot = days_later(10.1)
    removed, _ = empty(world, now=now, boot_seconds=boot)
    assert removed == len(FILES_OF)
    assert not world.trash.exists()
    assert world.arrived() == FILES_OF


def test_a_clock_that_jumped_ahead_empties_nothing(world: World, monkeypatch) -> None:
    """The filesystem's clock, or else the time since the machine was started, says another time."""
    now, boot = days_later(400, boot_days=0)
    removed, events = empty(world, now=now, boot_seconds=boot)
    assert removed == 0
    assert all("Correct the clock" in event.text() for event in events)
    without_service_clock(monkeypatch)
    removed, events = empty(world, now=now, boot_seconds=boot)
    assert removed == 0
    assert all("the clock has jumped" in event.text() for event in events)
    assert len(world.trashed()) == len(FILES_OF)


def test_a_clock_in_the_past_empties_nothing(world: World, monkeypatch) -> None:
    without_service_clock(monkeypatch)
    now, boot = days_later(-1)
    removed, events = empty(world, now=now, boot_seconds=boot)
    assert removed == 0
    assert all("which is before" in event.text() for event in events)


def test_times_of_files_do_not_count(world: World) -> None:
    for path in world.trash.rglob("*"):
        os.utime(path, (0, 0))
    assert empty(world)[0] == 0


def test_a_destination_that_was_emptied_meanwhile_keeps_the_trash(
    world: World, monkeypatch
) -> None:
    without_service_clock(monkeypatch)
    shutil.rmtree(world.copies / "b")
    now, boot = days_later(11)
    removed, events = empty(world, now=now, boot_seconds=boot)
    assert removed == 2
    assert len(world.trashed()) == 2
    assert sum("found nothing there now" in event.text() for event in events) == 2


def test_a_file_that_was_changed_in_the_trash_stays(world: World, monkeypatch) -> None:
    without_service_clock(monkeypatch)
    changed = next(path for path in world.trash.rglob("2") if path.is_file())
    changed.write_bytes(b"2wo\n" * 70)
    now, boot = days_later(11)
    assert empty(world, now=now, boot_seconds=boot)[0] == len(FILES_OF) - 1
    assert [*world.trashed().values()] == [b"2wo\n" * 70]


@pytest.mark.parametrize("record", [None, b"{}", b'{"joblist": "another"}'])
def test_a_folder_without_its_record_stays(world: World, monkeypatch, record) -> None:
    without_service_clock(monkeypatch)
    for path in world.trash.glob("*/release.json"):
        path.unlink() if record is None else path.write_bytes(record)
    now, boot = days_later(11)
    assert empty(world, now=now, boot_seconds=boot)[0] == 0
    assert len(world.trashed()) == len(FILES_OF)


def test_a_forged_record_of_a_deletion_removes_nothing_else(world: World, monkeypatch) -> None:
    without_service_clock(monkeypatch)
    precious = world.folder / "precious"
    precious.write_bytes(FILES_OF["a/1"])
    log = world.joblist / "deletions" / "a.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for line in lines:
        if line["path"].endswith("/1"):
            line["trashed_to"] = str(precious)
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    now, boot = days_later(11)
    empty(world, now=now, boot_seconds=boot)
    assert precious.exists()


def test_the_next_release_empties_what_is_due(folder: Path) -> None:
    world = moved_world(folder)
    world.release(keep_days=0)
    fill(world.source, {"c/new": b"new"})
    released = world.release(keep_days=0)
    assert released.removed == len(FILES_OF)
    assert world.left() == {"c/new": b"new"}
    assert world.trashed() == {}


def test_a_trash_on_another_filesystem_is_refused(folder: Path) -> None:
    world = moved_world(folder)
    if os.stat("/dev/shm").st_dev == os.stat(folder).st_dev:
        lack("/dev/shm is no other filesystem")
    other = Path("/dev/shm") / f"jobtool-trash-{os.getpid()}"
    try:
        asked = world.release(trash=other, remove=False)
        assert any("expected the trash" in one.reason for one in asked.stays)
        assert not other.exists()
        released = world.release(trash=other)
    finally:
        shutil.rmtree(other, ignore_errors=True)
    assert world.left() == FILES_OF
    assert "--trash" in reasons(released)["1"]
    assert "expected the trash" in reasons(released)["1"]


def test_a_mount_below_the_source_is_refused(folder: Path) -> None:
    world = moved_world(folder)
    mounted = world.source / "a"
    bytes_of = world.folder / "other"
    bytes_of.mkdir()
    tmpfs = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(bytes_of)]
    if subprocess.run(tmpfs, capture_output=True).returncode:
        pytest.skip("no mount here")
    try:
        shutil.copytree(mounted, bytes_of / "a", copy_function=shutil.copy2)
        subprocess.run(["mount", "--bind", bytes_of / "a", mounted], check=True)
        try:
            released = world.release(trash=world.trash)
            assert "on another" in reasons(released)["1"]
            assert (mounted / "1").exists()
        finally:
            subprocess.run(["umount", mounted], check=True)
    finally:
        subprocess.run(["umount", bytes_of], check=True)


@pytest.mark.parametrize("what", ["link", "file", "others may write"])
def test_a_trash_that_is_not_ours_is_refused(folder: Path, what: str) -> None:
    world = moved_world(folder)
    if what == "link":
        (world.folder / "elsewhere").mkdir()
        world.trash.symlink_to(world.folder / "elsewhere")
    elif what == "file":
        world.trash.write_bytes(b"")
    else:
        world.trash.mkdir()
        world.trash.chmod(0o777)
    released = world.release()
    assert world.left() == FILES_OF
    assert len(released.stays) == len(FILES_OF)
    assert not (world.folder / "elsewhere").exists() or not os.listdir(world.folder / "elsewhere")


def test_a_full_filesystem(folder: Path) -> None:
    """There is no room for the folders of the trash."""
    small = folder / "small"
    small.mkdir()
    tmpfs = ["mount", "-t", "tmpfs", "-o", "nr_inodes=24", "tmpfs", str(small)]
    if subprocess.run(tmpfs, capture_output=True).returncode:
        pytest.skip("no mount here")
    try:
        world = World(folder)
        fill(small / "data", {"a/1": b"one", "a/deep/2": b"two"})
        import jobtool

        jobtool.generate_joblist(
            str(small / "data"), str(world.joblist), destination=str(world.copies)
        )
        assert jobtool.transfer_jobs(str(world.joblist)).exit_code == 0
        number = 0
        while True:
            try:
                (small / f"filler{number}").touch()
            except OSError:
                break
            number += 1
        released = world.release()
        assert "No space left" in reasons(released)["1"]
        for path in ("data/a/1", "data/a/deep/2"):
            assert (small / path).exists()
        (small / "filler0").unlink()
        for _ in range(4):
            (small / f"filler{number - 1}").unlink()
            number -= 1
        released = world.release()
        left = {path for path in ("data/a/1", "data/a/deep/2") if (small / path).exists()}
        assert left == {os.path.relpath(one.path, small) for one in released.stays}
    finally:
        subprocess.run(["umount", small], check=True)


@pytest.mark.parametrize("error", ["EIO", "EXDEV", "EDQUOT"])
def test_a_rename_that_fails(folder: Path, error: str) -> None:
    if shutil.which("strace") is None:
        lack("no strace")
    world = moved_world(folder)
    traced = ["strace", "-f", "-o", os.devnull, "-e", "trace=renameat,renameat2"]
    traced += ["-e", f"inject=renameat,renameat2:error={error}"]
    command = [sys.executable, str(BIN / "jobtool"), "release", str(world.joblist), "--yes"]
    done = subprocess.run(
        [*traced, *command], capture_output=True, text=True, errors="surrogateescape", timeout=100
    )
    assert done.returncode == 1, done
    assert world.left() == FILES_OF
    assert not world.trash.exists()
    assert "Stays:" in done.stdout
    assert world.release().stays == ()
    assert world.left() == {}


def test_a_log_that_cannot_be_written_lets_nothing_go(folder: Path) -> None:
    import jobtool

    world = moved_world(folder)
    (world.joblist / "deletions").write_bytes(b"")
    with pytest.raises(jobtool.JobtoolError):
        world.release()
    assert world.left() == FILES_OF


RECORDS = st.builds(
    TrashRecord,
    joblist=st.text(),
    job=st.text(),
    root=st.text().map(ascii),
    at=st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(9000, 1, 1)).map(
        lambda at: stamp_of(at.replace(tzinfo=UTC))
    ),
    keep_days=st.floats(0, 36500),
    host=st.text(),
    boot_id=st.text(),
    boot_seconds=st.floats(0, 1e9),
    is_whole=st.booleans(),
)


@given(RECORDS)
def test_a_record_is_read_as_it_was_written(record: TrashRecord) -> None:
    assert decode_record(encode_record(record)) == record


@given(st.binary())
def test_anything_else_is_no_record(data: bytes) -> None:
    assert decode_record(data) is None or b"joblist" in data


@given(
    days=st.floats(-1000, 1000),
    keep_days=st.floats(0.1, 500),
    service_days=st.floats(-1000, 1000),
    boot_days=st.floats(0, 1000),
)
def test_no_clock_alone_makes_a_folder_due(
    days: float, keep_days: float, service_days: float, boot_days: float
) -> None:
    record = record_of(
        joblist="l",
        job="j",
        root="/",
        at=NOW,
        keep_days=keep_days,
        boot_seconds=5.0,
        is_whole=False,
    )
    reason = why_not_due(
        record,
        now=NOW + timedelta(days=days),
        latest=stamp_of(NOW),
        service_ns=int((NOW.timestamp() + service_days * 86400) * 1e9),
        boot=record.boot_id,
        boot_seconds=5.0 + boot_days * 86400,
    )
    if reason is None:
        assert min(days, service_days + 0.011, boot_days + 0.011) >= keep_days - 1e-6
