"""One file, proven: between all kinds of stores, whole and in parts, with and without faults."""

from __future__ import annotations

import hashlib
import random
import threading

import pytest

from jobtool.errors import DigestMismatchError, JobtoolError, SourceChangedError, StoreError
from jobtool.stores.memory import Memory, MemoryStore
from jobtool.stores.store import Attributes, Content
from jobtool.testing.faulty_store import Corruption, Fault, FaultyStore
from jobtool.transfer.checksum import MEBIBYTE, md5_of, part_size_for, ranges
from jobtool.transfer.copy import ByteBudget, Copier
from jobtool.transfer.plan import Item, Lane
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


def copy(copier, source, destination, path=PATH, *, stop=None):
    seen = []
    item = Item(Lane(source, destination), source.head(path), path)
    copied = copier.copy(item, stop=stop or threading.Event(), on_bytes=seen.append)
    assert sum(seen) == item.entry.size
    return copied


def memory_pair(data=LARGE, faults=(), source_faults=()):
    memories = Memory(), Memory()
    raws = [MemoryRaw(memory, "") for memory in memories]
    raws[0].write(PATH, data, mtime_ns=MTIME_NS)
    source = FaultyStore(MemoryStore(memories[0], "memory://a"), source_faults)
    return source, FaultyStore(MemoryStore(memories[1], "memory://b"), faults), raws[1]


@pytest.mark.parametrize("data", [b"", b"small", LARGE], ids=["empty", "whole", "parts"])
@pytest.mark.parametrize("destination_kind", KINDS)
@pytest.mark.parametrize("source_kind", KINDS)
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
    arrived = destination.head(PATH)
    attributes = destination.read(arrived, 0, arrived.size).attributes
    assert abs(attributes.mtime_ns - MTIME_NS) < 1000


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("data", "method"), [(b"small", "put"), (LARGE, "put_part")])
def test_corruption_on_the_way_is_caught_and_the_next_try_succeeds(
    make_store, copier, kind, data, method
):
    source, _, _ = memory_pair(data)
    inner, raw = make_store(kind)
    destination = FaultyStore(inner, [Corruption(method=method)])
    with pytest.raises(DigestMismatchError):
        copy(copier, source, destination)
    assert raw.paths() == set()
    assert copy(copier, source, destination).proof.md5 == md5_of(data)
    assert raw.read(PATH) == data


@pytest.mark.parametrize(("data", "method"), [(b"small", "put"), (LARGE, "put_part")])
def test_corruption_that_never_ends_fails_after_all_tries_and_publishes_nothing(
    make_store, copier, data, method
):
    source, _, _ = memory_pair(data)
    inner, raw = make_store("local")
    destination = FaultyStore(inner, [Corruption(method=method, times=None)])
    retried = []
    retry = Retry(tries=3, sleep=lambda seconds: None, on_retry=retried.append)
    with pytest.raises(DigestMismatchError):
        retry.call(lambda: copy(copier, source, destination))
    assert len(retried) == 2
    assert raw.paths() == set()


@pytest.mark.parametrize("data", [b"small", LARGE], ids=["whole", "parts"])
def test_a_source_that_reads_differently_from_its_recorded_md5_is_not_published(copier, data):
    source, destination, raw = memory_pair(data)
    source.inner.memory.files[PATH] = (data, Attributes(mtime_ns=0, md5=md5_of(b"other")))
    with pytest.raises(DigestMismatchError, match="metadata"):
        copy(copier, source, destination)
    assert raw.paths() == set()


class ChangingStore(MemoryStore):
    """Its file is changed by somebody after the first part of it was read."""

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
    assert destination.inner.memory.uploads == {}


@pytest.mark.parametrize("method", ["begin", "put_part", "complete"])
@pytest.mark.parametrize("late", [False, True])
def test_a_failed_try_drops_its_upload_and_the_next_one_succeeds(copier, method, late):
    fault = Fault(method=method, error=StoreError("reset"), late=late, skip=method == "put_part")
    source, destination, raw = memory_pair(faults=[fault])
    with pytest.raises(StoreError, match="reset"):
        copy(copier, source, destination)
    if method != "begin":  # whose token was lost with the answer
        assert destination.inner.memory.uploads == {}
    copy(copier, source, destination)
    assert raw.read(PATH) == LARGE


def test_a_failure_to_tidy_up_does_not_hide_what_failed(copier):
    faults = [
        Fault(method="put_part", error=StoreError("the first")),
        Fault(method="abort", error=StoreError("the second")),
    ]
    source, destination, _ = memory_pair(faults=faults)
    with pytest.raises(StoreError, match="the first"):
        copy(copier, source, destination)


@pytest.mark.parametrize("method", ["read", "begin", "put_part", "complete"])
def test_failed_tries_give_back_all_the_memory_they_held(copier, method):
    # The budget holds two parts: what a failure kept of it would block all that follow.
    fault = Fault(method=method, error=StoreError("reset"), times=20)
    of_source = method == "read"
    source, destination, raw = memory_pair(
        faults=() if of_source else [fault], source_faults=[fault] if of_source else ()
    )

    failures = []

    def until_it_works():
        while fault in (*source.faults_left, *destination.faults_left):
            with pytest.raises(JobtoolError):
                copy(copier, source, destination)
            failures.append(fault)
        copy(copier, source, destination)

    # A daemon, so that a copy that waits for ever fails this test and doesn't hang the run.
    working = threading.Thread(target=until_it_works, daemon=True)
    working.start()
    working.join(DEADLINE_SECONDS)
    assert not working.is_alive()
    assert len(failures) > 1
    assert raw.read(PATH) == LARGE


def test_a_copy_in_parts_stops_between_parts_and_leaves_nothing(copier):
    source, destination, raw = memory_pair()
    stop = threading.Event()
    stop.set()
    with pytest.raises(JobtoolError, match="stopped"):
        copy(copier, source, destination, stop=stop)
    assert raw.paths() == set()
    assert destination.inner.memory.uploads == {}


def test_the_budget_lets_one_that_is_too_large_pass_when_nobody_else_holds_any():
    budget = ByteBudget(10)
    with budget.holding(100):
        pass
    budget.take(6)
    budget.take(4)
    order = []

    def take_more():
        budget.take(1)
        order.append("taken")

    waiting = threading.Thread(target=take_more, daemon=True)
    waiting.start()
    order.append("given")
    budget.give(4)
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
