"""A file of a store as a binary file that can seek, read by ranges."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, TypeVar

from jobtool.errors import StoreError
from jobtool.names import quote
from jobtool.stores.store import READ_BYTES, Entry, Store
from jobtool.transfer.retry import Retry

T = TypeVar("T")


def read_range(store: Store, entry: Entry, offset: int, length: int, retry: Retry) -> memoryview:
    """Return a range of a file, read again if that fails for a moment.

    Raises the errors of ``Store.read``, such as ``SourceChangedError`` for a file that is another
    one now.
    """

    def read() -> memoryview:
        data = memoryview(store.read(entry, offset, length).data)
        if len(data) != length:
            raise StoreError(
                f"{quote(store.url_of(entry.path))}: expected {length} bytes from {offset} on; "
                f"read {len(data)}"
            )
        return data

    return retry.call(read)


class StoreFile(io.RawIOBase):
    """A file of a store. Its errors are those of ``read_range``."""

    def __init__(self, store: Store, entry: Entry, retry: Retry) -> None:
        self._store, self._entry, self._retry = store, entry, retry
        self._at = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to an offset in bytes."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._entry.size}[whence]
        if base + offset < 0:
            raise ValueError(f"expected an offset from 0 on; found {base + offset}")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        """Return the offset in bytes."""
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        """Fill a buffer with what follows; return the number of bytes, 0 at the end."""
        view = memoryview(buffer).cast("B")
        length = max(0, min(len(view), self._entry.size - self._at, READ_BYTES))
        if length:
            view[:length] = read_range(self._store, self._entry, self._at, length, self._retry)
        self._at += length
        return length


def buffered(
    store: Store, entry: Entry, retry: Retry, *, buffer_bytes: int = 64 * 1024
) -> io.BufferedReader:
    """Return a file of a store that is read ``buffer_bytes`` at a time or more."""
    return buffered_file(StoreFile(store, entry, retry), buffer_bytes)


def buffered_file(file: StoreFile, buffer_bytes: int) -> io.BufferedReader:
    """Return a file that is read ``buffer_bytes`` at a time or more."""
    return io.BufferedReader(file, buffer_bytes)


def reader_at(file: io.BufferedReader) -> Callable[[int, int], bytes]:
    """Return a function that reads at an offset. Only one thread may call it."""

    def read(offset: int, length: int) -> bytes:
        file.seek(offset)
        return file.read(length)

    return read
