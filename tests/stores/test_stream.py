"""A stream in parts, for stores that take parts."""

from __future__ import annotations

import pytest

from jobtool.errors import DigestMismatchError, FileError, SourceChangedError, StoreError
from jobtool.md5 import md5_of
from jobtool.stores.memory import Memory, MemoryStore
from jobtool.stores.store import Attributes
from jobtool.stores.stream import write_stream
from jobtool.testing.faults import Fault
from jobtool.testing.faulty_store import FaultyStore

DATA = b"0123456789" * 10
WHOLE = Attributes(mtime_ns=0)


@pytest.fixture
def memory():
    return Memory()


@pytest.fixture
def store(memory):
    return MemoryStore(memory, "memory://place")


def send(store, attributes=WHOLE, *, chunks=None, most_parts=100):
    pieces = iter([DATA[:25], DATA[25:]]) if chunks is None else chunks
    return write_stream(store, "file", pieces, attributes, most_parts=most_parts, part_bytes=30)


def test_it_arrives_whole_in_parts(store, memory):
    assert send(store).md5 == md5_of(DATA)
    assert store.digest("file") == md5_of(DATA)
    assert memory.uploads == {}


@pytest.mark.parametrize("chunks", [[b"x" * 60], [b"x"] * 60, [b"x" * 7, b"", b"x" * 53]])
def test_chunks_of_any_size_become_parts(store, chunks):
    assert send(store, chunks=iter(chunks)).md5 == md5_of(b"x" * 60)
    assert store.digest("file") == md5_of(b"x" * 60)


def test_other_bytes_than_announced_are_refused_before_they_are_published(store, memory):
    with pytest.raises(DigestMismatchError, match=md5_of(DATA)):
        send(store, Attributes(mtime_ns=0, md5=md5_of(b"other")))
    assert (memory.uploads, store.stat("file")) == ({}, "missing")


def test_too_many_parts_leave_nothing(store, memory):
    with pytest.raises(FileError, match="at most 3 parts"):
        send(store, most_parts=3)
    assert (memory.uploads, store.stat("file")) == ({}, "missing")


def test_a_drop_that_fails_does_not_hide_why_the_stream_broke_off(store):
    def broken():
        yield DATA
        raise SourceChangedError("it was changed")

    faulty = FaultyStore(store, [Fault(method="abort", error=StoreError("no answer"))])
    with pytest.raises(SourceChangedError, match="it was changed"):
        send(faulty, chunks=broken())
    assert faulty.calls["abort"] == 1


def test_parts_grow_after_a_tenth_of_all(store, monkeypatch):
    monkeypatch.setattr("jobtool.stores.stream._LATER_PART_BYTES", 50)
    sizes = []
    put = store.put_part

    def put_part(upload, number, offset, data, md5):
        sizes.append(len(data))
        return put(upload, number, offset, data, md5)

    store.put_part = put_part
    assert send(store, chunks=iter([DATA * 2]), most_parts=20).md5 == md5_of(DATA * 2)
    assert sizes == [30, 30, 50, 50, 40]
