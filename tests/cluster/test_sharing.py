"""Workers without a job help the holder of a large one, with files or parts.

The destination delays each upload, so that one worker alone takes long. Which worker did what is
read from receipts and events, not from a clock.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobtool.jobs.claim import Claims
from jobtool.jobs.joblist import JobList
from jobtool.jobs.journal import Journal
from jobtool.jobs.records import PartRecord
from jobtool.sharing.batches import Batch, Batches, BatchFile
from jobtool.sharing.helper import Helper
from jobtool.stores.registry import StoreRegistry
from jobtool.transfer.copy import Copier
from jobtool.worker.options import ResolvedOptions
from tests.commands import BIN, finish, mpirun_environment, run_ok, start, wait_for
from tests.faults.proxy import Answer, Fault, Forward, Proxy, Request, proxy_before
from tests.trees import contents, events, make_items, receipts, status_of, write

PART_BYTES = 5 * 1024 * 1024
FILES = 300


class Clock:
    """A clock that stands still unless the test moves it."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def _nothing(*told: object) -> None:
    pass


def slow(seconds: float) -> Fault:
    """Delay every upload."""

    def happen(request: Request, forward: Forward) -> Answer:
        time.sleep(seconds)
        return forward(request)

    return Fault(lambda request: request.is_put or request.is_part, happen, times=10**9)


@pytest.fixture
def bucket(rclone_s3) -> str:
    return rclone_s3.new_bucket()


@pytest.fixture
def slow_s3(rclone_s3) -> Iterator[Proxy]:
    with proxy_before(rclone_s3.endpoint_url, slow(0.06)) as proxy:
        yield proxy


def env_of(rclone_s3, proxy: Proxy) -> dict[str, str]:
    return {**rclone_s3.environment, "AWS_ENDPOINT_URL": proxy.endpoint_url}


def make_joblist(tmp_path: Path, bucket: str, *, lease_seconds: float | None = None) -> Path:
    paths = ("-i", tmp_path / "in", "-o", tmp_path / "list", "-d", f"s3://{bucket}", "-l", "tree")
    run_ok("generate-joblist", *paths)
    toml = tmp_path / "list" / "joblist.toml"
    settings = f"part_size_bytes = {PART_BYTES}\n"
    heading = ""
    if lease_seconds is not None:
        heading = f'claims = "lease"\nlease_seconds = {lease_seconds}\n'
    toml.write_text(heading + toml.read_text() + f"\n[transfer]\n{settings}")
    return tmp_path / "list"


def start_worker(joblist: Path, env: dict[str, str], *options: object) -> subprocess.Popen[str]:
    return start("transfer-worker", "-i", joblist, "--threads", 1, *options, env=env)


def jobfile(joblist: Path) -> Path:
    (path,) = joblist.glob("*.txt")
    return path


def start_holder(joblist: Path, env: dict[str, str], *options: object) -> subprocess.Popen[str]:
    """Start a worker, and return it once it works on the only job."""
    holder = start_worker(joblist, env, *options)
    wait_for(lambda: status_of(jobfile(joblist)) == "ongoing")
    return holder


def has_recorded(joblist: Path) -> bool:
    """Whether a helper has recorded something. Its journal exists before it has a line."""
    for path in (joblist / "journals").glob("*.blocks/*.jsonl"):
        with contextlib.suppress(FileNotFoundError):  # over, and forgotten meanwhile
            if path.stat().st_size:
                return True
    return False


def start_sharing(
    joblist: Path, env: dict[str, str]
) -> tuple[subprocess.Popen[str], subprocess.Popen[str]]:
    """Start a holder and a helper, and return them once the helper has recorded something."""
    holder = start_holder(joblist, env)
    helper = start_worker(joblist, env)
    wait_for(lambda: has_recorded(joblist))
    return holder, helper


def recorded_parts(joblist: Path) -> set[int]:
    """The numbers of the parts in the job's own journal."""
    records = Journal(str(joblist / "journals" / "plate.jsonl")).read()
    return {record.number for record in records if isinstance(record, PartRecord)}


def assert_all_arrived(tmp_path: Path, joblist: Path, bucket: str, rclone_s3) -> None:
    assert status_of(jobfile(joblist)) == "success"
    assert contents(rclone_s3.folder / bucket) == contents(tmp_path / "in")
    found = receipts(joblist)
    proven = Counter(receipt.dst_path for receipt in found)
    assert set(proven) == {f"s3://{bucket}/{path}" for path in contents(tmp_path / "in")}
    assert set(proven.values()) == {1}
    assert os.listdir(joblist / "journals") == []


