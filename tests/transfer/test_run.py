"""A job's transfer: a receipt for each file, metadata last, and an orderly end in every case."""

from __future__ import annotations

import os
import random
import threading

import pytest

from jobtool.errors import FileError, StoreError, StoreUnavailableError
from jobtool.jobs.journal import Journal
from jobtool.jobs.records import Receipt, UploadRecord
from jobtool.md5 import md5_of
from jobtool.stop import Stop
from jobtool.stores.local import LocalStore
from jobtool.stores.memory import Memory, MemoryStore
from jobtool.stores.store import Special
from jobtool.testing.faults import Corruption, Fault
from jobtool.testing.faulty_store import FaultyStore
from jobtool.transfer.copy import Copier
from jobtool.transfer.partranges import MEBIBYTE
from jobtool.transfer.plan import MAX_FAILURES, Plan, Route
from jobtool.transfer.policies import Policies
from jobtool.transfer.retry import Retry
from jobtool.transfer.run import JobTransfer
from tests.stores.raw import MemoryRaw
from tests.transfer.states import make_ledger

TREE = {f"c/{number}": f"{number}".encode() for number in range(40)}
TREE |= {"large": b"x" * (2 * MEBIBYTE + 1), "zarr.json": b"{}", "c/zarr.json": b"{ }"}
METADATA = ["c/zarr.json", "zarr.json"]


class Bench:
    """A tree in memory, a destination that may fail, a journal on disk."""

    def __init__(self, folder, tree, threads=4, first_threads=None):
        self.source = MemoryStore(Memory(), "memory://a")
        for path, data in tree.items():
            MemoryRaw(self.source.memory, "").write(path, data, mtime_ns=1)
        self.inner = MemoryStore(Memory(), "memory://b")
        self.stop = Stop()
        self.journal_path = str(folder / "journals" / "job.jsonl")
        self.threads = threads
        self.first_threads = first_threads or threads
        self.retried = []
        self.on_retry = self.retried.append
        self.progress = []
        self.arrived = []

    @property
    def published(self):
        return {path: data for path, (data, _) in self.inner.memory.files.items()}

    @property
    def receipts(self):
        return self.records(Receipt)

    def records(self, kind):
        return [record for record in Journal(self.journal_path).read() if isinstance(record, kind)]

    def run(self, faults=(), on_file=None, *, policies=None, attempt=3):
        """Transfer as an attempt of a worker does; return what ran, and its destination."""
        self.destination = destination = FaultyStore(self.inner, faults)
        plan = Plan()
        plan.start_route(Route(self.source, destination))
        plan.is_tree = True
        for entry in self.source.list():
            if isinstance(entry, Special):
                plan.add_special(entry)
            else:
                plan.add(entry)
        copier = Copier(threads=self.threads, first_threads=self.first_threads, part_bytes=MEBIBYTE)
        journal = Journal(self.journal_path)
        transfer = JobTransfer(
            make_ledger(plan, journal.read(), journal=journal, attempt=attempt),
            copier,
            policies=policies,
            threads=self.threads,
            worker="node:1",
            stop=self.stop,
            retry=Retry(
                tries=3, stop=self.stop, sleep=lambda seconds: None, on_retry=self.on_retry
            ),
            on_file=on_file or (lambda item, copied: self.arrived.append(item.entry.path)),
        )
        try:
            transfer.run(self.progress.append)
        finally:
            copier.close()
            journal.close()
        return transfer, destination


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path, TREE)


def test_threads_are_added_while_they_wait(tmp_path):
    bench = Bench(tmp_path, TREE, threads=4, first_threads=2)
    barrier, have_met = threading.Barrier(4, timeout=30), threading.Event()

    def on_file(item, copied):
        if not have_met.is_set():
            barrier.wait()  # fails if four threads never wait at a time
            have_met.set()

    transfer, _ = bench.run(on_file=on_file)
    assert transfer.is_complete


def test_a_limit_on_threads_leaves_those_that_were_started(bench, monkeypatch):
    refused = []
    start = threading.Thread.start

    def limited(thread):
        if thread.name.startswith("copy-") and thread.name >= "copy-2":
            refused.append(thread.name)
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    transfer, _ = bench.run()
    assert transfer.is_complete
    assert refused


