"""How much work a worker can finish in the time that is left."""

from __future__ import annotations

import math
from collections.abc import Callable


class Pace:
    """Estimates how long jobs take, from the jobs that this worker has finished.

    ``drain_at`` is the time by which no work may be in progress, in seconds on the ``monotonic``
    clock; None if the time isn't limited.
    """

    def __init__(self, drain_at: float | None, monotonic: Callable[[], float]) -> None:
        #: How long the shortest job took; 0 before the first has finished.
        self.shortest_seconds = 0.0
        self._drain_at = drain_at
        self._monotonic = monotonic
        self._seconds = 0.0
        self._files = self._bytes = 0

    def add(self, seconds: float, *, files: int, size_bytes: int) -> None:
        """Add a finished job: how long it took, and how much of it this worker did."""
        self.shortest_seconds = min(seconds, self.shortest_seconds or seconds)
        self._seconds += seconds
        self._files += files
        self._bytes += size_bytes

    @property
    def seconds_left(self) -> float:
        """The seconds left for jobs: negative once time is over, infinite if it isn't limited."""
        return math.inf if self._drain_at is None else self._drain_at - self._monotonic()

    @property
    def is_enough_for_another(self) -> bool:
        """Whether the shortest job so far would still fit. The first job always begins."""
        return not self._seconds or self.shortest_seconds <= self.seconds_left

    def seconds_for(self, *, files: int, size_bytes: int) -> float:
        """Return how long the work takes at least, at the rate so far; 0 if that is unknown.

        The rates by files and by bytes each assume that all time so far went into that alone. The
        lower estimate counts, because a job with files of another size may take less than the
        higher one. A job that is begun by mistake loses nothing that was sent.
        """
        by_files = files * self._seconds / self._files if self._files else 0.0
        by_bytes = size_bytes * self._seconds / self._bytes if self._bytes else 0.0
        return min(by_files, by_bytes)
