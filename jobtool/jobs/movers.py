"""Which workers of a joblist move data now, so that they can share a limit.

Each has an empty file in a folder of the joblist, ``NAME.BEAT``, and renames it to a higher number
while it moves data. So one listing shows who is there and who is alive, and no clocks of two nodes
are compared.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable

MOVERS_FOLDER = "movers"

#: A worker whose number hasn't changed for this many seconds, or periods if that is more, isn't
#: counted.
_SILENT_SECONDS = 10.0
_SILENT_PERIODS = 5

#: The file of a worker that was silent for this many times as long is removed.
_GONE_AFTER = 6

#: All workers together rename about fifty files a second at most.
_BEATS_PER_SECOND = 50
_PERIOD_SECONDS = 1.0


class _Seen:
    __slots__ = ("beat", "is_missing", "since")

    def __init__(self, beat: str, since: float) -> None:
        self.beat, self.since, self.is_missing = beat, since, False


class Movers:
    """The workers that move data now. One thread calls the methods.

    ``name`` is this worker's name as a member. ``is_member`` says whether another worker may be
    running; it is asked once for each. ``monotonic`` is the clock, in seconds. Those of one
    ``folder`` share a limit.
    """

    def __init__(
        self,
        claims_path: str,
        name: str,
        is_member: Callable[[str], bool],
        monotonic: Callable[[], float] = time.monotonic,
        folder: str = MOVERS_FOLDER,
    ) -> None:
        self.count = 0  # as last seen, with this worker
        self._folder = os.path.join(claims_path, folder)
        self._name = name
        self._is_member = is_member
        self._monotonic = monotonic
        self._beat = 0
        self._is_in = False
        self._seen: dict[str, _Seen] = {}

    @property
    def period_seconds(self) -> float:
        """How many seconds should pass between two calls of ``beat``."""
        return max(_PERIOD_SECONDS, self.count / _BEATS_PER_SECOND)

    def beat(self) -> int:
        """Show that this worker moves data; return how many workers do. Raises ``OSError``."""
        own = os.path.join(self._folder, f"{self._name}.{self._beat}")
        self._beat += 1
        new = os.path.join(self._folder, f"{self._name}.{self._beat}")
        try:
            if not self._is_in:
                raise FileNotFoundError
            os.rename(own, new)
        except FileNotFoundError:  # the first beat, or another worker regarded this one as gone
            os.makedirs(self._folder, exist_ok=True)
            with open(new, "wb"):
                self._is_in = True
        self._look()
        self.count = 1 + sum(self._counts(seen) for seen in self._seen.values())
        return self.count

    def leave(self) -> None:
        """Show that this worker doesn't move data any more. Raises nothing."""
        if self._is_in:
            self._is_in = False
            self._seen.clear()
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(self._folder, f"{self._name}.{self._beat}"))

    @property
    def _silent_seconds(self) -> float:
        return max(_SILENT_SECONDS, _SILENT_PERIODS * self.period_seconds)

    def _counts(self, seen: _Seen) -> bool:
        return self._monotonic() - seen.since < self._silent_seconds

    def _look(self) -> None:
        now = self._monotonic()
        listed: dict[str, str] = {}
        for filename in os.listdir(self._folder):
            name, _, beat = filename.rpartition(".")
            if name and name != self._name:
                listed[name] = beat
        for name in [*self._seen.keys() - listed.keys()]:
            # A listing may pass over a file that is renamed meanwhile, but hardly two do.
            if self._seen[name].is_missing:
                del self._seen[name]
            else:
                self._seen[name].is_missing = True
        for name, beat in listed.items():
            seen = self._seen.get(name)
            if seen is None:
                is_alive = self._is_member(name)
                seen = self._seen[name] = _Seen(beat, now if is_alive else float("-inf"))
            elif seen.beat != beat:
                seen.beat, seen.since = beat, now
            seen.is_missing = False
            if now - seen.since > _GONE_AFTER * self._silent_seconds:
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(self._folder, f"{name}.{beat}"))
