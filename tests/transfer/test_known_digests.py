"""Parts of a file that were hashed aren't read again for that, by the next try or attempt."""

from __future__ import annotations

import hashlib
import json
import random

import google_crc32c
import pytest
from msgspec.structs import replace

from jobtool import md5
from jobtool.errors import RefusedError, StoreError
from jobtool.jobs.journal import Journal
from jobtool.jobs.records import DigestRecord, Receipt, UploadRecord
from jobtool.md5 import md5_of
from jobtool.stop import Stop
from jobtool.stores.memory import Memory, MemoryStore
from jobtool.stores.store import Proof
from jobtool.testing.faults import Corruption, Fault
from jobtool.testing.faulty_store import FaultyStore
from jobtool.transfer.copy import Copier
from jobtool.transfer.ledger import digests
from jobtool.transfer.partranges import MEBIBYTE
from jobtool.transfer.plan import Plan, Route
from jobtool.transfer.retry import Retry
from jobtool.transfer.run import JobTransfer
from tests.stores.raw import MemoryRaw
from tests.transfer.states import make_ledger

PARTS = 8
DATA = random.Random(1).randbytes(PARTS * MEBIBYTE)


class Source(MemoryStore):
    """Counts reads, and stops the worker after some of them."""

    stop: Stop | None = None
    left = -1
    bytes_read = 0
    is_dear = False

    @property
    def capabilities(self):
        return replace(super().capabilities, cheap_reads=not self.is_dear)

    def read(self, entry, offset, length):
        self.bytes_read += length
        self.left -= 1
        if self.left == 0 and self.stop is not None:
            self.stop.set("the time is up")
        return super().read(entry, offset, length)


class Destination(MemoryStore):
    """May need a file's MD5 before the first part, and is expensive to read, like S3."""

    needs_md5_first = True

    @property
    def capabilities(self):
        first = self.needs_md5_first
        return replace(super().capabilities, attributes_first=first, cheap_reads=False)


class Bench:
    """One file, a journal on disk, attempts by workers that know nothing of each other."""

    destination = Destination

    def __init__(self, folder, data=DATA, *, is_dear=False, needs_md5_first=True):
        self.memories = Memory(), Memory()
        self.is_dear = is_dear
        self.needs_md5_first = needs_md5_first
        self.bytes_read = 0
        self.journal_path = str(folder / "journals" / "job.jsonl")
        self.write(data)

    def write(self, data, mtime_ns=1):
        MemoryRaw(self.memories[0], "").write("large", data, mtime_ns=mtime_ns)

    def records(self, kind):
        return [record for record in Journal(self.journal_path).read() if isinstance(record, kind)]

    @property
    def published(self):
        return {path: data for path, (data, _) in self.memories[1].files.items()}

    def attempt(self, *faults, reads=-1, tries=4):
        """Let one worker try until it has made some reads; return its transfer and the reads."""
        source = Source(self.memories[0], "memory://a")
        source.is_dear, source.left, source.stop = self.is_dear, reads, Stop()
        inner = self.destination(self.memories[1], "memory://b")
        inner.needs_md5_first = self.needs_md5_first
        destination = FaultyStore(inner, faults)
        plan = Plan()
        plan.start_route(Route(source, destination))
        plan.is_tree = True
        for entry in source.list():
            plan.add(entry)
        copier = Copier(threads=1, part_bytes=MEBIBYTE)
        journal = Journal(self.journal_path)
        transfer = JobTransfer(
            make_ledger(plan, journal.read(), journal=journal),
            copier,
            threads=1,
            worker="node:1",
            stop=source.stop,
            retry=Retry(tries=tries, stop=source.stop, sleep=lambda seconds: None),
        )
        try:
            transfer.run(lambda progress: None)
        finally:
            copier.close()
            journal.close()
        self.bytes_read += source.bytes_read
        return transfer, source.bytes_read


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(digests, "BATCH_BYTES", MEBIBYTE)


