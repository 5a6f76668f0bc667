"""Workers killed at every step of a job's life, and at random moments: nothing lost or sent twice.

The bound on what is sent. A file that is published is never sent again: one without a receipt is
compared and adopted. A part that the journal names is never sent again. So a worker sends at most
what was neither when it started, and a kill costs the parts and files under way and the parts that
were not yet in the journal, which is written once a second. Both are of files under way, of which
there are as many as threads: a kill costs at most ``threads`` times the largest file.

`make test-faults` kills several workers of one joblist, one after the other, so that each step has
its kill. `make test-wide` has a joblist for each kill.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import TIMEOUT_SECONDS, finish, run_ok, start, start_module
from tests.faults.proxy import proxy_before
from tests.faults.victim import STEPS, THREADS, TOGETHER_STEPS
from tests.faults.worlds import (
    PART_BYTES,
    Bucket,
    Destination,
    Folder,
    World,
    make_joblist,
    make_source,
)
from tests.gate import gate_before
from tests.trees import write

KILLS = int(os.environ.get("JOBTOOL_TEST_KILLS", "24"))  # at random moments, both stores together
STORES = ("local", "s3")
JOBS = 24
SEVERAL_PARTS = 2 * PART_BYTES + 1

# A step and the time at which it is reached; of job files, 1 is ongoing, 2 success.
ANYWHERE = [
    ("after looking at the destination", 1),
    ("before a file is put", 1),
    ("after a file is put", 6),
    ("before an upload is begun", 2),
    ("after an upload is begun", 1),
    ("after an upload is begun", 2),
    ("after an upload is noted", 1),
    ("before a part is sent", 1),
    ("before a part is sent", 4),
    ("after a part is sent", 1),
    ("after a part is noted", 3),
    ("after a part is on record", 2),
    ("before an upload is completed", 1),
    ("before an upload is completed", 2),
    ("after an upload is completed", 1),
    ("after an upload is completed", 2),
    ("before a receipt", 1),
    ("after a receipt", 8),
    ("after a receipt is on record", 1),
    ("before the destination is synced", 1),
]
# Steps that happen on the joblist alone.
OF_THE_JOBLIST = [
    ("after the claim", 1),
    ("before the claim's release", 1),
    ("before the new job file is renamed", 1),
    ("before the new job file is renamed", 2),
    ("after the job file is changed", 1),
    ("after the plan", 1),
    ("before the journal is flushed", 1),
    ("in the middle of the journal's lines", 1),
    ("after the journal is flushed", 1),
    ("before the table is renamed", 1),
    ("after the table", 1),
    ("before the journal is removed", 1),
    ("after the journal is removed", 1),
]
# Steps of every destination, or of one only.
ONLY_LOCAL = [
    ("before the claim", 1),
    ("before the claim", 2),
    ("after the claim", 2),
    ("after the claim's release", 1),
    ("before the job file is changed", 1),
    ("before the job file is changed", 2),
    ("before the new job file is synced", 1),
    ("before the new job file is synced", 2),
    ("after the new job file is renamed", 1),
    ("after the new job file is renamed", 2),
    ("after the job file is changed", 2),
    ("before the plan", 1),
    ("after reading the records", 1),
    ("before a file's bytes are written", 1),
    ("in the middle of a file's bytes", 1),
    ("in the middle of a file's bytes", 6),
    ("before a file is published", 1),
    ("before a file is published", 4),
    ("after a file is published", 1),
    ("after a file is published", 4),
    ("before the journal is written", 1),
    ("before the journal is synced", 1),
    ("after the destination is synced", 1),
    ("before the table", 1),
    ("before the table is synced", 1),
    ("after the table is renamed", 1),
]
ONLY_S3 = [
    ("before the job file's log grows", 1),  # its log has credentials
    ("in the middle of a line of the job file's log", 1),
    ("in the middle of the journal's lines", 2),
]
# A second worker is killed at a step that happens only after a first kill.
TWICE = [
    (("after a part is on record", 3), ("after the held parts are known", 1)),
    (("after an upload is begun", 2), ("before leftovers are removed", 1)),
    (("after an upload is begun", 2), ("before an upload is dropped", 1)),
    (("after an upload is begun", 2), ("after an upload is dropped", 1)),
    (("after an upload is completed", 1), ("before an existing file is proven", 1)),
    (("after an upload is completed", 1), ("after an existing file is proven", 1)),
    (("after the table", 1), ("after the journal is removed", 1)),
    (("in the middle of the journal's lines", 1), ("in the middle of the journal's lines", 1)),
]
Kill = tuple[str, int]
CASES: list[tuple[str, tuple[Kill, ...]]] = [
    *((store, (kill,)) for store in STORES for kill in ANYWHERE),
    *((store, (kill,)) for store in STORES for kill in OF_THE_JOBLIST),
    *(("local", (kill,)) for kill in ONLY_LOCAL),
    *(("s3", (kill,)) for kill in ONLY_S3),
    *((store, kills) for store in STORES for kills in TWICE),
]


# What `make test-faults` does of it: one world for several kills, in the order of a job's life.
# Each kill leaves the next step still to be reached, whatever the other thread has done meanwhile.
FOR_BOTH: list[tuple[Kill, ...]] = [
    (
        ("after looking at the destination", 1),
        ("before a file is put", 1),
        ("after a file is put", 6),
    ),
    (
        ("before an upload is begun", 2),
        ("after an upload is begun", 1),
        ("after an upload is noted", 1),
        ("before a part is sent", 1),
        ("after a part is sent", 1),
    ),
    (
        ("after a part is noted", 3),
        ("before an upload is completed", 1),
        ("after an upload is completed", 1),
        ("before an existing file is proven", 1),
        ("after an existing file is proven", 1),
    ),
    (
        ("after an upload is begun", 2),
        ("before leftovers are removed", 1),
        ("before an upload is dropped", 1),
        ("after an upload is dropped", 1),
    ),
    (("after a part is on record", 3), ("after the held parts are known", 1)),
    (
        ("before a receipt", 1),
        ("after a receipt", 8),
        ("after a receipt is on record", 1),
    ),
]
CHAINS: list[tuple[str, tuple[Kill, ...]]] = [
    *((store, kills) for store in STORES for kills in FOR_BOTH),
    (
        "local",
        (
            ("before the claim", 1),
            ("after the claim", 1),
            ("before the job file is changed", 1),
            ("before the new job file is synced", 1),
            ("before the new job file is renamed", 1),
            ("after the new job file is renamed", 1),
            ("after the job file is changed", 1),
            ("before the plan", 1),
            ("after reading the records", 1),
            ("after the plan", 1),
        ),
    ),
    (
        "local",
        (
            ("before a file's bytes are written", 1),
            ("in the middle of a file's bytes", 1),
            ("before a file is published", 1),
            ("after a file is published", 1),
        ),
    ),
    (
        "local",
        (
            ("before the destination is synced", 1),
            ("after the destination is synced", 1),
            ("before the journal is flushed", 1),
            ("before the journal is written", 1),
            ("in the middle of the journal's lines", 1),
            ("in the middle of the journal's lines", 1),
            ("before the journal is synced", 1),
        ),
    ),
    (
        "local",
        (
            ("after the journal is flushed", 1),
            ("before the table", 1),
            ("before the table is synced", 1),
            ("before the table is renamed", 1),
            ("after the table is renamed", 1),
        ),
    ),
    (
        "local",
        (
            ("after the table", 1),
            ("before the journal is removed", 1),
            ("after the journal is removed", 1),
        ),
    ),
    (
        "local",
        (
            ("before the job file is changed", 2),
            ("before the new job file is synced", 2),
            ("before the new job file is renamed", 2),
            ("after the new job file is renamed", 2),
        ),
    ),
    ("local", (("before the claim", 2), ("before the claim's release", 1))),
    ("local", (("after the claim", 2), ("after the claim's release", 1))),
    ("local", (("after the job file is changed", 2),)),
    (
        "s3",
        (
            ("in the middle of the journal's lines", 2),
            ("before the job file's log grows", 1),
            ("in the middle of a line of the job file's log", 1),
            ("before the destination is synced", 1),
        ),
    ),
]


def _case(store: str, kills: tuple[Kill, ...]) -> object:
    steps = ", then ".join(f"{step}, {nth}" for step, nth in kills)
    return pytest.param(store, kills, id=f"{store}: {steps}")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two jobs; the first has files of every size."""
    folder = tmp_path_factory.mktemp("source")
    return make_source(folder, 2, large_bytes={0: SEVERAL_PARTS}, seed=1)


