"""Limits on the bytes and the requests of a worker in a second, shared by its threads."""

from __future__ import annotations

import heapq
import math
import threading
import time
from collections.abc import Callable
from itertools import count

from msgspec.structs import replace

from jobtool.stores.store import Content, Entry, Store

#: What may be taken at once after a pause is what the rate gives in this time: threads that wake up
#: late, on a busy node, catch up.
BURST_SECONDS = 0.5

#: A piece of a file that is read at once is no more than what the rate gives in this time.
PIECE_SECONDS = 0.25

#: The smallest piece of a file that is read at once, whatever the rate.
LEAST_PIECE_BYTES = 64 * 1024

#: A waiting thread wakes up at least this often: for a stop, for another rate, and to show that it
#: doesn't hang.
_SLICE_SECONDS = 0.1


class Bucket:
    """Gives ``rate`` units a second, and after a pause at most ``burst`` of them at once.

    So what was given in any time is at most its length × rate + burst. A rate of None is no limit.
    With a rate of 0 callers wait. Those with a lower turn are served first. ``monotonic`` is the
    clock in seconds. ``pause`` waits for a condition, whose lock is held, or for some seconds.
    """

    def __init__(
        self,
        least_burst: int,
        monotonic: Callable[[], float] = time.monotonic,
        pause: Callable[[threading.Condition, float], object] = threading.Condition.wait,
    ) -> None:
        self.rate: float | None = None
        self.has_waited = False
        self._least_burst = least_burst
        self._monotonic = monotonic
        self._pause = pause
        self._lock = threading.Lock()
        self._level = 0.0
        self._filled_at = monotonic()
        self._waiting: list[tuple[int, int, threading.Condition]] = []  # a heap, by turn
        self._numbers = count()

    @property
    def burst(self) -> int | None:
        """How many units may be taken at once; None without a limit."""
        rate = self.rate
        return None if rate is None else max(int(rate * BURST_SECONDS), self._least_burst)

    @property
    def piece(self) -> int | None:
        """How many units are best taken at a time; None without a limit."""
        rate = self.rate
        return None if rate is None else max(int(rate * PIECE_SECONDS), self._least_burst)

    @property
    def is_waited_for(self) -> bool:
        """Whether a caller waits."""
        return bool(self._waiting)

    def set_rate(self, rate: float | None) -> None:
        """Change the rate, also for those who wait already. An infinite rate is no limit."""
        with self._lock:
            self._fill()
            self.rate = None if rate == math.inf else rate
            for _, _, condition in self._waiting:
                condition.notify()

    def take(self, size: int, turn: int, require_going: Callable[[], None]) -> None:
        """Take ``size`` units, and wait for them. ``require_going`` raises to end the wait."""
        while size > 0:
            size -= self._take_some(size, turn, require_going)

    def owe(self, size: int) -> None:
        """Take ``size`` units without waiting. Those who take the next ones wait for them, too."""
        with self._lock:
            self._fill()
            self._level -= size

    def _take_some(self, most: int, turn: int, require_going: Callable[[], None]) -> int:
        own: tuple[int, int, threading.Condition] | None = None
        with self._lock:
            try:
                while True:
                    require_going()
                    burst = self.burst
                    if burst is None:
                        return most
                    self._fill()
                    size = min(most, self.piece or burst)
                    is_next = not self._waiting or turn <= self._waiting[0][0]
                    if is_next and self._level >= size:
                        self._level -= size
                        return size
                    self.has_waited = True
                    if own is None:
                        own = (turn, next(self._numbers), threading.Condition(self._lock))
                        heapq.heappush(self._waiting, own)
                    seconds = _SLICE_SECONDS
                    if is_next and self.rate:
                        seconds = min(seconds, (size - self._level) / self.rate)
                    self._pause(own[2], seconds)
            finally:
                if own is not None:
                    self._waiting.remove(own)
                    heapq.heapify(self._waiting)
                if self._waiting:
                    self._waiting[0][2].notify()

    def _fill(self) -> None:
        now = self._monotonic()
        burst = self.burst
        if burst is None:
            self._level = 0.0  # a new limit begins with nothing
        elif self.rate:
            gained = (now - self._filled_at) * self.rate
            self._level = min(self._level + gained, float(burst))
        self._filled_at = now