def test_every_file_arrives_and_has_a_receipt(bench):
    transfer, destination = bench.run()
    assert bench.published == TREE
    assert transfer.is_complete
    assert transfer.failures == []
    assert destination.calls["sync"] >= 1
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


class ChecksAtEachSync(MemoryStore):
    """Files are synced before their receipts are in the journal."""

    def sync(self):
        assert self.receipts_on_disk() <= self.synced
        self.synced = set(self.memory.files)


def test_no_receipt_is_on_disk_before_its_file_was_synced(bench):
    bench.inner = checking = ChecksAtEachSync(Memory(), "memory://b")
    checking.synced = set()
    checking.receipts_on_disk = lambda: {
        receipt.dst_path.removeprefix("memory://b/") for receipt in bench.receipts
    }
    transfer, _ = bench.run()
    assert transfer.is_complete
    assert checking.receipts_on_disk() == checking.synced == set(TREE)


def test_metadata_is_published_last_and_the_root_after_all(bench):
    bench.run()
    assert list(bench.published)[-2:] == METADATA
    assert bench.arrived[-2:] == METADATA


def test_progress_ends_with_everything_and_never_goes_beyond(bench):
    bench.run()
    last = bench.progress[-1]
    assert (last.files_done, last.files_total) == (len(TREE), len(TREE))
    assert last.bytes_done == last.bytes_total == sum(map(len, TREE.values()))
    assert (last.files_sent, last.bytes_sent) == (last.files_done, last.bytes_done)
    assert max(progress.bytes_done for progress in bench.progress) == last.bytes_total


def test_an_empty_job_is_complete(tmp_path):
    transfer, _ = Bench(tmp_path, {}).run()
    assert transfer.is_complete


def test_what_has_a_receipt_is_not_sent_again(bench):
    bench.run()
    MemoryRaw(bench.source.memory, "").write("c/7", b"changed", mtime_ns=2)
    transfer, destination = bench.run()
    assert transfer.is_complete
    assert destination.calls["write"] == 1
    assert destination.calls["put_part"] == 0
    assert destination.bytes_written == transfer.progress.bytes_sent == len(b"changed")
    assert transfer.progress.files_sent == 1
    assert bench.published["c/7"] == b"changed"


def test_errors_that_pass_are_tried_again(bench):
    faults = [
        Fault(method="write", path="c/1", error=StoreError("reset"), times=2),
        Fault(method="write", path="c/2", error=StoreError("lost answer"), late=True),
        Corruption(method="put_part"),
    ]
    transfer, destination = bench.run(faults)
    assert transfer.is_complete
    assert bench.published == TREE
    assert destination.faults_left == []
    assert len(bench.retried) == 4
    assert len(bench.receipts) == len(TREE)


def test_a_file_that_fails_keeps_metadata_from_being_published(bench):
    fault = Fault(method="write", path="c/7", error=StoreError("reset"), times=None)
    transfer, destination = bench.run([fault])
    assert [failure.path for failure in transfer.failures] == ["memory://a/c/7"]
    assert not transfer.is_complete
    assert set(bench.published) == set(TREE) - {"c/7", *METADATA}
    assert {receipt.dst_path for receipt in bench.receipts} == {
        f"memory://b/{path}" for path in bench.published
    }
    transfer, destination = bench.run()
    assert transfer.is_complete
    assert destination.calls["write"] == 3


def test_a_corruption_that_never_ends_publishes_nothing_wrong(bench):
    transfer, _ = bench.run([Corruption(method="write", path="c/7", times=None)])
    assert [failure.path for failure in transfer.failures] == ["memory://a/c/7"]
    assert all(TREE[path] == data for path, data in bench.published.items())


def test_an_error_of_the_world_ends_the_transfer_and_keeps_the_receipts(bench):
    full = Fault(method="write", error=StoreUnavailableError("full"), times=None, skip=10)
    with pytest.raises(StoreUnavailableError, match="full"):
        bench.run([full])
    assert len(bench.receipts) == len(bench.published) >= 10
    assert not set(METADATA) & set(bench.published)
    transfer, destination = bench.run()
    assert transfer.is_complete
    assert bench.published == TREE
    assert destination.calls["write"] == len(TREE) - 1 - 10


def test_after_an_error_of_the_world_no_other_file_is_tried(bench):
    with pytest.raises(StoreUnavailableError):
        bench.run([Fault(method="write", error=StoreUnavailableError("full"), times=None)])
    assert bench.destination.calls["write"] <= bench.threads
    assert bench.published.keys() <= {"large"}


