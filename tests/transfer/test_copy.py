"""One file, proven: between all kinds of stores, whole and in parts, with and without faults."""

from __future__ import annotations

import contextlib
import hashlib
import random
import threading

import pytest

from jobtool.errors import (
    ClaimLostError,
    DigestMismatchError,
    JobtoolError,
    SourceChangedError,
    SourceDigestError,
    StoppedError,
    StoreError,
)
from jobtool.jobs.records import UploadRecord
from jobtool.md5 import md5_of
from jobtool.stop import Stop
from jobtool.stores.memory import Memory, MemoryStore
from jobtool.stores.store import Attributes, Content, Part, Upload, entry_of, kind_of
from jobtool.testing.faults import Corruption, Fault
from jobtool.testing.faulty_store import FaultyStore
from jobtool.transfer.capacity import ByteBudget
from jobtool.transfer.copy import Copier
from jobtool.transfer.digests import fresh_digests
from jobtool.transfer.ledger.digests import KnownDigests
from jobtool.transfer.ledger.uploads import UploadUnderWay, record_of
from jobtool.transfer.partranges import MEBIBYTE, part_size_for, ranges
from jobtool.transfer.plan import Item, Route
from jobtool.transfer.retry import Retry
from tests.stores.raw import MemoryRaw

KINDS = ("memory", "local", "s3")
MTIME_NS = 1_700_000_000_123_456_000
PATH = "a folder/file -> 1"
LARGE = random.Random(0).randbytes(2 * 5 * MEBIBYTE + 7)  # three parts of 5 MiB
DEADLINE_SECONDS = 30


@pytest.fixture
def copier():
    made = Copier(threads=3, part_bytes=5 * MEBIBYTE, buffer_bytes=1)
    yield made
    made.close()


class Notes:
    """The records of one file's tries, in memory."""

    def __init__(self):
        self.under_way: UploadUnderWay | None = None
        self.tokens: list[str] = []
        self.known: KnownDigests | None = None
        self.item: Item | None = None

    def beginning(self) -> None:
        pass

    def begun(self, upload: Upload, part_size: int) -> None:
        record = UploadRecord(
            src_path=PATH,
            dst_path=upload.path,
            size=len(LARGE),
            mtime_ns=upload.attributes.mtime_ns,
            part_size=part_size,
            token=upload.token,
            md5=upload.attributes.md5,
        )
        self.under_way = UploadUnderWay(record)
        self.tokens.append(upload.token)

    def sent(self, part: Part) -> None:
        self.under_way.parts[part.number] = record_of(self.under_way.record.token, part)

    def dropped(self) -> None:
        self.under_way = None

    def digests(self, part_size: int) -> KnownDigests:
        if self.known is None or not self.known.is_of(self.item, part_size):
            self.known = fresh_digests(self.item, part_size)
        return self.known

    def hashed(self, known: KnownDigests) -> None:
        pass

    def forget_digests(self) -> None:
        self.known = None

    def flush(self) -> None:
        pass

    @property
    def bytes_sent(self) -> int:
        return sum(part.size for part in self.under_way.parts.values())


def item_of(source, destination, path=PATH):
    return Item(Route(source, destination), entry_of(source, path), path)


def copy(copier, source, destination, log=None, *, stop=None, on_bytes=lambda count: None):
    seen = []

    def note(count):
        seen.append(count)
        on_bytes(count)

    item = item_of(source, destination)
    stop = stop or Stop()
    log = Notes() if log is None else log
    log.item = item
    copied = copier.copy(item, log, stop=stop, on_bytes=note)
    assert sum(seen) == item.entry.size
    return copied


def memory_pair(data=LARGE, faults=(), source_faults=()):
    memories = Memory(), Memory()
    raws = [MemoryRaw(memory, "") for memory in memories]
    raws[0].write(PATH, data, mtime_ns=MTIME_NS)
    source = FaultyStore(MemoryStore(memories[0], "memory://a"), source_faults)
    return source, FaultyStore(MemoryStore(memories[1], "memory://b"), faults), raws[1]


SIZES = {"empty": b"", "whole": b"small", "parts": LARGE}

#: Each pair of stores once, and each store on each side once with each size; else with all.
COPIES = [
    pytest.param(
        *(source, destination, data),
        id=f"{source}-{destination}-{size}",
        marks=[pytest.mark.wide] * ((first + second + third) % 3 != 0),
    )
    for first, source in enumerate(KINDS)
    for second, destination in enumerate(KINDS)
    for third, (size, data) in enumerate(SIZES.items())
]


