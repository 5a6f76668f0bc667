"""Dozens of workers on one joblist are killed: all jobs get done, by one holder at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.mounts import two_mounts
from tests.cluster.storm import Weather, weather
from tests.cluster.watcher import Watcher
from tests.needs import need_fuse, need_hosts
from tests.trees import write

SECONDS = float(os.environ.get("JOBTOOL_TEST_STORM_SECONDS", "15"))
LEASE_SECONDS = 3.0
JOBS_PER_SECOND = 5


@pytest.fixture(autouse=True)
def fuse() -> None:
    need_fuse()


@pytest.fixture
def hosts() -> None:
    need_hosts()


def assert_weathered(found: Weather) -> None:
    assert found.faults == []
    # Kills that hit a worker before its first job or between two show little.
    assert found.hits >= SECONDS / 4, found
    assert len(found.tally.killed) >= SECONDS / 3, found


def storm(folder: Path, *, seed: int, **more: Any) -> Weather:
    jobs = round(JOBS_PER_SECOND * SECONDS)
    return weather(folder, seconds=SECONDS, seed=seed, jobs=jobs, **more)


def test_under_locks(tmp_path: Path) -> None:
    assert_weathered(storm(tmp_path, seed=1))


@pytest.mark.wide  # those with mounts have all of it
def test_under_leases(tmp_path: Path) -> None:
    found = storm(tmp_path, seed=2, lease_seconds=LEASE_SECONDS)
    assert_weathered(found)
    assert found.losses >= SECONDS / 30, found


@pytest.mark.wide  # the next one has all of it
@pytest.mark.usefixtures("hosts")
def test_under_leases_between_hosts(tmp_path: Path) -> None:
    found = storm(tmp_path, seed=3, lease_seconds=LEASE_SECONDS, has_hosts=True)
    assert_weathered(found)
    assert found.losses >= SECONDS / 30, found


@pytest.mark.usefixtures("hosts")
def test_under_leases_between_hosts_whose_mounts_share_no_locks(tmp_path: Path) -> None:
    found = storm(
        tmp_path,
        seed=4,
        lease_seconds=LEASE_SECONDS,
        has_hosts=True,
        has_mounts=True,
    )
    assert_weathered(found)
    assert found.losses >= SECONDS / 30, found


def test_two_mounts_share_files_and_no_locks(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with two_mounts(tmp_path / "folder") as (first, second):
        write(first / "file", b"one")
        assert (second / "file").read_bytes() == b"one"
        with open(first / "file") as one, open(second / "file") as other:
            fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with open(first / "file") as same, pytest.raises(BlockingIOError):
                fcntl.flock(same, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert os.listdir(tmp_path) == ["folder"]


def test_mounts_are_gone_after_a_failure_too(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(ZeroDivisionError), two_mounts(tmp_path / "folder") as (first, _):
        (first / "file").write_bytes(bytes(1 // 0))
    assert os.listdir(tmp_path) == ["folder"]


def test_the_watcher_sees_a_log_that_lost_a_line_and_receipts_that_went(tmp_path: Path) -> None:
    job = write(tmp_path / "job.txt", b"ongoing\nsource: /in\n---\none\ntwo\n")
    line = (
        '{"type":"file","src_path":"/in/a","dst_path":"/out/a","size":1,"mtime_ns":1,'
        '"hashsum_src":"0","hashsum_dst":"0","verified_by":"read-back",'
        '"verified_at":"2026-01-01T00:00:10Z","worker":"node1:11","attempt":1}\n'
    )
    journal = write(tmp_path / "journals" / "job.jsonl", line.encode())
    watcher = Watcher(tmp_path)
    watcher.look()
    job.write_bytes(b"success\nsource: /in\nattempts: 1\n---\none\ntwo\nthree\n")
    journal.unlink()
    watcher.look()
    assert watcher.rewritten == []
    job.write_bytes(b"success\nsource: /in\nattempts: 1\n---\none\nthree\n")
    watcher.look()
    (rewritten,) = watcher.rewritten
    assert rewritten.startswith("job: ")
    (receipt,) = watcher.receipts["job"]
    assert receipt.dst_path == "/out/a"