@contextlib.contextmanager
def world_of(store: str, folder: Path, source: Path, server) -> Iterator[World]:
    """A new joblist, for a folder or, through a proxy, for a bucket."""
    destination: Destination
    if store == "local":
        destination = Folder(folder / "out")
        joblist = make_joblist(folder / "list", source, destination.url, threads=THREADS)
        yield World(source, joblist, destination)
        return
    destination = Bucket(server, server.new_bucket())
    joblist = make_joblist(folder / "list", source, destination.url, threads=THREADS)
    with proxy_before(server.endpoint_url) as proxy:
        env = {**server.environment, "AWS_ENDPOINT_URL": proxy.endpoint_url}
        yield World(source, joblist, destination, env, proxy)


class Ledger:
    """What each worker sent, against what was left to send when it started."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._safe = 0
        self._sent = 0
        self._kills = 0
        self._published: dict[str, tuple[int, int]] = {}

    def killed(self) -> None:
        """Check what a killed worker has left."""
        self._kills += 1
        if self._world.proxy is not None:
            self._world.proxy.wait_until_idle()
        self._check()
        safe = self._world.assert_honest()
        assert safe >= self._safe  # nothing that was safe is lost
        self._safe = safe

    def finished(self) -> None:
        """Check the end state."""
        self._check()
        self._world.assert_perfect()
        largest = max(map(len, self._world.wanted.values()))
        assert self._sent <= self._world.data_bytes + self._kills * THREADS * largest

    def _check(self) -> None:
        world = self._world
        if world.proxy is not None:
            # Uploads that failed at the server must be sent again.
            total = world.proxy.uploaded - sum(size for _, _, size in world.proxy.refused)
            sent, self._sent = total - self._sent, total
            assert sent <= world.data_bytes - self._safe, world.proxy.refused
        if isinstance(world.destination, Folder):
            published = world.destination.identities()
            assert self._published.items() <= published.items()  # none was written again
            self._published = published


def kill_at(step: str, nth: int, world: World) -> None:
    arguments = (step, str(nth), str(world.joblist))
    victim = start_module("tests.faults.victim", *arguments, env=world.environment)
    done = finish(victim)
    assert done.exit_code == -signal.SIGKILL, f"{step} wasn't reached {nth} times: {done}"


@pytest.mark.wide
@pytest.mark.parametrize(("store", "kills"), [_case(*case) for case in CASES])
def test_a_worker_killed_at_any_step_loses_nothing_and_the_next_one_sends_nothing_twice(
    tmp_path: Path, source: Path, rclone_s3, store: str, kills: tuple[Kill, ...]
) -> None:
    with world_of(store, tmp_path, source, rclone_s3) as world:
        through(kills, world)


@pytest.mark.parametrize(("store", "kills"), [_case(*case) for case in CHAINS])
def test_workers_killed_one_after_the_other_lose_nothing_and_send_nothing_twice(
    tmp_path: Path, source: Path, rclone_s3, store: str, kills: tuple[Kill, ...]
) -> None:
    with world_of(store, tmp_path, source, rclone_s3) as world:
        through(kills, world)


def test_workers_killed_while_many_files_go_together_lose_nothing_and_send_nothing_twice(
    tmp_path: Path, rclone_s3
) -> None:
    for number in range(400):
        write(tmp_path / "source" / "job" / f"{number % 3}" / f"{number}", b"%d" % number * number)
    kills = (
        ("after files are read together", 2),
        ("before files are put together", 1),
        ("after files are put together", 2),
        ("after one of the receipts", 9),
        ("after one of the receipts is on record", 3),
    )
    assert {step for step, _ in kills} == TOGETHER_STEPS.keys()
    with world_of("local", tmp_path, tmp_path / "source", rclone_s3) as world:
        through(kills, world)


def through(kills: tuple[Kill, ...], world: World) -> None:
    """Kill a worker at each step, have another finish, and check all that must hold."""
    ledger = Ledger(world)
    for step, nth in kills:
        kill_at(step, nth, world)
        ledger.killed()
    run_ok("transfer-worker", "-i", world.joblist, env=world.environment)
    ledger.finished()


def test_both_matrices_have_every_step() -> None:
    for cases in (CASES, CHAINS):
        assert {step for _, kills in cases for step, _ in kills} == STEPS.keys()
    assert {step for store, kills in CHAINS for step, _ in kills if store == "s3"} >= {
        step for step, _ in (*ANYWHERE, *ONLY_S3)
    }


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Many jobs, every twelfth with large files too."""
    folder = tmp_path_factory.mktemp("many")
    for number in range(100):  # some go together
        write(folder / "job005" / "1" / f"{number}", b"%d" % number)
    large_bytes = dict.fromkeys(range(0, JOBS, 12), SEVERAL_PARTS)
    return make_source(folder, JOBS, large_bytes=large_bytes, seed=2)