HASHED_FIRST = {"is_dear": False, "needs_md5_first": True}
HASHED_WHILE_SENT = {"is_dear": False, "needs_md5_first": False}
DEAR = {"is_dear": True, "needs_md5_first": True}
WAYS = pytest.mark.parametrize(
    ("way", "readings"),
    [(HASHED_FIRST, 2), (HASHED_WHILE_SENT, 1), (DEAR, 1)],
    ids=["hashed first", "hashed while sent", "expensive to read"],
)


@WAYS
def test_a_file_that_takes_longer_to_hash_than_each_worker_has_arrives_all_the_same(
    tmp_path, way, readings
):
    bench = Bench(tmp_path, **way)
    attempts, is_complete = 0, False
    while not is_complete and attempts < 20:
        transfer, _ = bench.attempt(reads=3)
        is_complete = transfer.is_complete
        attempts += 1
    assert is_complete, f"nothing has moved in {attempts} attempts"
    assert bench.published == {"large": DATA}
    (receipt,) = bench.records(Receipt)
    assert receipt.hashsum_src == receipt.hashsum_dst == md5_of(DATA)
    # Besides two parts for each attempt: one just read, one that was on its way.
    assert bench.bytes_read <= readings * len(DATA) + 2 * attempts * (MEBIBYTE + 1)


@WAYS
def test_a_part_that_fails_six_times_does_not_have_the_file_read_again(tmp_path, way, readings):
    bench = Bench(tmp_path, **way)
    fault = Fault(method="put_part", error=StoreError("reset"), skip=PARTS - 1, times=6)
    transfer, bytes_read = bench.attempt(fault, tries=7)
    assert transfer.is_complete
    assert bench.published == {"large": DATA}
    assert bytes_read <= readings * len(DATA) + 6 * (MEBIBYTE + 1)


def test_a_part_that_is_spoilt_on_its_way_does_not_have_the_file_read_again(tmp_path):
    bench = Bench(tmp_path)
    transfer, bytes_read = bench.attempt(Corruption(method="put_part", skip=2, times=3))
    assert transfer.is_complete
    assert bytes_read <= 2 * len(DATA) + 9 * (MEBIBYTE + 1)  # each try reads ahead


@pytest.mark.parametrize("change", ["size", "time", "bytes"])
def test_a_file_that_changed_between_two_attempts_is_hashed_afresh(tmp_path, change):
    bench = Bench(tmp_path)
    bench.attempt(reads=PARTS + 4)  # all is hashed, some sent
    assert bench.records(DigestRecord)
    other = DATA[::-1] + (b"more" if change == "size" else b"")
    bench.write(other, mtime_ns=2 if change == "time" else 1)
    transfer, bytes_read = bench.attempt()
    assert transfer.is_complete
    assert bench.published == {"large": other}
    assert bytes_read >= 2 * len(other)
    assert bench.records(Receipt)[-1].hashsum_src == md5_of(other)


@pytest.mark.parametrize("may_abort", [True, False])
def test_an_upload_begun_with_the_md5_of_other_bytes_is_not_completed(tmp_path, may_abort):
    bench = Bench(tmp_path)
    bench.attempt(reads=PARTS + 4)  # its metadata has the MD5, and some parts are sent
    other = DATA[:-1] + b"!"  # of the same size and time
    bench.write(other)
    bench.needs_md5_first = False
    (tmp_path / "journals" / "job.jsonl").write_text(
        "".join(
            line
            for line in (tmp_path / "journals" / "job.jsonl").read_text().splitlines(True)
            if "digests" not in line
        )
    )
    refusal = Fault(method="abort", error=RefusedError("this key may not abort"), times=100)
    transfer, _ = bench.attempt(*([] if may_abort else [refusal]))
    assert transfer.is_complete
    assert bench.published == {"large": other}
    assert len(bench.records(UploadRecord)) == 2
    assert bench.records(Receipt)[-1].hashsum_dst == md5_of(other)


