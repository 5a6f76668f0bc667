"""Streams in parts, for stores of objects."""

from __future__ import annotations

import pytest

from jobtool.errors import DigestMismatchError, FileError
from jobtool.md5 import md5_of
from jobtool.stores.memory import Memory, MemoryStore
from jobtool.stores.store import Attributes
from jobtool.stores.stream import write_stream


@pytest.fixture
def store():
    return MemoryStore(Memory(), "memory://m")


def send(store, chunks, md5=None):
    attributes = Attributes(mtime_ns=0, md5=md5)
    return write_stream(store, "file", iter(chunks), attributes, most_parts=3, part_bytes=10)


@pytest.mark.parametrize("chunks", [[b"x" * 30], [b"x"] * 30, [b"x" * 7, b"", b"x" * 23]])
def test_chunks_of_any_size_become_parts(store, chunks):
    assert send(store, chunks).md5 == md5_of(b"x" * 30)
    assert store.digest("file") == md5_of(b"x" * 30)


def test_a_stream_of_too_many_parts_leaves_nothing(store):
    with pytest.raises(FileError, match=r"at most 3 parts \(30 bytes so far\)"):
        send(store, [b"x"] * 31)
    assert store.memory.files == {}
    assert store.leftovers("file", 0) == []


def test_another_md5_than_announced_leaves_nothing(store):
    with pytest.raises(DigestMismatchError, match="file"):
        send(store, [b"x" * 30], md5_of(b"y"))
    assert store.memory.files == {}
    assert store.leftovers("file", 0) == []
