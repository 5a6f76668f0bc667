"""The store that fails as configured: invisible without faults, exact with them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from jobtool.errors import DigestMismatchError, StoreError
from jobtool.md5 import md5_of
from jobtool.stores.memory import Memory, MemoryStore
from jobtool.stores.store import Attributes, entry_of
from jobtool.testing.faults import Corruption, Fault
from jobtool.testing.faulty_store import FaultyStore
from jobtool.testing.store_suite import MultipartSuite, ProverSuite, StoreSuite
from tests.stores.raw import MemoryRaw

RESET = StoreError("reset")


class TestFaultyStoreWithoutFaults(StoreSuite, MultipartSuite, ProverSuite):
    @pytest.fixture
    def store(self):
        return FaultyStore(MemoryStore(Memory(), "memory://name"))

    @pytest.fixture
    def raw(self, store):
        return MemoryRaw(store.inner.memory, "")


def faulty(*faults):
    return FaultyStore(MemoryStore(Memory(), "memory://name"), faults)


def put(store, path="file", data=b"data"):
    return store.write(path, [data], Attributes(mtime_ns=0, md5=md5_of(data)))


def outcomes(store, paths):
    for path in paths:
        try:
            put(store, path)
        except StoreError:
            yield False
        else:
            yield True


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault(method="write", error=RESET), [False, True, True, True]),
        (Fault(method="write", error=RESET, times=2), [False, False, True, True]),
        (Fault(method="write", error=RESET, times=None), [False] * 4),
        (Fault(method="write", error=RESET, skip=2), [True, True, False, True]),
        (Fault(method="write", error=RESET, path="c", times=None), [True, True, False, True]),
        (Fault(method="read", error=RESET, times=None), [True] * 4),
    ],
)
def test_a_fault_strikes_as_often_and_where_it_is_told(fault, expected):
    assert list(outcomes(faulty(fault), "abcd")) == expected


def test_a_late_fault_loses_the_answer_and_not_the_work():
    store = faulty(Fault(method="write", error=RESET, late=True))
    with pytest.raises(StoreError, match="reset"):
        put(store)
    assert bytes(store.read(entry_of(store, "file"), 0, 4).data) == b"data"


def test_a_corruption_flips_one_bit_and_keeps_the_announced_md5():
    store = faulty(Corruption(method="write"))
    with pytest.raises(DigestMismatchError):
        put(store)
    assert put(store).md5 == md5_of(b"data")


def test_a_read_may_be_corrupted_too():
    store = faulty(Corruption(method="read", skip=1))
    put(store)
    entry = entry_of(store, "file")
    reads = [bytes(store.read(entry, 0, 4).data) for _ in range(3)]
    assert reads[0] == reads[2] == b"data"
    assert reads[1] != b"data"
    assert len(reads[1]) == 4


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("method", ["list", "children", "stat", "digest", "delete", "sync"])
def test_every_method_can_fail(method, late):
    store = faulty(Fault(method=method, error=RESET, late=late))
    put(store, "folder/file")
    arguments = {"list": (), "sync": (), "children": ("folder",)}.get(method, ("folder/file",))
    with pytest.raises(StoreError, match="reset"):
        list(getattr(store, method)(*arguments) or ())
    assert store.faults_left == []
    assert store.calls[method] == 1


def test_calls_and_bytes_are_counted():
    store = faulty(Fault(method="write", error=RESET))
    assert list(outcomes(store, "aaa")) == [False, True, True]
    upload = store.begin("b", Attributes(mtime_ns=0))
    store.put_part(upload, 1, 0, b"123", md5_of(b"123"))
    store.abort(upload)
    assert store.calls == {"write": 3, "begin": 1, "put_part": 1, "abort": 1}
    assert store.bytes_written == 2 * len(b"data") + 3


def test_threads_meet_each_fault_once():
    store = faulty(Fault(method="write", error=RESET, times=10))
    ready = threading.Barrier(8)

    def work(number):
        ready.wait()
        return list(outcomes(store, [f"{number}-{count}" for count in range(20)]))

    with ThreadPoolExecutor(8) as pool:
        results = [result for results in pool.map(work, range(8)) for result in results]
    assert results.count(False) == 10
    assert store.calls["write"] == 160
    assert store.bytes_written == 150 * len(b"data")
