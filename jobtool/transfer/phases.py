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
        self._first: dict[int, Phase] = {}  # the phase until the first byte has arrived
        self._sizes: dict[int, int] = {}
        self._arrived: dict[int, int] = {}

    def begin(self, number: int, size: int, *, first: Phase) -> None:
        """Follow a file of ``size`` bytes. Its phase is ``first`` until bytes of it arrive."""
        with self._lock:
            self._first[number], self._sizes[number], self._arrived[number] = first, size, 0

    def end(self, number: int) -> None:
        """Forget a file that is no longer under way."""
        with self._lock:
            for known in (self._first, self._sizes, self._arrived):
                known.pop(number, None)

    def arrived(self, number: int, size: int) -> None:
        """Count bytes that have arrived of a file under way."""
        with self._lock:
            self._arrived[number] = self._arrived.get(number, 0) + size

    def largest(self, most: int, least_bytes: int) -> list[tuple[int, int, int]]:
        """Return the largest files under way of at least so many bytes, at most ``most``.

        Each has its number, its size and what of it has arrived.
        """
        with self._lock:
            large = [each for each in self._sizes.items() if each[1] >= least_bytes]
            large.sort(key=lambda each: (-each[1], each[0]))
            return [
                (number, size, min(self._arrived.get(number, 0), size))
                for number, size in large[:most]
            ]

    def all_at(self, phase: Phase) -> None:
        """Set the phase of the whole transfer while no file is under way."""
        self._whole = phase

    @property
    def now(self) -> Phase:
        """What the transfer is doing now."""
        with self._lock:
            found = {self._phase_of(number) for number in self._sizes}
        for phase in (Phase.COPYING, Phase.READING_BACK, Phase.CHECKING_PARTS, Phase.COMPARING):
            if phase in found:
                return phase
        return self._whole or Phase.COPYING

    def _phase_of(self, number: int) -> Phase:
        arrived = self._arrived[number]
        if not arrived:
            return self._first[number]
        return Phase.COPYING if arrived < self._sizes[number] else Phase.READING_BACK
