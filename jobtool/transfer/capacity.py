"""The resources that a worker's copies share: bounded memory, threads."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor

from jobtool.liveness import Liveness
from jobtool.transfer.throttle import Throttle

#: How many holders may have bytes at the same time, whatever their number of bytes.
_ALWAYS = 2


class ByteBudget:
    """A bound on the bytes in flight. A thread that needs more waits until others have finished.

    Two holders are always allowed, however many bytes they have: so a part that exceeds the bound
    can be read while another is sent.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._used = 0
        self._holders = 0
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._waiting: deque[object] = deque()

    def holding(self, size: int) -> _Held:
        """Hold ``size`` bytes for the length of a ``with`` block."""
        return _Held(self, size)

    def acquire(self, size: int) -> None:
        """Acquire ``size`` bytes; wait for room, unless at most one other holder has bytes."""
        with self._lock:
            if self._waiting or not self._fits(size):
                self._wait_for(size)
            self._used += size
            self._holders += 1

    def acquire_now(self, size: int) -> bool:
        """Acquire ``size`` bytes if nobody has to wait for them. Return whether they are held."""
        with self._lock:
            is_free = not self._waiting and self._fits(size)
            if is_free:
                self._used += size
                self._holders += 1
            return is_free

    def _fits(self, size: int) -> bool:
        return self._holders < _ALWAYS or self._used + size <= self._limit

    def _wait_for(self, size: int) -> None:
        ticket = object()
        self._waiting.append(ticket)  # in order: small ones must not overtake a large for ever
        try:
            self._changed.wait_for(lambda: self._waiting[0] is ticket and self._fits(size))
        finally:
            self._waiting.remove(ticket)
            self._changed.notify_all()

    def release(self, size: int) -> None:
        """Release ``size`` bytes."""
        with self._lock:
            self._used -= size
            self._holders -= 1
            if self._waiting:
                self._changed.notify_all()


class _Held:
    __slots__ = ("_budget", "_size")

    def __init__(self, budget: ByteBudget, size: int) -> None:
        self._budget, self._size = budget, size

    def __enter__(self) -> None:
        self._budget.acquire(self._size)

    def __exit__(self, *raised: object) -> None:
        self._budget.release(self._size)


class Capacity:
    """Memory of ``buffer_bytes``, ``threads`` that send parts and as many that hash them.

    ``liveness`` watches the threads. ``throttle`` has the limits on what they move in a second.
    """

    def __init__(
        self,
        *,
        threads: int,
        buffer_bytes: int,
        liveness: Liveness,
        throttle: Throttle | None = None,
    ) -> None:
        self.threads = threads
        self.throttle = throttle or Throttle()
        self.budget = ByteBudget(buffer_bytes)
        self.senders = ThreadPoolExecutor(threads, "part", initializer=liveness.join)
        # Hashing must not wait for a thread that waits for a network.
        self.hashers = ThreadPoolExecutor(threads, "hash", initializer=liveness.join)

    def close(self) -> None:
        """Wait for the threads, and end them."""
        self.senders.shutdown()
        self.hashers.shutdown()