class Throttle:
    """The limits of a worker. Bytes count when they are read from the source to be sent.

    Without a limit ``is_on`` is False, and callers needn't call anything else. ``wanted`` is set
    when a thread waits although this worker has no share of the limits yet.
    """

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        pause: Callable[[threading.Condition, float], object] = threading.Condition.wait,
    ) -> None:
        self.is_on = False
        self.wanted = threading.Event()
        self._bytes = Bucket(LEAST_PIECE_BYTES, monotonic, pause)
        self._requests = Bucket(1, monotonic, pause)
        self._monotonic = monotonic
        self._turns = count()
        self._uses = 0

    def set_shares(self, bytes_per_second: float | None, requests_per_second: float | None) -> None:
        """Set what this worker may move; None is no limit, 0 that its threads wait for a share."""
        self._bytes.set_rate(bytes_per_second)
        self._requests.set_rate(requests_per_second)
        self.is_on = bytes_per_second is not None or requests_per_second is not None

    def share_bytes_per_second(
        self, require_going: Callable[[], None] = lambda: None
    ) -> float | None:
        """Return how many bytes a second this worker may move right now; None for no limit.

        Waits until this worker has a share; ``require_going`` raises to end the wait. The worker
        counts as moving data for about two seconds: call ``keep_share`` while it does so.
        """
        self.keep_share()
        while (rate := self._bytes.rate) == 0:
            require_going()
            time.sleep(_SLICE_SECONDS)
        return rate

    def keep_share(self) -> None:
        """Note that data is moved by others than this throttle's callers, such as a program."""
        self._use(self._bytes)

    def read(
        self,
        source: Store,
        entry: Entry,
        offset: int,
        length: int,
        require_going: Callable[[], None],
    ) -> Content:
        """Read from a store as the limits allow.

        A part of a file is read in pieces, so that reading is even. A whole file is read at once
        after its size is taken. ``require_going`` is called while waiting, and its errors are
        raised. Raises the store's errors.
        """
        turn = next(self._turns)
        self._use(self._bytes)
        piece = self._bytes.piece
        if piece is None or length <= piece or length == entry.size:
            return self._read(source, entry, offset, length, turn, require_going)
        data = bytearray(length)
        first: Content | None = None
        done = 0
        while done < length:
            piece = length - done
            if source.capabilities.reads_ranges:
                piece = min(piece, self._bytes.piece or length)
            content = self._read(source, entry, offset + done, piece, turn, require_going)
            if first is None:
                first = content
                if content.etag is not None:  # the same file in each piece
                    entry = replace(entry, etag=content.etag)
            data[done : done + piece] = content.data
            done += piece
        assert first is not None, "a part isn't empty"
        return replace(first, data=memoryview(data))

    def _read(
        self,
        source: Store,
        entry: Entry,
        offset: int,
        length: int,
        turn: int,
        require_going: Callable[[], None],
    ) -> Content:
        self._bytes.take(length, turn, require_going)
        self.request(source, require_going)
        return source.read(entry, offset, length)

    def request(self, store: Store, require_going: Callable[[], None]) -> None:
        """Wait until a request to a store is allowed. Folders and memory take none."""
        if self._requests.rate is not None and not store.capabilities.cheap_reads:
            self._use(self._requests)
            self._requests.take(1, next(self._turns), require_going)

    def owe_bytes(self, size: int) -> None:
        """Count ``size`` bytes without waiting. The next ones wait longer."""
        self._bytes.owe(size)

    def owe_request(self, store: Store) -> None:
        """Count a request without waiting. The next ones wait longer."""
        if self._requests.rate is not None and not store.capabilities.cheap_reads:
            self._requests.owe(1)

    def _use(self, bucket: Bucket) -> None:
        self._uses += 1
        if bucket.rate == 0:
            self.wanted.set()

    @property
    def is_in_use(self) -> bool:
        """Whether a thread waits, or has taken anything since this was last asked."""
        uses, self._uses = self._uses, 0
        return bool(uses) or self._bytes.is_waited_for or self._requests.is_waited_for

    def has_waited(self) -> bool:
        """Return True if a thread has waited for the limits since this was last asked."""
        found = self._bytes.has_waited or self._requests.has_waited
        self._bytes.has_waited = self._requests.has_waited = False
        return found