@pytest.mark.parametrize("store", STORES)
def test_workers_killed_at_random_moments_lose_nothing_and_send_nothing_twice(
    tmp_path: Path, many: Path, rclone_s3, store: str
) -> None:
    moments = random.Random(f"moments for {store}")
    left = KILLS // len(STORES)
    for number in itertools.count():
        (tmp_path / str(number)).mkdir()
        with world_of(store, tmp_path / str(number), many, rclone_s3) as world:
            ledger = Ledger(world)
            while left and kill_at_random(world, moments):
                left -= 1
                ledger.killed()
            if not left:
                run_ok("transfer-worker", "-i", world.joblist, env=world.environment)
            ledger.finished()
        if not left:
            return


def kill_at_random(world: World, moments: random.Random) -> bool:
    """Kill a worker some events after its start, or sooner. Return False if it had ended before."""
    command = ("transfer-worker", "-i", world.joblist, "--json", "-v", 3, "--threads", THREADS)
    process = start(*command, env=world.environment)
    assert process.stdout is not None
    if moments.random() < 0.9:
        for _ in range(moments.randrange(1, 25)):
            while os.read(process.stdout.fileno(), 1) not in (b"\n", b""):
                pass  # nothing is read ahead, which ``finish`` wouldn't see
        time.sleep(moments.random() * 0.02)
    else:
        time.sleep(moments.random() * 0.5)  # before its first event, mostly
    process.kill()
    return finish(process).exit_code == -signal.SIGKILL


def test_what_has_arrived_is_on_record_while_the_job_goes_on(
    tmp_path: Path, source: Path, rclone_s3
) -> None:
    """Records aren't kept for the end: with the sixth upload held, five files have receipts."""
    with world_of("s3", tmp_path, source, rclone_s3) as world:
        assert world.proxy is not None
        with gate_before(world.proxy.endpoint_url, allowed=5) as gate:
            env = {**world.environment, "AWS_ENDPOINT_URL": gate.endpoint_url}
            large = world.joblist / "job000.txt"
            large.rename(tmp_path / "not now")
            process = start("transfer-worker", "-i", world.joblist, "--threads", 1, env=env)
            gate.wait_until_held()
            deadline = time.monotonic() + TIMEOUT_SECONDS
            while len(world.records()) < 5:
                assert time.monotonic() < deadline, world.records()
                time.sleep(0.02)
            process.kill()
            finish(process)
        (tmp_path / "not now").rename(large)
        run_ok("transfer-worker", "-i", world.joblist, env=world.environment)
        world.assert_perfect()
