"""A job's transfer: a receipt for each file, metadata last, and an orderly end in every case."""

from __future__ import annotations

import threading

import pytest

from jobtool.errors import StoreError, StoreUnavailableError
from jobtool.jobs.receipts import Journal
from jobtool.stores.memory import Memory, MemoryStore
from jobtool.testing.faulty_store import Corruption, Fault, FaultyStore
from jobtool.transfer.checksum import MEBIBYTE, md5_of
from jobtool.transfer.copy import Copier
from jobtool.transfer.plan import Lane, Plan
from jobtool.transfer.retry import Retry
from jobtool.transfer.run import MAX_FAILURES, JobTransfer
from tests.stores.raw import MemoryRaw

TREE = {f"c/{number}": f"{number}".encode() for number in range(40)}
TREE |= {"large": b"x" * (2 * MEBIBYTE + 1), "zarr.json": b"{}", "c/zarr.json": b"{ }"}
METADATA = ["c/zarr.json", "zarr.json"]


class Bench:
    """A tree in memory, a destination that may fail, a journal on disk."""

    def __init__(self, folder, tree, threads=4):
        self.source = MemoryStore(Memory(), "memory://a")
        for path, data in tree.items():
            MemoryRaw(self.source.memory, "").write(path, data, mtime_ns=1)
        self.inner = MemoryStore(Memory(), "memory://b")
        self.stop = threading.Event()
        self.journal_path = str(folder / "receipts" / "job.jsonl")
        self.threads = threads
        self.retried = []
        self.on_retry = self.retried.append
        self.progress = []
        self.arrived = []

    @property
    def published(self):
        return {path: data for path, (data, _) in self.inner.memory.files.items()}

    @property
    def receipts(self):
        return list(Journal(self.journal_path).read())

    def run(self, faults=(), on_file=None):
        """Transfer as an attempt of a worker does; return what ran, and its destination."""
        self.destination = destination = FaultyStore(self.inner, faults)
        plan = Plan()
        plan.start_lane(Lane(self.source, destination))
        for entry in self.source.list():
            plan.add(entry)
        copier = Copier(threads=self.threads, part_bytes=MEBIBYTE)
        journal = Journal(self.journal_path)
        transfer = JobTransfer(
            plan,
            journal,
            copier,
            threads=self.threads,
            worker="node:1",
            attempt=3,
            stop=self.stop,
            retry=Retry(
                tries=3, stop=self.stop, sleep=lambda seconds: None, on_retry=self.on_retry
            ),
            on_file=on_file or (lambda item, copied: self.arrived.append(item.entry.path)),
        )
        transfer.take_receipts(journal.read())
        try:
            transfer.run(self.progress.append)
        finally:
            copier.close()
            journal.close()
        return transfer, destination


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path, TREE)


def test_every_file_arrives_and_has_a_receipt(bench):
    transfer, destination = bench.run()
    assert bench.published == TREE
    assert transfer.is_complete
    assert transfer.failures == []
    assert destination.calls["sync"] == 1
    receipts = {receipt.src_path: receipt for receipt in bench.receipts}
    assert len(bench.receipts) == len(TREE)
    for path, data in TREE.items():
        receipt = receipts[f"memory://a/{path}"]
        assert receipt.dst_path == f"memory://b/{path}"
        assert (receipt.size, receipt.mtime_ns) == (len(data), 1)
        assert receipt.hashsum_src == receipt.hashsum_dst == md5_of(data)
        assert (receipt.worker, receipt.attempt) == ("node:1", 3)
        parts = path == "large"
        assert receipt.verified_by == ("multipart-etag" if parts else "read-back")
        assert receipt.part_size == (MEBIBYTE if parts else None)


def test_metadata_is_published_last_and_the_root_after_all(bench):
    bench.run()
    assert list(bench.published)[-2:] == METADATA
    assert bench.arrived[-2:] == METADATA


def test_progress_ends_with_everything_and_never_goes_beyond(bench):
    bench.run()
    last = bench.progress[-1]
    assert (last.files_done, last.files_total) == (len(TREE), len(TREE))
    assert last.bytes_done == last.bytes_total == sum(map(len, TREE.values()))
    assert max(progress.bytes_done for progress in bench.progress) == last.bytes_total


def test_an_empty_job_is_complete(tmp_path):
    transfer, _ = Bench(tmp_path, {}).run()
    assert transfer.is_complete


