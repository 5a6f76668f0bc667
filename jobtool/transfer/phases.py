"""The phase of a transfer: what it is doing now, derived from the state of its files."""

from __future__ import annotations

import threading
from enum import StrEnum


class Phase(StrEnum):
    """What a transfer is doing now."""

    LISTING = "listing"
    QUERYING = "running the query"
    COMPARING_ROWS = "comparing rows"
    EXPORTING = "exporting"
    COMPARING = "comparing with the destination"
    CHECKING_PARTS = "checking parts"
    COPYING = "copying"
    READING_BACK = "reading back"
    SYNCING = "syncing"
    RECORDING = "writing receipts"


class Phases:
    """Follows the files under way. Threads may call it.

    If any file is being copied, the phase is ``COPYING``, whatever the others do.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._whole: Phase | None = None
        self._under_way: dict[int, _UnderWay] = {}

    def begin(self, number: int, size: int, *, first: Phase) -> None:
        """Follow a file of ``size`` bytes. Its phase is ``first`` until bytes of it arrive."""
        with self._lock:
            self._under_way[number] = _UnderWay(size, first)

    def end(self, number: int) -> None:
        """Forget a file that is no longer under way."""
        with self._lock:
            self._under_way.pop(number, None)

    def arrived(self, number: int, size: int) -> None:
        """Count bytes that have arrived of a file under way."""
        with self._lock:
            file = self._under_way.get(number)
            if file is not None:
                file.arrived += size

    def largest(self, most: int, least_bytes: int) -> list[tuple[int, int, int]]:
        """Return the largest files under way of at least so many bytes, at most ``most``.

        Each has its number, its size and what of it has arrived.
        """
        with self._lock:
            large = [each for each in self._under_way.items() if each[1].size >= least_bytes]
            large.sort(key=lambda each: (-each[1].size, each[0]))
            return [
                (number, file.size, min(file.arrived, file.size)) for number, file in large[:most]
            ]

    def all_at(self, phase: Phase) -> None:
        """Set the phase of the whole transfer while no file is under way."""
        self._whole = phase

    @property
    def now(self) -> Phase:
        """What the transfer is doing now."""
        with self._lock:
            found = {file.phase for file in self._under_way.values()}
        for phase in (Phase.COPYING, Phase.READING_BACK, Phase.CHECKING_PARTS, Phase.COMPARING):
            if phase in found:
                return phase
        return self._whole or Phase.COPYING


class _UnderWay:
    """A file under way, in bytes. ``first`` is its phase until the first byte has arrived."""

    __slots__ = ("arrived", "first", "size")

    def __init__(self, size: int, first: Phase) -> None:
        self.size, self.first, self.arrived = size, first, 0

    @property
    def phase(self) -> Phase:
        if not self.arrived:
            return self.first
        return Phase.COPYING if self.arrived < self.size else Phase.READING_BACK
