"""Servers and disks that fail: by a proxy before a real server, and by small filesystems.

Each time: the right end state, nothing wrong published, no hang, and no job in error that could
succeed in a working environment.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.commands import TIMEOUT_SECONDS, assert_one_line_error, finish, run, run_ok, start
from tests.faults.proxy import (
    Fault,
    Proxy,
    Request,
    flip_download,
    flip_upload,
    internal_error,
    lose_answer,
    proxy_before,
    reset,
    slow_down,
    truncate,
)
from tests.faults.worlds import PART_BYTES, Bucket, Folder, World, make_joblist, make_source
from tests.trees import events, statuses

SEVERAL_PARTS = 2 * PART_BYTES + 1
JOBS = 3
# The clients try each request three times before jobtool gets the error.
CLIENT_TRIES = 3


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three jobs; the first has files of every size."""
    folder = tmp_path_factory.mktemp("source")
    return make_source(folder, JOBS, large_bytes={0: SEVERAL_PARTS}, seed=3)


@contextlib.contextmanager
def towards_s3(
    tmp_path: Path,
    source: Path,
    server,
    *faults: Fault,
    listening: bool = True,
    s3: Mapping[str, Any] | None = None,
    **transfer: Any,
) -> Iterator[tuple[World, Proxy]]:
    """A joblist for a new bucket behind a proxy."""
    bucket = Bucket(server, server.new_bucket())
    joblist = make_joblist(tmp_path / "list", source, bucket.url, s3=s3, **transfer)
    with proxy_before(server.endpoint_url, *faults, listening=listening) as proxy:
        env = {**server.environment, "AWS_ENDPOINT_URL": proxy.endpoint_url}
        yield World(source, joblist, bucket, env, proxy), proxy


def wait_for_event(jobfile: Path, word: str) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not events(jobfile, word):
        assert time.monotonic() < deadline, jobfile.read_text()
        time.sleep(0.02)


def assert_nothing_failed(world: World) -> None:
    for jobfile in world.joblist.glob("*.txt"):
        assert events(jobfile, "failed") == events(jobfile, "error") == []


def assert_handed_back(world: World, *expected: str) -> None:
    """Exit code 4; every job is todo, one was tried, and none is in error."""
    done = run("transfer-worker", "-i", world.joblist, env=world.environment)
    assert_one_line_error(done, 4, *expected)
    assert set(statuses(world.joblist).values()) == {"todo"}
    handed_back = [events(path, "handed-back") for path in world.joblist.glob("*.txt")]
    assert sorted(map(len, handed_back)) == [0] * (JOBS - 1) + [1]
    assert_nothing_failed(world)
    world.assert_honest()


def is_put(request: Request) -> bool:
    return request.is_put


def is_part(request: Request) -> bool:
    return request.is_part


def is_complete(request: Request) -> bool:
    return request.is_complete


def is_begin(request: Request) -> bool:
    return request.method == "POST" and "uploads" in request.query


def is_listing(request: Request) -> bool:
    return request.method == "GET" and "list-type" in request.query


def is_put_with_bytes(request: Request) -> bool:
    return request.is_put and bool(request.body)


ALL_UPLOADS = (is_listing, is_begin, is_put, is_part, is_complete)


def towards_faults(
    tmp_path: Path,
    source: Path,
    server,
    happen: Callable[..., Any],
    befallen: Iterable[Callable[[Request], bool]],
    *,
    times: int = 1,
    **transfer: Any,
) -> None:
    """Transfer to S3 while the same happens to a request of each kind; all must end well."""
    faults = [Fault(befalls, happen, times) for befalls in befallen]
    with towards_s3(tmp_path, source, server, *faults, **transfer) as (world, _):
        run_ok("transfer-worker", "-i", world.joblist, env=world.environment)
        assert {fault.befalls.__name__: fault.hits for fault in faults} == {
            fault.befalls.__name__: times for fault in faults
        }
        assert_nothing_failed(world)
        world.assert_perfect()


@pytest.mark.parametrize(
    ("happen", "befallen"),
    [
        (reset, ALL_UPLOADS),
        (slow_down, ALL_UPLOADS),
        (internal_error, (is_put, is_part, is_complete)),
        (lose_answer, (is_put, is_part, is_complete)),
        (flip_upload, (is_put_with_bytes, is_part)),
    ],
    ids=["reset", "slow_down", "internal_error", "lose_answer", "flip_upload"],
)
def test_a_request_of_each_kind_that_fails_once_is_sent_again_and_all_ends_well(
    tmp_path: Path, source: Path, rclone_s3, happen, befallen
) -> None:
    towards_faults(tmp_path, source, rclone_s3, happen, befallen)