def test_what_was_compared_is_not_read_again_to_be_sent(tmp_path):
    bench = Bench(tmp_path)
    MemoryRaw(bench.memories[1], "").write("large", DATA[::-1])
    transfer, bytes_read = bench.attempt()
    assert transfer.is_complete
    assert bench.published == {"large": DATA}
    assert bytes_read <= 2 * len(DATA) + 1  # its attributes come with one byte


def test_a_killed_worker_costs_no_more_than_a_batch(tmp_path, small_batches):
    bench = Bench(tmp_path)
    bench.attempt(reads=5)
    lines = (tmp_path / "journals" / "job.jsonl").read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["type"] == "digests"][:3]
    assert [json.loads(line)["first"] for line in kept] == [1, 2, 3]
    (tmp_path / "journals" / "job.jsonl").write_bytes(b"".join(kept) + kept[0][:50])
    transfer, bytes_read = bench.attempt()
    assert transfer.is_complete
    assert bytes_read == (PARTS - 3) * MEBIBYTE + len(DATA)
    assert bench.records(Receipt)[0].hashsum_src == md5_of(DATA)


def test_lines_that_an_older_version_does_not_know_are_passed_over(tmp_path):
    bench = Bench(tmp_path)
    bench.attempt(reads=5)
    path = tmp_path / "journals" / "job.jsonl"
    lines = path.read_bytes()
    path.write_bytes(b'{"type":"from-the-future","src_path":"x"}\n' + lines)
    found = [type(record) for record in Journal(str(path)).read()]
    assert [kind.__name__ for kind in found] == ["DigestRecord", "ListingRecord"]