def test_what_has_a_receipt_is_not_sent_again(bench):
    bench.run()
    MemoryRaw(bench.source.memory, "").write("c/7", b"changed", mtime_ns=2)
    transfer, destination = bench.run()
    assert transfer.is_complete
    assert destination.calls["put"] == 1
    assert destination.calls["put_part"] == 0
    assert destination.bytes_written == len(b"changed")
    assert bench.published["c/7"] == b"changed"


def test_errors_that_pass_are_tried_again(bench):
    faults = [
        Fault(method="put", path="c/1", error=StoreError("reset"), times=2),
        Fault(method="put", path="c/2", error=StoreError("lost answer"), late=True),
        Corruption(method="put_part"),
    ]
    transfer, destination = bench.run(faults)
    assert transfer.is_complete
    assert bench.published == TREE
    assert destination.faults_left == []
    assert len(bench.retried) == 4
    assert len(bench.receipts) == len(TREE)


def test_a_file_that_fails_keeps_metadata_from_being_published(bench):
    fault = Fault(method="put", path="c/7", error=StoreError("reset"), times=None)
    transfer, destination = bench.run([fault])
    assert [failure.path for failure in transfer.failures] == ["memory://a/c/7"]
    assert not transfer.is_complete
    assert set(bench.published) == set(TREE) - {"c/7", *METADATA}
    assert destination.calls["sync"] == 0
    assert {receipt.dst_path for receipt in bench.receipts} == {
        f"memory://b/{path}" for path in bench.published
    }
    transfer, destination = bench.run()
    assert transfer.is_complete
    assert destination.calls["put"] == 3


def test_a_corruption_that_never_ends_publishes_nothing_wrong(bench):
    transfer, _ = bench.run([Corruption(method="put", path="c/7", times=None)])
    assert [failure.path for failure in transfer.failures] == ["memory://a/c/7"]
    assert all(TREE[path] == data for path, data in bench.published.items())


def test_an_error_of_the_world_ends_the_transfer_and_keeps_the_receipts(bench):
    full = Fault(method="put", error=StoreUnavailableError("full"), times=None, skip=10)
    with pytest.raises(StoreUnavailableError, match="full"):
        bench.run([full])
    assert len(bench.receipts) == len(bench.published) >= 10
    assert not set(METADATA) & set(bench.published)
    transfer, destination = bench.run()
    assert transfer.is_complete
    assert bench.published == TREE
    assert destination.calls["put"] == len(TREE) - 1 - 10


def test_after_an_error_of_the_world_no_other_file_is_tried(bench):
    with pytest.raises(StoreUnavailableError):
        bench.run([Fault(method="put", error=StoreUnavailableError("full"), times=None)])
    assert bench.destination.calls["put"] <= bench.threads
    assert bench.published.keys() <= {"large"}


def test_what_a_bug_raises_comes_out_as_it_is(bench):
    with pytest.raises(ZeroDivisionError):
        bench.run([Fault(method="put", error=ZeroDivisionError(), times=None)])


def test_stop_finishes_what_is_under_way_and_begins_no_other(tmp_path):
    bench = Bench(tmp_path, TREE, threads=2)

    def stop_after_five(item, copied):
        bench.arrived.append(item.entry.path)
        if len(bench.arrived) == 5:
            bench.stop.set()

    transfer, _ = bench.run(on_file=stop_after_five)
    assert 5 <= len(bench.published) <= 6
    assert transfer.failures == []
    assert not transfer.is_complete
    assert {receipt.dst_path for receipt in bench.receipts} == {
        f"memory://b/{path}" for path in bench.published
    }
    assert bench.inner.memory.uploads == {}


def test_a_file_that_was_not_given_all_its_tries_is_no_failure_when_stopped(tmp_path):
    bench = Bench(tmp_path, {"file": b"1"})
    bench.on_retry = lambda error: bench.stop.set()
    transfer, destination = bench.run([Fault(method="put", error=StoreError("reset"), times=None)])
    assert destination.calls["put"] < 3
    assert transfer.failures == []
    assert not transfer.is_complete


def test_a_job_that_only_fails_is_given_up_after_a_hundred_files(tmp_path):
    bench = Bench(tmp_path, {f"{number}": b"1" for number in range(2000)})
    transfer, destination = bench.run([Fault(method="put", error=StoreError("x"), times=None)])
    assert MAX_FAILURES < len(transfer.failures) <= MAX_FAILURES + 1 + bench.threads
    assert destination.calls["put"] <= 3 * (MAX_FAILURES + 1 + bench.threads)
