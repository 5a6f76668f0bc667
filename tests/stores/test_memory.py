"""The store in memory passes the suite."""

from __future__ import annotations

import pytest

from jobtool.stores.memory import Memory, MemoryStore
from jobtool.stores.store import kind_of
from jobtool.testing.store_suite import MultipartSuite, ProverSuite, StoreSuite
from tests.stores.raw import MemoryRaw


class TestMemoryStore(StoreSuite, MultipartSuite, ProverSuite):
    @pytest.fixture
    def store(self):
        return MemoryStore(Memory(), "memory://name/some/prefix", "some/prefix")

    @pytest.fixture
    def raw(self, store):
        return MemoryRaw(store.memory, "some/prefix/")


def test_stores_of_one_memory_see_the_same_files():
    memory = Memory()
    MemoryRaw(memory, "").write("a/b", b"data")
    assert [entry.path for entry in MemoryStore(memory, "memory://x/a", "a").list()] == ["b"]
    assert kind_of(MemoryStore(memory, "memory://x"), "a") == "folder"


def test_a_completed_or_aborted_upload_leaves_nothing_in_memory():
    suite = TestMemoryStore()
    memory = Memory()
    store = MemoryStore(memory, "memory://x")
    suite.test_parts_in_any_order_make_the_file(store, MemoryRaw(memory, ""))
    suite.test_abort_leaves_nothing(
        MemoryStore(other := Memory(), "memory://x"), MemoryRaw(other, "")
    )
    assert memory.uploads == {}
    assert other.uploads == {}