@pytest.mark.parametrize(("source_kind", "destination_kind", "data"), COPIES)
def test_a_file_arrives_with_its_time_and_a_proof(
    make_store, copier, source_kind, destination_kind, data
):
    source, raw_source = make_store(source_kind)
    destination, raw = make_store(destination_kind)
    raw_source.write(PATH, data, mtime_ns=MTIME_NS)
    copied = copy(copier, source, destination)
    md5 = hashlib.md5(data).hexdigest()
    assert raw.paths() == {PATH}
    assert raw.read(PATH) == data
    assert (copied.md5, copied.proof.md5) == (md5, md5)
    assert copied.part_size == (5 * MEBIBYTE if data is LARGE else None)
    arrived = entry_of(destination, PATH)
    attributes = destination.read(arrived, 0, arrived.size).attributes
    assert abs(attributes.mtime_ns - MTIME_NS) < 1000


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("data", "method"), [(b"small", "write"), (LARGE, "put_part")])
def test_corruption_on_the_way_is_caught_and_the_next_try_succeeds(
    make_store, copier, kind, data, method
):
    source, _, _ = memory_pair(data)
    inner, raw = make_store(kind)
    destination = FaultyStore(inner, [Corruption(method=method)])
    log = Notes()
    with pytest.raises(DigestMismatchError):
        copy(copier, source, destination, log)
    assert PATH not in raw.paths()
    assert copy(copier, source, destination, log).proof.md5 == md5_of(data)
    assert raw.paths() == {PATH}
    assert raw.read(PATH) == data


@pytest.mark.parametrize(("data", "method"), [(b"small", "write"), (LARGE, "put_part")])
def test_corruption_that_never_ends_fails_after_all_tries_and_publishes_nothing(
    make_store, copier, data, method
):
    source, _, _ = memory_pair(data)
    inner, raw = make_store("local")
    destination = FaultyStore(inner, [Corruption(method=method, times=None)])
    retried = []
    retry = Retry(tries=3, sleep=lambda seconds: None, on_retry=retried.append)
    log = Notes()
    with pytest.raises(DigestMismatchError):
        retry.call(lambda: copy(copier, source, destination, log))
    assert len(retried) == 2
    assert raw.paths() == set()


@pytest.mark.parametrize("data", [b"small", LARGE], ids=["whole", "parts"])
def test_a_source_that_reads_differently_from_its_recorded_md5_is_not_published(copier, data):
    source, destination, raw = memory_pair(data)
    source.inner.memory.files[PATH] = (data, Attributes(mtime_ns=0, md5=md5_of(b"other")))
    with pytest.raises(SourceDigestError, match="metadata"):
        copy(copier, source, destination)
    assert raw.paths() == set()


class ChangingStore(MemoryStore):
    """A source whose file changes after its first part was read."""

    def read(self, entry, offset, length) -> Content:
        content = super().read(entry, offset, length)
        self.memory.files[entry.path] = (b"changed", Attributes(mtime_ns=1))
        return content


def test_a_file_that_changes_while_it_is_copied_is_not_published(copier):
    _, destination, raw = memory_pair()
    memory = Memory()
    MemoryRaw(memory, "").write(PATH, LARGE)
    with pytest.raises(SourceChangedError):
        copy(copier, ChangingStore(memory, "memory://c"), destination)
    assert raw.paths() == set()


@pytest.mark.parametrize("method", ["begin", "put_part", "complete"])
@pytest.mark.parametrize("late", [False, True])
def test_a_failed_try_keeps_its_upload_and_the_next_one_succeeds(copier, method, late):
    fault = Fault(method=method, error=StoreError("reset"), late=late, skip=method == "put_part")
    source, destination, raw = memory_pair(faults=[fault])
    log = Notes()
    with pytest.raises(StoreError, match="reset"):
        copy(copier, source, destination, log)
    uploads = set(destination.inner.memory.uploads)
    if method == "begin":  # whose token was lost with the answer
        assert log.under_way is None
    else:
        assert set(log.tokens) == ({log.under_way.record.token} if log.under_way else set())
        # A completed upload can't be taken up: here the lost answer costs sending the file again.
        assert uploads == (set() if method == "complete" and late else set(log.tokens))
    copy(copier, source, destination, log)
    assert raw.read(PATH) == LARGE
    assert destination.calls["abort"] == 0
    taken_up = method == "put_part" or (method == "complete" and not late)
    assert destination.calls["begin"] == (1 if taken_up else 2)