@pytest.mark.parametrize("lease_seconds", [None, 3.0], ids=["lock", "lease"])
def test_a_worker_without_a_job_does_files_of_anothers(
    tmp_path: Path, rclone_s3, bucket: str, slow_s3: Proxy, lease_seconds: float | None
) -> None:
    make_items(tmp_path / "in", 1, files=FILES)
    joblist = make_joblist(tmp_path, bucket, lease_seconds=lease_seconds)
    env = env_of(rclone_s3, slow_s3)
    holder = start_holder(joblist, env)
    helper = start_worker(joblist, env, "-v", 2)
    held, helped = finish(holder), finish(helper)
    assert (held.exit_code, helped.exit_code) == (0, 0), (held, helped)
    assert_all_arrived(tmp_path, joblist, bucket, rclone_s3)
    shares = Counter(receipt.worker for receipt in receipts(joblist))
    assert len(shares) == 2
    assert min(shares.values()) > FILES / 10
    assert {receipt.attempt for receipt in receipts(joblist)} == {1}
    (line,) = events(jobfile(joblist), "helped")
    worker = line.split(" worker=")[1].split(" ")[0]
    assert worker in shares
    assert "Helped with item000.txt: batch 1" in helped.stdout


def test_unless_sharing_is_off(tmp_path: Path, rclone_s3, bucket: str, slow_s3: Proxy) -> None:
    make_items(tmp_path / "in", 1, files=100)
    joblist = make_joblist(tmp_path, bucket)
    env = env_of(rclone_s3, slow_s3)
    holder = start_holder(joblist, env, "--no-share")
    other = start_worker(joblist, env, "--no-share")
    assert finish(other).exit_code == 0
    assert not list((joblist / "journals").glob("*.blocks"))
    assert finish(holder).exit_code == 0
    assert len({receipt.worker for receipt in receipts(joblist)}) == 1


def test_four_ranks_share_the_parts_of_one_large_file(
    tmp_path: Path, rclone_s3, bucket: str
) -> None:
    parts = 40
    write(tmp_path / "in" / "plate" / "image.tif", os.urandom(parts * PART_BYTES))
    joblist = make_joblist(tmp_path, bucket)
    with proxy_before(rclone_s3.endpoint_url, slow(0.9)) as proxy:
        env = {**env_of(rclone_s3, proxy), **mpirun_environment()}
        command = ("mpirun", "--oversubscribe", "-n", 4, BIN / "transfer-worker", "-i", joblist)
        run = start(*command, "--threads", 1, "-v", 2, "--json", env=env)
        # The last parts are shared first, and count as soon as they are sent.
        seen = [set()]
        wait_for(lambda: seen.append(recorded_parts(joblist)) or parts in seen[-1])
        assert len(seen[-1]) < parts
        done = finish(run)
    assert done.exit_code == 0, done
    assert_all_arrived(tmp_path, joblist, bucket, rclone_s3)
    told = [json.loads(line) for line in done.lines]
    helped = [line for line in told if line["event"] == "helped"]
    assert sum(line["bytes"] for line in helped) > 0.25 * parts * PART_BYTES  # by three of four
    (claimed,) = [line for line in told if line["event"] == "claimed"]
    assert {claimed["rank"], *(line["rank"] for line in helped)} == {0, 1, 2, 3}
    assert {line["host"] for line in told} == {socket.gethostname().partition(".")[0]}
    assert len(events(jobfile(joblist), "helped")) == 3
    assert proxy.uploaded < 1.1 * parts * PART_BYTES  # hardly anything was sent twice


@pytest.mark.parametrize("is_asked", [True, False])
def test_a_holder_is_waited_for_as_long_as_it_asks_for_that(
    tmp_path: Path, bucket: str, is_asked: bool
) -> None:
    make_items(tmp_path / "in", 1)
    joblist = JobList.open(str(make_joblist(tmp_path, bucket)))
    claims = Claims.of(joblist)
    clock, copier = Clock(), Copier(threads=1)
    options = ResolvedOptions(monotonic=clock)
    registry = StoreRegistry()
    helper = Helper(
        joblist,
        claims,
        registry,
        options,
        name="one",
        worker="node:1",
        on_helped=_nothing,
        on_unkept=_nothing,
    )
    helper.offer(["item000"])
    batches = Batches(joblist.blocks_path_of("item000"), claims)
    if is_asked:
        batches.ask_to_stay()
    assert not helper.help(copier)  # it looks, and there is none
    assert helper.is_hopeful
    clock.now += 3600
    assert helper.is_hopeful is is_asked
    if is_asked:
        batches.remove()
        assert not helper.help(copier)
        assert not helper.is_hopeful
    copier.close()


@pytest.mark.parametrize("lease_seconds", [None, 2.0], ids=["lock", "lease"])
def test_a_helper_that_dies_costs_nothing_but_its_last_files(
    tmp_path: Path, rclone_s3, bucket: str, slow_s3: Proxy, lease_seconds: float | None
) -> None:
    make_items(tmp_path / "in", 1, files=FILES)
    joblist = make_joblist(tmp_path, bucket, lease_seconds=lease_seconds)
    holder, helper = start_sharing(joblist, env_of(rclone_s3, slow_s3))
    helper.kill()
    helper.wait()
    held = finish(holder)
    assert held.exit_code == 0, held
    assert_all_arrived(tmp_path, joblist, bucket, rclone_s3)
    assert len({receipt.worker for receipt in receipts(joblist)}) == 2


