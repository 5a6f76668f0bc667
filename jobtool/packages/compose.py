"""Composing ranges of a package's tar from headers and from the bytes of members."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

from jobtool.errors import SourceChangedError, StoreError
from jobtool.names import quote
from jobtool.packages.memberdigests import MemberDigests
from jobtool.packages.tarlayout import Span, TarLayout
from jobtool.stores.store import READ_BYTES, Entry, Store

#: A member up to this size is read whole. What belongs to the next range is kept for it.
SMALL_BYTES = 1024 * 1024

#: How many members are kept for next ranges: one at each end, of some ranges read at a time.
_MOST_KEPT = 8

T = TypeVar("T")


class Composer:
    """Composes ranges. Threads may call it.

    The members are read from ``source``, by up to ``readers`` threads at a time if it isn't cheap
    to read. ``digests`` gets what is read. ``package`` is the tar's name for messages. Each thread
    calls ``on_thread`` first.
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
        self._most_waiting = 4 * readers
        self._pool: ThreadPoolExecutor | None = None
        if readers > 1 and not source.capabilities.cheap_reads:
            self._pool = ThreadPoolExecutor(readers, "package", initializer=on_thread)

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
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
        """Call ``act`` for each value, in several threads if there are any. Raise its errors."""
        if self._pool is None:
            for value in values:
                act(value)
            return
        waiting: deque[Future[None]] = deque()
        try:
            for value in values:
                if len(waiting) >= self._most_waiting:
                    waiting.popleft().result()
                waiting.append(self._pool.submit(act, value))
            while waiting:
                waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
            wait(waiting)

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
            end = min(start + READ_BYTES, size)
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
