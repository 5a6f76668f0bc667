"""Composing ranges of a package's tar from headers and from the bytes of members."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

from jobtool.errors import SourceChangedError, StoreError
from jobtool.names import quote
from jobtool.packages.memberdigests import MemberDigests
from jobtool.packages.tarlayout import Span, TarLayout
from jobtool.stores.store import Entry, Store

#: A member up to this size is read whole. What belongs to the next range is kept for it.
SMALL_BYTES = 1024 * 1024

#: How many members are kept for next ranges: one at each end, of some ranges read at a time.
_MOST_KEPT = 8

#: A thread reads as many members of a cheap store at a time. This saves handing them over.
_BATCH = 8

#: One thread reads as many members before it looks whether it mostly waited: a filesystem of a
#: server may take a millisecond for each.
_ALONE = 32
_MOST_WAITING = 4  # times the time on a CPU

#: How many bytes of a member are read at a time only to be hashed, by each thread.
_HASH_BYTES = 4 * 1024 * 1024

T = TypeVar("T")


class Composer:
    """Composes ranges. Threads may call it.

    The members are read from ``source``, by up to ``readers`` threads at a time if it isn't cheap
    to read, or turns out to be slow. Each thread calls ``on_thread`` first. ``digests`` gets what
    is read. ``package`` is the tar's name for messages.
    """

    def __init__(
        self,
        layout: TarLayout,
        source: Store,
        digests: MemberDigests,
        *,
        package: str,
        readers: int,
        on_thread: Callable[[], None] | None = None,
    ) -> None:
        self._layout = layout
        self._members = layout.members
        self._source = source
        self._digests = digests
        self._package = package
        self._lock = threading.Lock()
        self._kept: dict[int, memoryview] = {}
        self._is_cheap = source.capabilities.cheap_reads
        self._batch = _BATCH if self._is_cheap else 1
        self._most_waiting = 2 * readers
        self._pool = ThreadPoolExecutor(readers, "package", initializer=on_thread)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(cancel_futures=True)

    def compose(self, offset: int, length: int) -> memoryview:
        """Return a range of the tar. Raises ``SourceChangedError`` and the errors of reading."""
        span = self._layout.only_span(offset, length)
        if span is not None:
            return self._data_of(span)
        buffer = memoryview(bytearray(length))
        spans = self._layout.fill_headers(buffer, offset)
        self._each(spans, lambda span: self._fill(buffer, span))
        return buffer.toreadonly()

    def finish(self) -> None:
        """Read the members whose MD5s aren't known, each from where it is known."""
        self._each(self._digests.missing(), self._hash)

    def _each(self, values: Iterator[T], act: Callable[[T], None]) -> None:
        """Call ``act`` for each value, in several threads if it waits for the store.

        Raises its errors.
        """
        if self._is_cheap and self._alone(values, act):
            return
        waiting: deque[Future[None]] = deque()
        try:
            while batch := [*islice(values, self._batch)]:
                if len(waiting) >= self._most_waiting:
                    waiting.popleft().result()
                waiting.append(self._pool.submit(_call_each, act, batch))
            while waiting:
                waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
            wait(waiting)

    def _alone(self, values: Iterator[T], act: Callable[[T], None]) -> bool:
        """Call ``act`` in this thread. Return False as soon as that waits, else True at the end."""
        while batch := [*islice(values, _ALONE)]:
            began, worked = time.monotonic(), time.thread_time()
            _call_each(act, batch)
            if time.monotonic() - began > _MOST_WAITING * (time.thread_time() - worked):
                return False
        return True

    def _fill(self, buffer: memoryview, span: Span) -> None:
        data = self._data_of(span)
        buffer[span.at : span.at + len(data)] = data

    def _data_of(self, span: Span) -> memoryview:
        """Return the bytes of a span, and hash them if they weren't read before.

        A small member is read whole, once for the two ranges that it straddles.
        """
        number, start, end, _ = span
        size = self._members.size_of(number)
        if size > SMALL_BYTES:
            data = self._read(number, start, end)
            self._digests.add(number, start, data)
            return data
        with self._lock:
            whole = self._kept.pop(number, None)
        if whole is None:
            whole = self._read(number, 0, size)
            self._digests.add(number, 0, whole)
        if end < size:
            with self._lock:
                while len(self._kept) >= _MOST_KEPT:
                    del self._kept[next(iter(self._kept))]
                self._kept[number] = whole
        return whole[start:end]

    def _hash(self, number: int) -> None:
        size = self._members.size_of(number)
        start = self._digests.furthest(number)
        while True:
            end = min(start + _HASH_BYTES, size)
            self._digests.add(number, start, self._read(number, start, end))
            if end == size:
                return
            start = end

    def _read(self, number: int, start: int, end: int) -> memoryview:
        """Read bytes of a member. Raises ``SourceChangedError`` that names it and the package."""
        member = self._members[number]
        entry = Entry(member.source_path, member.size, member.mtime_ns)
        try:
            data = memoryview(self._source.read(entry, start, end - start).data)
        except SourceChangedError as error:
            raise SourceChangedError(
                f"{self._package}, member {quote(member.path)}: {error}. The package was planned "
                "with the member as it was: plan it again"
            ) from None
        if len(data) != end - start:
            raise StoreError(
                f"{self._package}, member {quote(member.path)}: expected {end - start} bytes of "
                f"{quote(self._source.url_of(entry.path))}; read {len(data)}"
            )
        return data


def _call_each(act: Callable[[T], None], values: Iterable[T]) -> None:
    for value in values:
        act(value)