def test_a_server_that_fails_for_longer_than_the_clients_try_is_tried_on(
    tmp_path: Path, source: Path, rclone_s3
) -> None:
    kinds = (is_put, is_part, is_complete)
    times = CLIENT_TRIES + 1
    towards_faults(tmp_path, source, rclone_s3, slow_down, kinds, times=times, threads=1)


def test_a_completion_whose_answer_is_lost_is_recognised_and_nothing_is_sent_again(
    tmp_path: Path, source: Path, rclone_s3
) -> None:
    fault = Fault(is_complete, lose_answer, times=2)
    with towards_s3(tmp_path, source, rclone_s3, fault) as (world, proxy):
        run_ok("transfer-worker", "-i", world.joblist, env=world.environment)
        assert fault.hits == fault.times
        world.assert_perfect()
        refused = sum(size for _, _, size in proxy.refused)
        assert proxy.uploaded - refused == world.data_bytes


def test_an_upload_begun_without_its_answer_reaching_us_is_dropped_for_another(
    tmp_path: Path, source: Path, rclone_s3
) -> None:
    fault = Fault(is_begin, lose_answer)
    with towards_s3(tmp_path, source, rclone_s3, fault) as (world, _):
        run_ok("transfer-worker", "-i", world.joblist, env=world.environment)
        assert fault.hits == 1
        world.assert_perfect()


def test_an_upload_that_always_changes_on_the_way_is_an_error_and_is_never_published(
    tmp_path: Path, source: Path, rclone_s3
) -> None:
    def is_of_job1(request: Request) -> bool:
        return request.is_put and request.path.endswith("/job001/0/small 1.bin")

    fault = Fault(is_of_job1, flip_upload, times=1000)
    with towards_s3(tmp_path, source, rclone_s3, fault, max_attempts=1) as (world, _):
        done = run("transfer-worker", "-i", world.joblist, env=world.environment)
        assert done.exit_code == 1
        found = {"job000": "success", "job001": "error", "job002": "success"}
        assert statuses(world.joblist) == found
        world.assert_honest()
        fault.times = 0
        run_ok("jobtool", "retry", world.joblist)
        run_ok("transfer-worker", "-i", world.joblist, env=world.environment)
        world.assert_perfect()


@pytest.fixture(scope="module")
def uploaded(tmp_path_factory: pytest.TempPathFactory, source: Path, rclone_s3) -> str:
    """The URL of a bucket with the source in it, each object with its MD5 in the metadata."""
    folder = tmp_path_factory.mktemp("up")
    with towards_s3(folder, source, rclone_s3, s3={"whole_md5": "metadata"}) as (world, _):
        run_ok("transfer-worker", "-i", world.joblist, env=world.environment)
        return world.destination.url


def assert_downloaded(tmp_path: Path, source: Path, server, uploaded: str, *faults: Fault) -> None:
    """Download; each fault must strike as often as it may, and all must end well."""
    folder = Folder(tmp_path / "out")
    joblist = make_joblist(tmp_path / "list", source, folder.url)
    for jobfile in joblist.glob("*.txt"):
        text = jobfile.read_text()
        jobfile.write_text(text.replace(f"source: {source}", f"source: {uploaded}"))
    with proxy_before(server.endpoint_url, *faults) as proxy:
        env = {**server.environment, "AWS_ENDPOINT_URL": proxy.endpoint_url}
        run_ok("transfer-worker", "-i", joblist, env=env)
    assert [fault.hits for fault in faults] == [fault.times for fault in faults]
    world = World(source, joblist, folder)
    assert_nothing_failed(world)
    world.assert_perfect()


def reads(ending: str) -> Callable[[Request], bool]:
    return lambda request: request.is_get and request.path.endswith(ending)


BROKEN_DOWNLOADS = [reset, internal_error, truncate, flip_download]


def test_downloads_that_fail_or_change_on_the_way_are_read_again(
    tmp_path: Path, source: Path, rclone_s3, uploaded: str
) -> None:
    """Downloads are compared with the MD5 in the metadata."""
    names = [f"/job00{job}/0/small {small}.bin" for job in (0, 1) for small in (1, 2)]
    faults = map(Fault, map(reads, names), BROKEN_DOWNLOADS)
    assert_downloaded(tmp_path, source, rclone_s3, uploaded, *faults)


@pytest.mark.wide
@pytest.mark.parametrize("happen", BROKEN_DOWNLOADS)
def test_a_download_in_parts_that_fails_or_changes_on_the_way_is_read_again(
    tmp_path: Path, source: Path, rclone_s3, uploaded: str, happen
) -> None:
    # The first range is requested twice: rclone's server answers 200, which obstore refuses.
    fault = Fault(reads("several parts.bin"), happen, times=2)
    assert_downloaded(tmp_path, source, rclone_s3, uploaded, fault)


