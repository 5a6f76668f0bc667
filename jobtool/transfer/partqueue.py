"""The parts of a large file that are still to be sent."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from jobtool.errors import StoppedError
from jobtool.jobs.records import UploadRecord
from jobtool.names import quote
from jobtool.stop import Stop
from jobtool.stores.optional import Multipart, supports
from jobtool.stores.store import Part
from jobtool.transfer.checksum import PartRange
from jobtool.transfer.plan import Item

_LOOK_SECONDS = 0.1


@dataclass(slots=True)
class _Out:
    """Parts that another consumer has taken."""

    ranges: list[PartRange]
    is_back: bool = False


class PartQueue:
    """The parts of one file: its own thread takes them from the front, another from the back.

    ``held`` are the parts that were sent already, by number: an earlier try or attempt has, or
    another consumer. With ``is_in_order`` the file's own thread has to see every part in the order
    of the file, since it hashes the whole on the way; what has come back waits for its turn then.
    """

    def __init__(self, item: Item, held: dict[int, Part], *, is_in_order: bool, stop: Stop) -> None:
        self.item = item
        self.held = held
        self.upload: UploadRecord | None = None  # nobody else can send anything before
        self.sent_by_others: set[int] = set()
        self._todo: deque[PartRange] = deque()
        self._back: deque[PartRange] = deque()  # has come back, and stays with us
        self._out: list[_Out] = []  # from the end of the file on
        self._is_in_order = is_in_order
        self._stop = stop
        self._is_waiting = self._is_over = self._is_closed = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        """How many parts nobody has taken yet."""
        return len(self._todo)

    def add(self, ranges: Iterable[PartRange]) -> None:
        """Add parts to be sent, in the order of the file."""
        self._todo.extend(ranges)

    def take(self) -> PartRange | None:
        """Return the next part, waiting for what others have; None if there is none.

        Some may be ``held``. Raises ``StoppedError`` if asked to stop while it waits.
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

    def take_last(self, most: int) -> list[PartRange]:
        """Take up to ``most`` parts that follow each other: the last that aren't held."""
        with self._changed:
            if self.upload is None or self._is_over:
                return []
            ranges = last_in_a_row(self._todo, most, self.held)
            if ranges:
                self._out.append(_Out(ranges))
            return ranges

    def is_wanted(self, ranges: list[PartRange]) -> bool:
        """Return True if the file's own thread has nothing to do but these, or waits for all."""
        with self._changed:
            return self._is_over or (self._is_waiting and self._out[-1].ranges is ranges)

    def put_back(self, ranges: list[PartRange], sent: Iterable[Part]) -> None:
        """Give back what ``take_last`` gave, with those of the parts that were sent."""
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
        """Wait for what is still out, unless asked to stop: nobody else may write after that."""
        with self._changed:
            self._is_over = True
            while not (self._is_closed or self._stop.is_set()):
                if all(out.is_back for out in self._out):
                    return
                self._changed.wait(_LOOK_SECONDS)

    def close(self) -> None:
        """Wait for no other consumer any more: there will be nobody to put anything back."""
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
        """Say that for the length of the block there may be a queue of this file to take from."""
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
        """Let others take from a queue for the length of the block; at its end wait for them."""
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
        """Whether there may be something to take from, now or soon."""
        return self._expected > 0

    def close(self) -> None:
        """Nobody takes from these queues any more, nor puts anything back."""
        with self._lock:
            self._is_closed = True
            for queue in self._open:
                queue.close()


def may_be_shared(item: Item) -> bool:
    """Return True if others may send parts of a file.

    Whoever reads from afar would have to read those parts as well, to hash the whole.
    """
    is_cheap = item.route.source.capabilities.cheap_reads
    return is_cheap and supports(item.route.destination, Multipart)


def last_in_a_row(todo: deque[PartRange], most: int, held: dict[int, Part]) -> list[PartRange]:
    """Remove and return up to ``most`` parts that follow each other: the last that aren't held."""
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