def test_what_a_bug_raises_comes_out_as_it_is(bench):
    with pytest.raises(ZeroDivisionError):
        bench.run([Fault(method="write", error=ZeroDivisionError(), times=None)])


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
    begun = {record.token for record in bench.records(UploadRecord)}
    assert set(bench.inner.memory.uploads) <= begun


def test_a_large_file_that_was_stopped_in_the_middle_is_taken_up_by_the_next_attempt(tmp_path):
    data = random.Random(0).randbytes(8 * MEBIBYTE)
    bench = Bench(tmp_path, {"large": data}, threads=1)
    stop_after_one_part = StopsAfterOnePart(bench.inner.memory, "memory://b")
    stop_after_one_part.stop, sound = bench.stop, bench.inner
    bench.inner = stop_after_one_part
    transfer, first = bench.run()
    assert not transfer.is_complete
    assert transfer.failures == []
    assert transfer.progress.bytes_done == 0
    assert MEBIBYTE <= first.bytes_written < len(data)
    assert bench.published == {}
    bench.stop = Stop()
    bench.inner = sound
    transfer, second = bench.run()
    assert transfer.is_complete
    assert first.bytes_written + second.bytes_written == len(data)
    assert transfer.progress.bytes_sent == second.bytes_written
    assert second.calls["begin"] == 0
    assert bench.published == {"large": data}
    assert len(bench.receipts) == 1


class StopsAfterOnePart(MemoryStore):
    stop: Stop

    def put_part(self, upload, number, offset, data, md5):
        part = super().put_part(upload, number, offset, data, md5)
        self.stop.set()
        return part


class ChangesOnce(MemoryStore):
    """A source whose file is rewritten after its first part was read."""

    changed: bytes | None

    def read(self, entry, offset, length):
        content = super().read(entry, offset, length)
        if self.changed is not None:
            MemoryRaw(self.memory, "").write(entry.path, self.changed, mtime_ns=2)
            self.changed = None
        return content


def test_a_file_that_changes_while_it_is_copied_is_sent_as_it_is_then(tmp_path):
    before, after = b"a" * 3 * MEBIBYTE, b"b" * (3 * MEBIBYTE + 1)
    bench = Bench(tmp_path, {"large": before})
    bench.source = ChangesOnce(bench.source.memory, "memory://a")
    bench.source.changed = after
    transfer, _ = bench.run()
    assert transfer.is_complete
    assert bench.published == {"large": after}
    assert bench.inner.memory.uploads == {}
    (receipt,) = bench.receipts
    assert (receipt.size, receipt.mtime_ns) == (len(after), 2)
    assert receipt.hashsum_src == md5_of(after)
    assert transfer.progress.bytes_done == transfer.progress.bytes_total == len(after)


@pytest.mark.parametrize("lost", ["removed", "cut short"])
def test_a_file_with_a_receipt_that_the_destination_has_lost_is_sent_again(bench, lost):
    bench.run()
    if lost == "removed":
        bench.inner.delete("c/7")
    else:
        MemoryRaw(bench.inner.memory, "").write("c/7", b"")
    transfer, destination = bench.run()
    assert transfer.is_complete
    assert bench.published == TREE
    assert destination.calls["write"] == 1


@pytest.mark.parametrize(
    ("if_exists", "puts"),
    [("verify", len(TREE) - 1 - 2), ("overwrite", len(TREE) - 1)],
)
def test_what_is_there_without_a_receipt_is_compared_or_overwritten_as_told(bench, if_exists, puts):
    raw = MemoryRaw(bench.inner.memory, "")
    for path in ("c/1", "c/2", "large"):
        raw.write(path, TREE[path])
    raw.write("c/3", b"4")  # of the same size, and other
    raw.write("c/4", b"of another size")
    transfer, destination = bench.run(policies=Policies(if_exists=if_exists))
    assert transfer.is_complete
    assert bench.published == TREE
    assert destination.calls["write"] == puts
    assert destination.calls["put_part"] == (0 if if_exists == "verify" else 3)
    assert len(bench.receipts) == len(TREE)
    assert transfer.progress.files_sent == puts + (if_exists == "overwrite")  # the one with parts
    assert transfer.progress.bytes_sent == destination.bytes_written