def interrupted_pair(make_store, copier, source_kind, destination_kind):
    """A source and a destination between which one try has sent a part or two."""
    source, raw_source = make_store(source_kind)
    raw_source.write(PATH, LARGE, mtime_ns=MTIME_NS)
    inner, raw = make_store(destination_kind)
    destination = FaultyStore(inner, [Fault(method="put_part", error=StoreError("reset"), skip=1)])
    log = Notes()
    with pytest.raises(StoreError, match="reset"):
        copy(copier, source, destination, log)
    assert 0 < log.bytes_sent < len(LARGE)
    assert destination.bytes_written == log.bytes_sent
    assert kind_of(inner, PATH) == "missing"
    return source, raw_source, destination, raw, log


@pytest.mark.parametrize("destination_kind", KINDS)
@pytest.mark.parametrize("source_kind", ["local", "s3"])
def test_the_next_try_sends_only_what_is_missing(make_store, copier, source_kind, destination_kind):
    source, _, destination, raw, log = interrupted_pair(
        make_store, copier, source_kind, destination_kind
    )
    copied = copy(copier, source, destination, log)
    assert destination.bytes_written == len(LARGE)
    assert len(log.tokens) == 1
    assert copied.md5 == copied.proof.md5 == md5_of(LARGE)
    assert raw.paths() == {PATH}
    assert raw.read(PATH) == LARGE


@pytest.mark.parametrize("kind", KINDS)
def test_an_upload_whose_file_reads_differently_now_is_not_believed(make_store, copier, kind):
    source, raw_source, destination, raw, log = interrupted_pair(make_store, copier, "local", kind)
    other = LARGE[::-1]
    raw_source.write(PATH, other, mtime_ns=MTIME_NS)  # the same size and time
    retry = Retry(tries=2, sleep=lambda seconds: None)
    copied = retry.call(lambda: copy(copier, source, destination, log))
    assert copied.proof.md5 == md5_of(other)
    assert raw.paths() == {PATH}
    assert raw.read(PATH) == other
    assert list(destination.leftovers(PATH, 0)) == []


@pytest.mark.parametrize("kind", KINDS)
def test_an_upload_that_somebody_dropped_is_begun_anew(make_store, copier, kind):
    source, _, destination, raw, log = interrupted_pair(make_store, copier, "local", kind)
    destination.abort(log.under_way.at(PATH))
    written = destination.bytes_written
    assert copy(copier, source, destination, log).proof.md5 == md5_of(LARGE)
    assert destination.bytes_written - written == len(LARGE)
    assert len(log.tokens) == 2
    assert raw.read(PATH) == LARGE


def test_a_part_that_was_spoilt_between_two_tries_is_sent_again(make_store, copier):
    source, _, destination, raw, log = interrupted_pair(make_store, copier, "local", "local")
    with open(log.under_way.record.token, "r+b") as file:
        file.seek(100)
        file.write(b"spoilt")
    before, held = destination.bytes_written, log.bytes_sent
    assert copy(copier, source, destination, log).proof.md5 == md5_of(LARGE)
    assert destination.bytes_written - before > len(LARGE) - held
    assert raw.read(PATH) == LARGE


@pytest.mark.parametrize("destination_kind", KINDS)
@pytest.mark.parametrize("data", [b"", b"small", LARGE], ids=["empty", "whole", "parts"])
def test_what_is_there_already_is_proven_and_not_sent(make_store, copier, destination_kind, data):
    source, raw_source = make_store("local")
    raw_source.write(PATH, data, mtime_ns=MTIME_NS)
    inner, raw = make_store(destination_kind)
    destination = FaultyStore(inner)
    item = item_of(source, destination)
    log = Notes()
    log.item = item
    assert copier.adopt(item, log, stop=Stop()) is None  # nothing is there
    copy(copier, source, destination)
    written = destination.bytes_written
    log.forget_digests()
    adopted = copier.adopt(item, log, stop=Stop())
    assert adopted is not None
    assert adopted.was_there
    assert adopted.md5 == adopted.proof.md5 == md5_of(data)
    assert adopted.part_size == (5 * MEBIBYTE if data is LARGE else None)
    raw.write(PATH, data[::-1] or b"other")
    assert copier.adopt(item, log, stop=Stop()) is None
    assert destination.bytes_written == written


@pytest.mark.parametrize("method", ["read", "begin", "put_part", "complete"])
def test_failed_tries_give_back_all_the_memory_they_held(copier, method):
    # The budget holds two parts: if a failure kept some of it, all later parts would be blocked.
    fault = Fault(method=method, error=StoreError("reset"), times=20)
    of_source = method == "read"
    source, destination, raw = memory_pair(
        faults=() if of_source else [fault], source_faults=[fault] if of_source else ()
    )

    failures = []
    log = Notes()

    def until_it_works():
        while fault in (*source.faults_left, *destination.faults_left):
            with pytest.raises(JobtoolError):
                copy(copier, source, destination, log)
            failures.append(fault)
        copy(copier, source, destination, log)

    # A daemon, so that a copy that waits for ever fails this test and doesn't hang the run.
    working = threading.Thread(target=until_it_works, daemon=True)
    working.start()
    working.join(DEADLINE_SECONDS)
    assert not working.is_alive()
    assert len(failures) > 1
    assert raw.read(PATH) == LARGE