def test_what_helpers_have_done_for_a_holder_that_died_is_not_done_again(
    tmp_path: Path, rclone_s3, bucket: str, slow_s3: Proxy
) -> None:
    make_items(tmp_path / "in", 1, files=FILES)
    joblist = make_joblist(tmp_path, bucket)
    holder, helper = start_sharing(joblist, env_of(rclone_s3, slow_s3))
    holder.kill()
    holder.wait()
    helped = finish(helper)  # it takes the job once its batch is done
    assert helped.exit_code == 0, helped
    assert_all_arrived(tmp_path, joblist, bucket, rclone_s3)
    attempts = Counter(receipt.attempt for receipt in receipts(joblist))
    assert set(attempts) == {1, 2}
    # The holder's last batch of receipts may have been in its memory only.
    size = sum(len(data) for data in contents(tmp_path / "in").values())
    assert slow_s3.uploaded < 1.3 * size


def test_a_helper_that_is_told_to_stop_leaves_its_batch_to_the_holder(
    tmp_path: Path, rclone_s3, bucket: str, slow_s3: Proxy
) -> None:
    make_items(tmp_path / "in", 1, files=FILES)
    joblist = make_joblist(tmp_path, bucket)
    holder, helper = start_sharing(joblist, env_of(rclone_s3, slow_s3))
    helper.send_signal(signal.SIGTERM)
    assert finish(helper).exit_code == 3
    assert finish(holder).exit_code == 0
    assert_all_arrived(tmp_path, joblist, bucket, rclone_s3)


def test_offers_of_killed_helpers_go_also_where_the_claim_of_a_dead_holder_stays(
    tmp_path: Path, rclone_s3, bucket: str
) -> None:
    make_items(tmp_path / "in", 1)
    path = make_joblist(tmp_path, bucket, lease_seconds=3.0)
    run_ok("transfer-worker", "-i", path, env=rclone_s3.environment)
    joblist = JobList.open(str(path))
    claims = Claims.of(joblist)
    with claims.acquire("item000"):  # like a worker that died when the job was done
        Batches(joblist.blocks_path_of("item000"), claims).offer("node7-1-dead")
        run_ok("transfer-worker", "-i", path, env=rclone_s3.environment)
    assert os.listdir(path / "journals") == []


def test_a_batch_that_names_files_that_are_not_the_jobs_is_not_done(
    tmp_path: Path, rclone_s3, bucket: str, slow_s3: Proxy
) -> None:
    make_items(tmp_path / "in", 1, files=100)
    secret = write(tmp_path / "secret")
    path = make_joblist(tmp_path, bucket)
    joblist = JobList.open(str(path))
    claims = Claims.of(joblist)
    claim = claims.acquire("item000")  # a holder that shares files of another job
    run = jobfile(path)
    run.write_text(run.read_text().replace("todo", "ongoing", 1))
    batches = Batches(joblist.blocks_path_of("item000"), claims)
    for destination in (f"s3://{bucket}/elsewhere", f"s3://{bucket}/item000/../x"):
        file = BatchFile(
            src_path=str(secret), dst_path=destination, size=4, mtime_ns=os.stat(secret).st_mtime_ns
        )
        batches.publish(Batch(attempt=1, if_exists="verify", verify="digest", files=(file,)))
    helper = start_worker(path, env_of(rclone_s3, slow_s3))
    assert finish(helper).exit_code == 0  # it can't help, and leaves
    claim.release()
    assert not [*(path / "journals").glob("*.blocks/*.done")]
    assert contents(rclone_s3.folder / bucket) == {}


def states(joblist: Path) -> list[str]:
    """What the workers say that they do."""
    found = []
    for path in (joblist / ".claims" / "states").glob("[!.]*"):
        with contextlib.suppress(FileNotFoundError):
            found.append(json.loads(path.read_bytes())["state"])
    return found


def test_a_pause_reaches_the_holder_of_a_shared_job_and_its_helper(
    tmp_path: Path, rclone_s3, bucket: str, slow_s3: Proxy
) -> None:
    make_items(tmp_path / "in", 1, files=FILES)
    joblist = make_joblist(tmp_path, bucket)
    workers = start_sharing(joblist, env_of(rclone_s3, slow_s3))
    run_ok("jobtool", "pause", joblist)
    wait_for(lambda: states(joblist) == ["paused", "paused"])
    assert status_of(jobfile(joblist)) == "todo"
    uploaded = len(contents(rclone_s3.folder / bucket))
    assert 0 < uploaded < 2 * FILES
    run_ok("jobtool", "resume", joblist)
    assert [finish(worker).exit_code for worker in workers] == [0, 0]
    assert_all_arrived(tmp_path, joblist, bucket, rclone_s3)
    assert len(events(jobfile(joblist), "claimed")) == 2
    assert "failures:" not in jobfile(joblist).read_text()
