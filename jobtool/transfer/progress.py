"""The progress of a transfer."""

from __future__ import annotations

import threading

import msgspec

from jobtool.transfer.ledger import Ledger
from jobtool.transfer.phases import Phase, Phases

#: How many large files under way a progress names, and from which size a file is large.
MOST_NAMED = 8
LARGE_BYTES = 16 * 1024 * 1024


class FileUnderWay(msgspec.Struct, frozen=True, kw_only=True):
    """A large file under way: the path of its source in the job, and its bytes."""

    path: str
    bytes_done: int
    bytes_total: int


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """The progress of a transfer. Bytes and files that had receipts before count as done.

    ``bytes_proven`` are those of files that are done, without those under way. ``files_sent`` and
    ``bytes_sent`` count what this attempt sent, including its helpers. ``phase`` is what the
    transfer is doing now. ``large`` are the largest of the large files under way.
    """

    files_done: int
    files_total: int
    bytes_done: int
    bytes_total: int
    files_sent: int
    bytes_sent: int
    phase: Phase = Phase.COPYING
    bytes_proven: int = 0
    large: tuple[FileUnderWay, ...] = ()


class Tally:
    """Counts bytes and files sent, in addition to the ledger. Threads may call it."""

    def __init__(self, ledger: Ledger) -> None:
        self.phases = Phases()
        self._ledger = ledger
        self._lock = threading.Lock()
        self._under_way: dict[int, int] = {}  # bytes, by file
        self._files_sent = self._bytes_sent = 0

    def arrive(self, number: int, size: int) -> None:
        """Count bytes of a file under way, until ``settle`` forgets them."""
        with self._lock:
            self._under_way[number] = self._under_way.get(number, 0) + size
        self.phases.arrived(number, size)

    def settle(self, number: int) -> None:
        """Forget the bytes of a file that is no longer under way: it arrived, or a try failed."""
        if number not in self._under_way:  # the usual case for a small file, at no lock's cost
            return
        with self._lock:
            self._under_way.pop(number, None)

    def send(self, *, files: int = 0, size: int = 0) -> None:
        """Count files and bytes that this attempt sent."""
        with self._lock:
            self._files_sent += files
            self._bytes_sent += size

    @property
    def progress(self) -> Progress:
        """The progress of the transfer."""
        ledger = self._ledger
        large = tuple(
            FileUnderWay(
                path=ledger.plan.item(number).entry.path, bytes_done=done, bytes_total=size
            )
            for number, size, done in self.phases.largest(MOST_NAMED, LARGE_BYTES)
        )
        with self._lock:
            proven = ledger.bytes_proven
            return Progress(
                files_done=ledger.files_proven,
                files_total=len(ledger.plan),
                bytes_done=proven + sum(self._under_way.values()),
                bytes_total=ledger.plan.total_bytes,
                files_sent=self._files_sent,
                bytes_sent=self._bytes_sent,
                phase=self.phases.now,
                bytes_proven=proven,
                large=large,
            )