def test_what_is_there_without_a_receipt_is_an_error_if_told_and_is_left_as_it_is(bench):
    MemoryRaw(bench.inner.memory, "").write("c/1", b"precious")
    policies = Policies(if_exists="error")
    transfer, _ = bench.run(policies=policies, attempt=1)
    assert [failure.path for failure in transfer.failures] == ["memory://a/c/1"]
    assert bench.published["c/1"] == b"precious"
    assert not set(METADATA) & set(bench.published)


def test_what_an_earlier_attempt_left_without_a_receipt_is_no_error(bench):
    MemoryRaw(bench.inner.memory, "").write("c/1", TREE["c/1"])
    transfer, _ = bench.run(policies=Policies(if_exists="error"), attempt=2)
    assert transfer.is_complete


def bench_with_specials(tmp_path, links, destination="local"):
    bench = Bench(tmp_path, {})
    (tmp_path / "from" / "empty" / "folder").mkdir(parents=True)
    (tmp_path / "from" / "file").write_bytes(b"data")
    (tmp_path / "from" / "link").symlink_to("file")
    bench.source = LocalStore(str(tmp_path / "from"), links=links)
    if destination == "local":
        bench.inner = LocalStore(str(tmp_path / "to"), links="keep")
    return bench


def test_empty_folders_and_kept_links_arrive_where_they_can_be(tmp_path):
    bench = bench_with_specials(tmp_path, "keep")
    os.mkfifo(tmp_path / "from" / "pipe")
    transfer, _ = bench.run(policies=Policies(links="keep"))
    assert transfer.is_complete
    assert [path for path, _ in transfer.skipped.first] == [str(tmp_path / "from" / "pipe")]
    assert list((tmp_path / "to" / "empty" / "folder").iterdir()) == []
    assert os.readlink(tmp_path / "to" / "link") == "file"
    assert sorted(os.listdir(tmp_path / "to")) == ["empty", "file", "link"]


def test_a_kept_link_that_the_destination_cannot_hold_is_a_failure(tmp_path):
    bench = bench_with_specials(tmp_path, "keep", "memory")
    transfer, _ = bench.run(policies=Policies(links="keep"))
    assert [failure.path for failure in transfer.failures] == [str(tmp_path / "from" / "link")]
    assert isinstance(transfer.failures[0].error, FileError)
    assert not transfer.is_complete
    assert bench.published == {"file": b"data"}


def test_skipped_links_are_told_and_are_no_failure(tmp_path):
    bench = bench_with_specials(tmp_path, "skip", "memory")
    transfer, _ = bench.run(policies=Policies(links="skip"))
    assert transfer.is_complete
    ((path, reason),) = transfer.skipped.first
    assert path == str(tmp_path / "from" / "link")
    assert "a link to file" in reason
    assert bench.published == {"file": b"data"}


def test_a_stop_that_comes_with_the_last_file_does_not_lose_empty_folders(tmp_path):
    bench = bench_with_specials(tmp_path, "follow")

    def stop_at_the_last(item, copied):
        bench.arrived.append(item.entry.path)
        if len(bench.arrived) == 2:
            bench.stop.set()

    transfer, _ = bench.run(on_file=stop_at_the_last)
    assert sorted(bench.arrived) == ["file", "link"]
    assert transfer.is_complete
    assert (tmp_path / "to" / "empty" / "folder").is_dir()


def test_a_file_that_was_not_given_all_its_tries_is_no_failure_when_stopped(tmp_path):
    bench = Bench(tmp_path, {"file": b"1"})
    bench.on_retry = lambda error: bench.stop.set()
    transfer, destination = bench.run(
        [Fault(method="write", error=StoreError("reset"), times=None)]
    )
    assert destination.calls["write"] < 3
    assert transfer.failures == []
    assert not transfer.is_complete


def test_a_job_that_only_fails_is_given_up_after_a_hundred_files(tmp_path):
    bench = Bench(tmp_path, {f"{number}": b"1" for number in range(2000)})
    transfer, destination = bench.run([Fault(method="write", error=StoreError("x"), times=None)])
    assert MAX_FAILURES < len(transfer.failures) <= MAX_FAILURES + 1 + bench.threads
    assert destination.calls["write"] <= 3 * (MAX_FAILURES + 1 + bench.threads)
