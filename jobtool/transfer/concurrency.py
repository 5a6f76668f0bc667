"""The number of files that are transferred at a time, adapted to what the threads wait for."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable

from jobtool.transfer.plan import Route

#: The number of threads to begin with between stores whose calls may return at once.
FIRST_THREADS = 2

#: Python code runs in one thread at a time. If the process uses less of a CPU than this, its
#: threads wait for storage, and more of them help.
_WAITING_BELOW = 0.8

#: If the process uses more than this of a CPU per thread, its threads don't wait for each other.
_PARALLEL_ABOVE = 0.8

#: The least time in seconds over which the use of CPUs is measured.
_LOOK_SECONDS = 0.05


class Concurrency:
    """How many files a worker transfers at a time, ``most`` at most.

    Towards or from a network store it is always ``most``: each request waits for an answer. Between
    local stores it depends. On a parallel filesystem threads wait, and more threads get more done.
    In a page cache they only wait for each other. So there it begins with ``FIRST_THREADS``, is
    doubled as long as CPUs are idle, and is kept for the worker's next jobs.

    ``cpu_seconds`` is the CPU time that this process has used, ``monotonic`` the clock.
    """

    def __init__(
        self,
        most: int,
        *,
        cpu_seconds: Callable[[], float] = time.process_time,
        monotonic: Callable[[], float] = time.monotonic,
        cpus: int | None = None,
    ) -> None:
        self._most = most
        self._local = min(FIRST_THREADS, most)
        self._cpus = cpus or len(os.sched_getaffinity(0))
        self._cpu_seconds = cpu_seconds
        self._monotonic = monotonic
        self._looked_at = (monotonic(), cpu_seconds())

    def begin(self, routes: Iterable[Route]) -> int:
        """Return the number of threads to begin with on these routes."""
        stores = (store for route in routes for store in (route.source, route.destination))
        if not all(store.capabilities.cheap_reads for store in stores):
            return self._most
        self._looked_at = (self._monotonic(), self._cpu_seconds())
        return self._local

    def adapted(self, count: int) -> int:
        """Return how many threads there should be now that ``count`` are at work."""
        (then, used_then), now = self._looked_at, self._monotonic()
        if count >= self._most or now - then < _LOOK_SECONDS:
            return count
        used = self._cpu_seconds()
        self._looked_at = (now, used)
        cpus = (used - used_then) / (now - then)
        is_parallel = cpus > _PARALLEL_ABOVE * count and count < self._cpus
        if cpus < _WAITING_BELOW or is_parallel:
            count = min(2 * count, self._most)
            self._local = max(self._local, count)
        return count
