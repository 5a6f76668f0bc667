"""Workers before storage that answers late have many small files under way, but few large ones."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from msgspec.structs import replace

from jobtool.errors import UnreachableError
from jobtool.jobs.journal import Journal
from jobtool.stop import Stop
from jobtool.stores.memory import Memory, MemoryStore
from jobtool.stores.store import Attributes, Proof
from jobtool.transfer.concurrency import LARGE_BYTES
from jobtool.transfer.copy import Copier
from jobtool.transfer.plan import Plan, Route
from jobtool.transfer.retry import Retry
from jobtool.transfer.run import JobTransfer
from tests.commands import finish, run_ok, start
from tests.faults.proxy import Answer, Fault, Forward, Request, proxy_before
from tests.stores.raw import MemoryRaw
from tests.transfer.states import make_ledger

ANSWER_SECONDS = 0.1


class UnderWay:
    """Counts what is under way, and the most that ever was."""

    def __init__(self) -> None:
        self.count = self.most = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            self.count += 1
            self.most = max(self.most, self.count)

    def __exit__(self, *raised: object) -> None:
        with self._lock:
            self.count -= 1


def most_requests(server, folder: Path, *options: object, size: int, files: int) -> int:
    """Send files to a server far away; return the most that were under way at a time."""
    (folder / "in/plate").mkdir(parents=True)
    for number in range(files):
        (folder / "in/plate" / f"{number}").write_bytes(f"{number}".encode().ljust(size))
    bucket = server.new_bucket()
    under_way = UnderWay()

    def answer_late(request: Request, forward: Forward) -> Answer:
        with under_way:
            time.sleep(ANSWER_SECONDS)
            return forward(request)

    fault = Fault(lambda request: request.is_put, answer_late, times=10**9)
    with proxy_before(server.endpoint_url, fault) as proxy:
        paths = ("-i", folder / "in", "-o", folder / "list", "-d", f"s3://{bucket}", "-l", "tree")
        run_ok("generate-joblist", *paths)
        env = {**server.environment, "AWS_ENDPOINT_URL": proxy.endpoint_url}
        done = finish(start("transfer-worker", "-i", folder / "list", *options, env=env))
    assert done.exit_code == 0, done.stderr
    return under_way.most


def test_more_small_files_than_16_are_sent_at_a_time(tmp_path: Path, rclone_s3) -> None:
    assert 16 < most_requests(rclone_s3, tmp_path, size=1000, files=250) <= 64


def test_the_users_number_is_kept_for_small_files(tmp_path: Path, rclone_s3) -> None:
    assert 2 < most_requests(rclone_s3, tmp_path, "--threads", 8, size=1000, files=100) <= 8


def test_at_most_16_large_files_are_sent_at_a_time(tmp_path: Path, rclone_s3) -> None:
    assert 2 < most_requests(rclone_s3, tmp_path, size=LARGE_BYTES, files=96) <= 16


class FarStore(MemoryStore):
    """A store that answers late. With ``is_busy`` it refuses each file once."""

    def __init__(self, *, is_busy: bool = False, takes_many: bool = True) -> None:
        super().__init__(Memory(), "memory://far")
        self.capabilities = replace(MemoryStore.capabilities, takes_many=takes_many)
        self.under_way = UnderWay()
        self.refused: set[str] = set()
        self._is_busy = is_busy

    def write(
        self, path: str, chunks: Iterable[bytes | memoryview], attributes: Attributes
    ) -> Proof | None:
        with self.under_way:
            time.sleep(ANSWER_SECONDS / 4)
            if self._is_busy and path not in self.refused:
                self.refused.add(path)
                raise UnreachableError("SlowDown: please reduce your request rate")
            return super().write(path, chunks, attributes)


def send(folder: Path, destination: FarStore, *, files: int, threads: int = 2) -> None:
    """Send files as a worker does that isn't told how many at a time, ``threads`` to begin with."""
    source = MemoryStore(Memory(), "memory://near")
    for number in range(files):
        MemoryRaw(source.memory, "").write(f"{number}", b"x", mtime_ns=1)
    plan = Plan()
    plan.start_route(Route(source, destination))
    for entry in source.list():
        plan.add(entry)
    copier = Copier(threads=16, small_files=64, first_threads=threads)
    journal = Journal(str(folder / "journals" / "job.jsonl"))
    stop = Stop()
    transfer = JobTransfer(
        make_ledger(plan, journal=journal),
        copier,
        threads=16,
        worker="node:1",
        stop=stop,
        retry=Retry(stop=stop, sleep=lambda seconds: time.sleep(0.01)),
    )
    try:
        transfer.run(lambda progress: None)
    finally:
        copier.close()
        journal.close()
    assert transfer.is_complete


def test_a_store_that_asks_for_fewer_requests_gets_no_more_than_16(tmp_path: Path) -> None:
    destination = FarStore(is_busy=True)
    send(tmp_path, destination, files=700, threads=16)
    assert len(destination.refused) == 700
    assert destination.under_way.most == 16


@pytest.mark.parametrize(("takes_many", "most"), [(True, 64), (False, 16)])
def test_only_a_store_that_takes_many_requests_gets_more_than_16(
    tmp_path: Path, takes_many: bool, most: int
) -> None:
    destination = FarStore(takes_many=takes_many)
    send(tmp_path, destination, files=700)
    assert 2 < destination.under_way.most <= most
    assert takes_many == (destination.under_way.most > 16)
