"""Queues of the parts of large files that are still to be sent."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Iterable, Iterator

import msgspec

from jobtool.errors import StoppedError
from jobtool.jobs.records import UploadRecord
from jobtool.names import quote
from jobtool.stop import Stop
from jobtool.stores.optional import Multipart, supports
from jobtool.stores.store import Part
from jobtool.transfer.partranges import PartRange
from jobtool.transfer.plan import Item

_LOOK_SECONDS = 0.1


class _Out(msgspec.Struct):
    """Parts that another consumer has taken."""

    ranges: list[PartRange]
    is_back: bool = False


class PartQueue:
    """The parts of one file. Its own thread takes them from the front, a consumer from the back.

    ``held`` are the parts that an earlier try or attempt or another consumer has sent, by number.
    With ``is_in_order`` the file's own thread must see every part in the order of the file, since
    it hashes the whole file while sending. Then parts that were put back wait for their turn.
    """

    def __init__(self, item: Item, held: dict[int, Part], *, is_in_order: bool, stop: Stop) -> None:
        self.item = item
        self.held = held
        self.upload: UploadRecord | None = None  # others can't send parts before it is set
        self.sent_by_others: set[int] = set()
        self._todo: deque[PartRange] = deque()
        self._back: deque[PartRange] = deque()  # put back; not shared again
        self._out: list[_Out] = []  # taken by consumers, from the end of the file on
        self._is_in_order = is_in_order
        self._stop = stop
        self._is_waiting = self._is_over = self._is_closed = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        """How many parts were not taken yet."""
        return len(self._todo)

    def add(self, ranges: Iterable[PartRange]) -> None:
        """Add parts to be sent, in the order of the file."""
        self._todo.extend(ranges)

    def pop_first(self) -> PartRange | None:
        """Remove and return the first part. Wait for those that others have. None: no part is left.

        The part may be ``held``. Raises ``StoppedError`` if a stop is requested while it waits.
        """
        with self._changed:
            while True:
                if self._back:
                    return self._back.popleft()
                if self._todo:
                    return self._todo.popleft()
                if not self._out:
                    return None
                if self._out[-1].is_back:
                    self._back.extend(self._out.pop().ranges)
                    continue
                if self._stop.is_set() or self._is_closed:
                    raise StoppedError(f"stopped in the middle of {quote(self.item.source_url)}")
                self._is_waiting = True
                self._changed.wait(_LOOK_SECONDS)
                self._is_waiting = False

    def pop_last(self, most: int) -> list[PartRange]:
        """Remove and return up to ``most`` consecutive parts: the last ones that aren't held."""
        with self._changed:
            if self.upload is None or self._is_over:
                return []
            ranges = last_in_a_row(self._todo, most, self.held)
            if ranges:
                self._out.append(_Out(ranges))
            return ranges

    def is_wanted(self, ranges: list[PartRange]) -> bool:
        """Return True if the file's own thread waits for these parts, or for all parts."""
        with self._changed:
            return self._is_over or (self._is_waiting and self._out[-1].ranges is ranges)

    def put_back(self, ranges: list[PartRange], sent: Iterable[Part]) -> None:
        """Give back the parts from ``pop_last``. ``sent`` are those that were sent."""
        with self._changed:
            for part in sent:
                self.held[part.number] = part
                self.sent_by_others.add(part.number)
            (out,) = (out for out in self._out if out.ranges is ranges)
            out.is_back = True
            if not self._is_in_order:
                self._out.remove(out)
                self._back.extend(ranges)
            self._changed.notify_all()

    def settle(self) -> None:
        """Stop sharing, and wait for the parts that others have: they must not write later.

        Returns early if a stop is requested.
        """
        with self._changed:
            self._is_over = True
            while not (self._is_closed or self._stop.is_set()):
                if all(out.is_back for out in self._out):
                    return
                self._changed.wait(_LOOK_SECONDS)

    def close(self) -> None:
        """Stop waiting for other consumers: they put nothing back any more."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()


class PartQueues:
    """The part queues of the files under way. Threads may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: list[PartQueue] = []
        self._expected = 0
        self._is_closed = False

    @contextlib.contextmanager
    def expected(self, item: Item) -> Iterator[None]:
        """Expect this file to open a queue during the block."""
        count = int(may_be_shared(item))
        with self._lock:
            self._expected += count
        try:
            yield
        finally:
            with self._lock:
                self._expected -= count

    @contextlib.contextmanager
    def opened(self, queue: PartQueue) -> Iterator[None]:
        """Let others take from a queue for the length of the block. Wait for them at its end."""
        if not may_be_shared(queue.item):
            yield
            return
        with self._lock:
            self._open.append(queue)
            if self._is_closed:
                queue.close()
        try:
            yield
        finally:
            queue.settle()
            with self._lock:
                self._open.remove(queue)

    def open_queues(self) -> list[PartQueue]:
        """Return the queues that others may take from now."""
        with self._lock:
            return [*self._open]

    @property
    def are_expected(self) -> bool:
        """Whether there may be a queue to take from, now or soon."""
        return self._expected > 0

    def close(self) -> None:
        """Stop waiting for other consumers, in all queues: they put nothing back any more."""
        with self._lock:
            self._is_closed = True
            for queue in self._open:
                queue.close()


def may_be_shared(item: Item) -> bool:
    """Return True if other workers may send parts of a file.

    They may only if reading is cheap: the file's own thread reads those parts too, to hash the
    whole file.
    """
    is_cheap = item.route.source.capabilities.cheap_reads
    return is_cheap and supports(item.route.destination, Multipart)


def last_in_a_row(todo: deque[PartRange], most: int, held: dict[int, Part]) -> list[PartRange]:
    """Remove and return up to ``most`` consecutive parts: the last ones that aren't held."""
    passed_over: list[PartRange] = []
    while todo and todo[-1].number in held:
        passed_over.append(todo.pop())
    ranges: list[PartRange] = []
    while todo and len(ranges) < most and todo[-1].number not in held:
        if ranges and todo[-1].number != ranges[-1].number - 1:
            break
        ranges.append(todo.pop())
    todo.extend(reversed(passed_over))
    return ranges[::-1]