def test_a_copy_that_is_stopped_before_its_first_part_begins_nothing(copier):
    source, destination, raw = memory_pair()
    stop = Stop()
    stop.set()
    with pytest.raises(StoppedError):
        copy(copier, source, destination, stop=stop)
    assert raw.paths() == set()
    assert destination.inner.memory.uploads == {}


class LosesStore(MemoryStore):
    """A source so slow that the claim is lost while it is read."""

    stop: Stop

    def read(self, entry, offset, length) -> Content:
        self.stop.lose("the claim was lost")
        return super().read(entry, offset, length)


@pytest.mark.parametrize("data", [b"small", LARGE], ids=["whole", "parts"])
def test_nothing_is_written_once_the_claim_is_lost(copier, data):
    _, destination, raw = memory_pair()
    memory, stop = Memory(), Stop()
    MemoryRaw(memory, "").write(PATH, data)
    source = LosesStore(memory, "memory://c")
    source.stop = stop
    with pytest.raises(ClaimLostError):
        copy(copier, source, destination, stop=stop)
    assert destination.bytes_written == 0
    assert destination.calls["begin"] == 0
    assert raw.paths() == set()


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_in_parts_stops_between_parts_and_the_next_sends_the_rest(make_store, copier, kind):
    source, _, _ = memory_pair(LARGE + LARGE)
    inner, raw = make_store(kind)
    destination = FaultyStore(inner)
    stop, log = Stop(), Notes()
    with pytest.raises(StoppedError):
        copy(copier, source, destination, log, stop=stop, on_bytes=lambda count: stop.set())
    assert 0 < log.bytes_sent < 2 * len(LARGE)
    assert PATH not in raw.paths()
    copy(copier, source, destination, log)
    assert destination.bytes_written == 2 * len(LARGE)
    assert raw.read(PATH) == LARGE + LARGE


class CountsPartsInFlight(MemoryStore):
    """Holds on to each part until two are on their way, or no other comes."""

    def __init__(self, memory, url):
        super().__init__(memory, url)
        self.two = threading.Barrier(2)
        self.most = self._now = 0
        self._counting = threading.Lock()

    def put_part(self, upload, number, offset, data, md5):
        with self._counting:
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            with contextlib.suppress(threading.BrokenBarrierError):
                self.two.wait(2)
            return super().put_part(upload, number, offset, data, md5)
        finally:
            with self._counting:
                self._now -= 1


@pytest.mark.parametrize("mebibytes", [4, 5], ids=["even", "odd"])
def test_parts_that_fill_the_buffer_alone_go_two_at_a_time(mebibytes):
    # 10,000 parts of 100 bytes don't suffice: the file goes in parts of 1 MiB, as one of 2 TB in
    # larger ones than the buffer. The buffer is for one of them.
    data = LARGE[: mebibytes * MEBIBYTE]
    source, _, _ = memory_pair(data)
    destination = CountsPartsInFlight(Memory(), "memory://b")
    copier = Copier(threads=3, part_bytes=100, buffer_bytes=MEBIBYTE)
    try:
        copied = copy(copier, source, destination)
    finally:
        copier.close()
    assert copied.part_size == MEBIBYTE
    assert destination.most == 2


def test_the_budget_lets_two_that_are_too_large_pass_when_nobody_else_holds_any():
    budget = ByteBudget(10)
    with budget.holding(100), budget.holding(100):
        pass
    budget.acquire(6)
    budget.acquire(4)
    order = []

    def take_more():
        budget.acquire(1)
        order.append("taken")

    waiting = threading.Thread(target=take_more, daemon=True)
    waiting.start()
    order.append("given")
    budget.release(4)
    waiting.join(DEADLINE_SECONDS)
    assert order == ["given", "taken"]


@pytest.mark.parametrize("size", [0, 1, 5, 10, 11, 10**6, 5 * 10**12])
def test_parts_cover_a_file_exactly_and_are_never_more_than_ten_thousand(size):
    part_size = part_size_for(size, 5 * MEBIBYTE)
    parts = list(ranges(size, part_size))
    assert [number for number, _, _ in parts] == list(range(1, len(parts) + 1))
    assert len(parts) <= 10_000
    ends = [offset + length for _, offset, length in parts]
    assert [offset for _, offset, _ in parts] == [0, *ends[:-1]]
    assert ends[-1] == size
