"""Composing ranges of a package's tar from headers and from the bytes of members."""

from __future__ import annotations

import sys
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
from jobtool.stores.store import READ_BYTES, Entry, Store

#: A member up to this size is read whole. What belongs to the next range is kept for it.
SMALL_BYTES = 1024 * 1024

#: How many members are kept for next ranges: one at each end, of some ranges read at a time.
_MOST_KEPT = 8

#: A thread reads as many members of a cheap store at a time. This saves handing them over.
_BATCH = 8

#: So often one thread looks whether it mostly waits: a filesystem of a server may take a
#: millisecond for each member.
_LOOK_SECONDS = 0.02
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
        # Where what comes before a range is read, too, it is read once.
        self._piece_bytes = READ_BYTES if source.capabilities.reads_ranges else sys.maxsize
        self._is_cheap = source.capabilities.cheap_reads
        self._batch = _BATCH if self._is_cheap else 1
        self._most_waiting = 2 * readers
        self._pool = ThreadPoolExecutor(readers, "package", initializer=on_thread)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(cancel_futures=True)

    def compose(self, offset: int, length: int) -> memoryview:
        """Return a range of the tar. Raises ``SourceChangedError`` and the errors of reading."""
        only = self._layout.only_span(offset, length)
        if only is not None and length <= self._piece_bytes and self._is_large(only):
            data = self._read(only.number, only.start, only.end)
            self._digests.add(only.number, only.start, data)
            return data
        buffer = memoryview(bytearray(length))
        large: list[Span] = []
        pieces = self._pieces(self._layout.fill_headers(buffer, offset), large)
        self._each(pieces, lambda span: self._fill(buffer, span))
        for span in large:
            data = buffer[span.at : span.at + span.end - span.start]
            self._digests.add(span.number, span.start, data)
        return buffer.toreadonly()

    def finish(self, require_going: Callable[[], None]) -> None:
        """Read the members whose MD5s aren't known, each from where it is known."""
        self._each(self._digests.missing(), lambda number: self._hash(number, require_going))

    def _is_large(self, span: Span) -> bool:
        return self._members.size_of(span.number) > SMALL_BYTES

    def _pieces(self, spans: Iterator[Span], large: list[Span]) -> Iterator[Span]:
        """Yield spans, those of large members in pieces; add the latter to ``large``."""
        for span in spans:
            if not self._is_large(span):
                yield span
                continue
            large.append(span)
            number, start, end, at = span
            for first in range(start, end, self._piece_bytes):
                last = min(first + self._piece_bytes, end)
                yield Span(number, first, last, at + first - start)

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
        began, worked = time.monotonic(), time.thread_time()
        for value in values:
            act(value)
            seconds = time.monotonic() - began
            if seconds < _LOOK_SECONDS:
                continue
            if seconds > _MOST_WAITING * (time.thread_time() - worked):
                return False
            began, worked = time.monotonic(), time.thread_time()
        return True

    def _fill(self, buffer: memoryview, span: Span) -> None:
        number, start, end, at = span
        if self._is_large(span):
            data = self._read(number, start, end)
        else:
            data = self._whole(number, is_wanted_again=end < self._members.size_of(number))
            data = data[start:end]
        buffer[at : at + len(data)] = data

    def _whole(self, number: int, *, is_wanted_again: bool) -> memoryview:
        """Return the bytes of a small member, read and hashed once for all ranges it lies in."""
        with self._lock:
            data = self._kept.pop(number, None)
        if data is None:
            data = self._read(number, 0, self._members.size_of(number))
            self._digests.add(number, 0, data)
        if is_wanted_again:
            with self._lock:
                while len(self._kept) >= _MOST_KEPT:
                    del self._kept[next(iter(self._kept))]
                self._kept[number] = data
        return data

    def _hash(self, number: int, require_going: Callable[[], None]) -> None:
        size = self._members.size_of(number)
        start = self._digests.furthest(number)
        while True:
            require_going()
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
                "with the member as it was: plan it again."
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