def test_without_a_library_all_is_hashed_again_and_what_was_hashed_to_its_end_is_kept(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(md5, "block_function", lambda: None)
    bench = Bench(tmp_path)
    _, first = bench.attempt(reads=3)
    assert bench.records(DigestRecord) == []
    _, second = bench.attempt(reads=PARTS + 2)
    transfer, third = bench.attempt()
    assert transfer.is_complete
    assert bench.published == {"large": DATA}
    assert first + second + third <= 3 * MEBIBYTE + 2 * len(DATA) + 2 * MEBIBYTE


def test_a_state_from_elsewhere_is_of_no_use_without_a_library(tmp_path, monkeypatch):
    bench = Bench(tmp_path)
    bench.attempt(reads=4)
    monkeypatch.setattr(md5, "block_function", lambda: None)
    transfer, bytes_read = bench.attempt()
    assert transfer.is_complete
    assert bytes_read == 2 * len(DATA)


def test_records_of_ten_thousand_parts_fit_into_lines_of_a_journal(tmp_path, monkeypatch):
    monkeypatch.setattr(md5, "block_function", lambda: None)  # one batch, at the end
    bench = Bench(tmp_path)
    transfer, _ = bench.attempt(Fault(method="begin", error=StoreError("reset"), times=9))
    item = transfer._plan.item(0)
    size = 10_000 * 100 - 1
    known = digests.KnownDigests(size=size, mtime_ns=1, part_size=100)
    known.add_to_whole(b"x" * size)
    for number in range(10_000):
        known.add(md5_of(str(number).encode()))
    journal = Journal(str(tmp_path / "other.jsonl"))
    records = [*known.records(item)]
    for record in records:
        journal.append(record)
    journal.close()
    found = None
    for record in journal.read():
        found = digests.folded(found, record)
    assert len(records) == 10
    assert len(found) == 10_000
    assert found.whole == known.whole == md5_of(b"x" * size)
    sums = b"".join(hashlib.md5(str(number).encode()).digest() for number in range(10_000))
    assert found.composite() == known.composite() == f"{hashlib.md5(sums).hexdigest()}-10000"
    assert [*known.records(item)] == []


def hashed(first, *md5s, **changes):
    """A record of the digests of parts; the file has 5 of 10 bytes, and the last is shorter."""
    values = {"size": 49, "mtime_ns": 1, "part_size": 10, "first": first, "md5s": md5s}
    return DigestRecord(src_path="memory://a/x", dst_path="memory://b/x", **(values | changes))


def md5s_of(known):
    return [known.md5_of(number) for number in range(1, len(known) + 1)]


A, B, C = "a" * 32, "b" * 32, "c" * 32


@pytest.mark.parametrize(
    "record",
    [
        hashed(4, C),  # whose predecessor was lost
        hashed(3, C, C, C, C),  # of more parts than the file has
        hashed(3, C, C, whole=C),  # of the whole file before its end
    ],
    ids=["a gap", "too many", "too early"],
)
def test_a_record_that_does_not_fit_what_is_known_is_passed_over(record):
    known = digests.folded(None, hashed(1, A, B))
    assert md5s_of(digests.folded(known, record)) == [A, B]
    assert digests.folded(known, record).whole is None
    known = digests.folded(known, hashed(3, A, B, C, whole=B))
    assert (md5s_of(known), known.whole) == ([A, B, A, B, C], B)


def test_a_record_that_begins_earlier_replaces_what_is_known_from_there_on():
    known = digests.folded(None, hashed(1, A, A, A, A, A, whole=A))
    known = digests.folded(known, hashed(2, B, C))
    assert (md5s_of(known), known.whole) == ([A, B, C], None)


@pytest.mark.parametrize(
    "changes", [{"size": 48}, {"mtime_ns": 2}, {"part_size": 11}, {"etag": "x"}], ids=repr
)
def test_a_record_of_the_file_as_it_was_says_nothing_of_it_now(changes):
    known = digests.folded(None, hashed(1, A, B))
    assert md5s_of(digests.folded(known, hashed(3, C, **changes))) == []
    assert md5s_of(digests.folded(known, hashed(1, C, **changes))) == [C]


def test_digests_are_recorded_once_a_batch_of_bytes_was_hashed(monkeypatch):
    monkeypatch.setattr(digests, "BATCH_BYTES", 30)
    known = digests.folded(None, hashed(1, A))  # which is recorded
    was_worth_noting = []
    for _ in range(3):
        known.add(B)
        was_worth_noting.append(known.is_worth_noting)
    assert was_worth_noting == [False, False, True]


class Comparing(Destination):
    """Like a service that keeps the CRC32C of each file, as does that of the source."""

    def compare_inside(self, source, entry, path, require_going):
        require_going()
        theirs, ours = source.memory.files[entry.path][0], self.memory.files[path][0]
        if ours != theirs:
            return "different"
        checksum = f"CRC32C:{google_crc32c.value(ours):08x}"
        return Proof(md5=None, verified_by="stored-crc32c", checksum=checksum)

    def is_still(self, path, checksum):
        return checksum == f"CRC32C:{google_crc32c.value(self.memory.files[path][0]):08x}"


@pytest.mark.parametrize("is_known", [True, False])
def test_services_compare_a_file_and_its_md5_is_that_of_an_earlier_reading(tmp_path, is_known):
    """Without one the receipt has none. Nothing is read for it."""
    bench = Bench(tmp_path)
    if is_known:
        bench.attempt(reads=PARTS + 4)  # all of it was hashed, and some parts were sent
    MemoryRaw(bench.memories[1], "").write("large", DATA)
    bench.destination = Comparing
    transfer, bytes_read = bench.attempt()
    assert transfer.is_complete
    assert bytes_read == 0
    (receipt,) = bench.records(Receipt)
    md5 = md5_of(DATA) if is_known else None
    assert (receipt.hashsum_src, receipt.hashsum_dst) == (md5, md5)
    assert receipt.checksum == f"CRC32C:{google_crc32c.value(DATA):08x}"
    transfer, bytes_read = bench.attempt()
    assert (transfer.is_complete, bytes_read) == (True, 0), "the receipt counts"
    assert len(bench.records(Receipt)) == 1


def test_a_file_that_services_find_different_is_sent(tmp_path):
    bench = Bench(tmp_path)
    MemoryRaw(bench.memories[1], "").write("large", DATA[::-1])
    bench.destination = Comparing
    transfer, _ = bench.attempt()
    assert transfer.is_complete
    assert bench.published == {"large": DATA}
    assert bench.records(Receipt)[0].hashsum_src == md5_of(DATA)
