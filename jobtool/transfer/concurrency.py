"""The number of files that are transferred at a time, adapted to what the threads wait for."""

from __future__ import annotations

import time
from collections.abc import Callable

#: The number of threads to begin with.
FIRST_THREADS = 2

#: Python code runs in one thread at a time. If the process uses less of a CPU than this, its
#: threads wait for storage or a network, and more of them help.
_WAITING_BELOW = 0.8

#: Larger files spend their time in calls that don't hold Python's lock: reading, hashing, sending.
LARGE_BYTES = 1024 * 1024

#: The least time in seconds over which the use of CPUs is measured.
_LOOK_SECONDS = 0.05


class Concurrency:
    """How many files a worker transfers at a time, ``most`` at most.

    Threads that wait for a network or a parallel filesystem cost nothing, and more of them get more
    done. With small files and storage that answers at once, as a page cache does, they only wait
    for each other. So a worker begins with ``first``. It doubles their number as long as they leave
    CPUs idle, or files are large, and keeps it for its next jobs.

    ``cpu_seconds`` is the CPU time that this process has used, ``monotonic`` the clock.
    ``has_waited`` says whether threads have waited for a limit since it was last called: more of
    them wouldn't help then. One thread
    calls ``begin`` and ``adapted``. No two threads may call ``note_file`` at once, and only the
    thread that lists may call ``leave_out``.
    """

    def __init__(
        self,
        most: int,
        *,
        first: int = FIRST_THREADS,
        has_waited: Callable[[], bool] = lambda: False,
        cpu_seconds: Callable[[], float] = time.process_time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = most
        self._wanted = min(first, most)
        self._has_waited = has_waited
        self._cpu_seconds = cpu_seconds
        self._monotonic = monotonic
        self._left_out = 0.0
        self._begin_look()

    def _begin_look(self) -> None:
        self._looked_at, self._used = self._monotonic(), self._cpu_used()
        self._files = self._bytes = 0

    def begin(self) -> int:
        """Return the number of threads to begin with."""
        self._begin_look()
        return self._wanted

    def leave_out(self, seconds: float) -> None:
        """Don't count CPU time of a thread that does other work, such as listing."""
        self._left_out += seconds

    def _cpu_used(self) -> float:
        return self._cpu_seconds() - self._left_out

    def note_file(self, size: int) -> None:
        """Record that a file of ``size`` bytes is done."""
        self._files += 1
        self._bytes += size

    def adapted(self) -> int:
        """Return how many threads there should be now."""
        seconds = self._monotonic() - self._looked_at
        if self._wanted < self._most and seconds >= _LOOK_SECONDS:
            cpus = (self._cpu_used() - self._used) / seconds
            may_help = cpus < _WAITING_BELOW or self._bytes >= LARGE_BYTES * self._files
            if not self._has_waited() and may_help:
                self._wanted = min(2 * self._wanted, self._most)
            self._begin_look()
        return self._wanted
