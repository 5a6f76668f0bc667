"""Bytes over time: in a bounded number of intervals, and their mean."""

from __future__ import annotations

import math
from collections.abc import Iterable

#: More intervals than this are never held: they get twice as long instead.
MOST_INTERVALS = 240

#: Lines of a log that are later than that are left out: a clock, or a person, was wrong.
MOST_AHEAD_SECONDS = 86_400


def moved(spans: Iterable[tuple[float, float, int]], now: float) -> tuple[int, float]:
    """Return how many bytes attempts have moved, and in how many seconds, by all together.

    ``spans`` are the start and the end of each attempt, in seconds since 1970, and its bytes. Times
    in which none was under way don't count, and neither do attempts that moved nothing, or those of
    the future. Logs have whole seconds: an attempt takes no less than one.
    """
    latest = now + MOST_AHEAD_SECONDS
    size, covered, until = 0, 0.0, float("-inf")
    for start, end, count in sorted(span for span in spans if span[2] > 0 and span[1] <= latest):
        size += count
        over = max(end, start + 1.0)
        covered += max(over - max(start, until), 0.0)
        until = max(until, over)
    return size, covered


class BytesOverTime:
    """Adds up bytes by equal intervals of time. Times are in seconds since 1970.

    The intervals are one second long at first, and as long as needed for ``MOST_INTERVALS``.
    """

    def __init__(self) -> None:
        self.seconds = 1
        self._amounts: dict[int, float] = {}

    def add(self, start: float, end: float, count: int) -> None:
        """Add bytes that moved evenly between two times; all at ``end`` if it isn't later."""
        if count <= 0:
            return
        start = min(start, end)
        self._make_room(start, end)
        first, last = self._index(start), self._index(end)
        if first == last:
            self._amounts[last] = self._amounts.get(last, 0) + count
            return
        for index in range(first, last + 1):
            since = max(start, index * self.seconds)
            until = min(end, (index + 1) * self.seconds)
            part = count * (until - since) / (end - start)
            self._amounts[index] = self._amounts.get(index, 0) + part

    def rates(self) -> list[tuple[float, float]]:
        """Return the start of each interval and its mean rate in bytes per second, in order."""
        if not self._amounts:
            return []
        return [
            (index * self.seconds, self._amounts.get(index, 0) / self.seconds)
            for index in range(min(self._amounts), max(self._amounts) + 1)
        ]

    def _make_room(self, start: float, end: float) -> None:
        known = self._amounts
        while max([self._index(end), *known]) - min([self._index(start), *known]) >= MOST_INTERVALS:
            self.seconds *= 2
            merged: dict[int, float] = {}
            for index, count in known.items():
                merged[index // 2] = merged.get(index // 2, 0) + count
            known = self._amounts = merged

    def _index(self, time: float) -> int:
        return math.floor(time / self.seconds)
