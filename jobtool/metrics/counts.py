"""What metrics count, and where: the counts that wait for a sink."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

#: How many places a feed keeps apart. A sink that hangs gets more of them without their jobs.
MOST_PLACES = 5000


class Place(NamedTuple):
    """Where something was done: an attempt at a step of a job, on a route if it has one.

    ``step`` is None for the job as a whole. ``job`` is None, and ``attempt`` is 0, for several
    jobs together.
    """

    job: str | None
    step: str | None
    route: str | None
    attempt: int


class Counts(msgspec.Struct, kw_only=True):
    """What was done at a place. ``ended`` counts the attempts that ended, by their state.

    The states are ``success``, ``error``, ``failed`` (it is tried again), ``handed-back``,
    ``waiting``, ``lost`` and ``left`` (others edited or removed the job).
    """

    files: int = 0
    bytes: int = 0
    sent_bytes: int = 0
    retries: int = 0
    seconds: float = 0.0
    ended: dict[str, int] = {}

    def add(self, other: Counts) -> None:
        """Add the counts of another."""
        self.files += other.files
        self.bytes += other.bytes
        self.sent_bytes += other.sent_bytes
        self.retries += other.retries
        self.seconds += other.seconds
        for state, count in other.ended.items():
            self.ended[state] = self.ended.get(state, 0) + count


class Drained(msgspec.Struct, frozen=True, kw_only=True):
    """What was done since the last time. ``running`` is the step under way, None for none."""

    counts: dict[Place, Counts]
    running: Place | None


class Feed:
    """The counts that wait for one sink. Its size is bounded, and no count is ever dropped."""

    def __init__(self, most: int = MOST_PLACES) -> None:
        self._most = most
        self._counts: dict[Place, Counts] = {}

    def at(self, place: Place) -> Counts:
        """Return the counts of a place, to add to."""
        counts = self._counts.get(place)
        if counts is None:
            if len(self._counts) >= self._most:
                place = place._replace(job=None, attempt=0)
            counts = self._counts.setdefault(place, Counts())
        return counts

    def take(self) -> dict[Place, Counts]:
        """Return all counts, and begin anew."""
        taken, self._counts = self._counts, {}
        return taken

    def __len__(self) -> int:
        return len(self._counts)