def test_a_request_of_each_kind_that_is_never_answered_times_out_and_is_sent_again(
    tmp_path: Path, source: Path, rclone_s3
) -> None:
    with towards_s3(tmp_path, source, rclone_s3, s3={"timeout_seconds": 2}) as (world, proxy):
        proxy.faults += [Fault(befalls, proxy.stall) for befalls in ALL_UPLOADS]
        run_ok("transfer-worker", "-i", world.joblist, env=world.environment)
        assert [fault.hits for fault in proxy.faults] == [1] * len(ALL_UPLOADS)
        assert_nothing_failed(world)
        world.assert_perfect()


def test_a_server_that_never_answers_hands_the_job_back(
    tmp_path: Path, source: Path, rclone_s3
) -> None:
    s3 = {"timeout_seconds": 1}
    with towards_s3(tmp_path, source, rclone_s3, s3=s3, patience_seconds=0.0) as (world, proxy):
        fault = Fault(is_put, proxy.stall, times=1000)
        proxy.faults.append(fault)
        assert_handed_back(world, proxy.endpoint_url)
        fault.times = 0
        run_ok("transfer-worker", "-i", world.joblist, env=world.environment)
        world.assert_perfect()


def test_an_endpoint_that_comes_back_is_waited_for(tmp_path: Path, source: Path, rclone_s3) -> None:
    settings = {"listening": False, "patience_seconds": 600.0}
    with towards_s3(tmp_path, source, rclone_s3, **settings) as (world, proxy):
        process = start("transfer-worker", "-i", world.joblist, env=world.environment)
        wait_for_event(world.joblist / "job000.txt", "waiting")
        proxy.listen()
        done = finish(process)
        assert (done.exit_code, done.stderr) == (0, "")
        assert_nothing_failed(world)
        world.assert_perfect()


def test_an_endpoint_that_goes_down_in_the_middle_of_a_job_is_waited_for(
    tmp_path: Path, source: Path, rclone_s3
) -> None:
    is_up = threading.Event()
    arrived = 0

    def is_down(request: Request) -> bool:
        nonlocal arrived
        arrived += request.is_put or request.is_part
        return arrived > 2 and not is_up.is_set()

    fault = Fault(is_down, reset, times=10**6)
    with towards_s3(tmp_path, source, rclone_s3, fault, patience_seconds=600.0) as (world, _):
        process = start("transfer-worker", "-i", world.joblist, env=world.environment)
        wait_for_event(world.joblist / "job000.txt", "waiting")
        is_up.set()
        done = finish(process)
        assert (done.exit_code, done.stderr) == (0, "")
        assert_nothing_failed(world)
        world.assert_perfect()


def test_an_endpoint_that_stays_away_hands_the_job_back_and_leaves_the_others(
    tmp_path: Path, source: Path, rclone_s3
) -> None:
    settings = {"listening": False, "patience_seconds": 0.0}
    with towards_s3(tmp_path, source, rclone_s3, **settings) as (world, proxy):
        assert_handed_back(world, "can't reach", proxy.endpoint_url)
        proxy.listen()
        run_ok("transfer-worker", "-i", world.joblist, env=world.environment)
        world.assert_perfect()


def as_root(*command: object) -> None:
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
    subprocess.run([*prefix, *map(str, command)], check=True, capture_output=True, timeout=30)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of its own, too small for the large files of the source."""
    path = tmp_path / "disk"
    path.mkdir()
    may = os.geteuid() == 0 or shutil.which("sudo") is not None
    try:
        assert may, "neither root nor sudo"
        as_root("mount", "-t", "tmpfs", "-o", "size=8m,mode=0777", "tmpfs", path)
    except (AssertionError, subprocess.SubprocessError) as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"mounting a filesystem needs root: {error}")
    try:
        yield path
    finally:
        as_root("umount", path)


def towards_disk(tmp_path: Path, source: Path, disk: Path) -> World:
    folder = Folder(disk / "out")
    return World(source, make_joblist(tmp_path / "list", source, folder.url), folder)


def test_a_full_disk_hands_the_job_back_and_with_more_room_all_ends_well(
    tmp_path: Path, source: Path, small_disk: Path
) -> None:
    world = towards_disk(tmp_path, source, small_disk)
    assert_handed_back(world, "No space left on device", str(small_disk))
    as_root("mount", "-o", "remount,size=64m", small_disk)
    run_ok("transfer-worker", "-i", world.joblist)
    world.assert_perfect()


def test_a_read_only_disk_hands_the_job_back_and_once_writable_all_ends_well(
    tmp_path: Path, source: Path, small_disk: Path
) -> None:
    world = towards_disk(tmp_path, source, small_disk)
    as_root("mount", "-o", "remount,ro,size=64m", small_disk)
    assert_handed_back(world, "Read-only file system", str(small_disk))
    as_root("mount", "-o", "remount,rw", small_disk)
    run_ok("transfer-worker", "-i", world.joblist)
    world.assert_perfect()
