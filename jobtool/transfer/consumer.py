"""What a second consumer of a job's queues has to do, besides the threads of the job's holder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from jobtool.jobs.records import Record
from jobtool.transfer.filequeue import FileQueue
from jobtool.transfer.partqueue import PartQueues


class Returned(Protocol):
    """Files that a consumer had taken, and that are the holder's again."""

    @property
    def numbers(self) -> list[int]:
        """The files, by number."""

    def records(self) -> Iterator[Record]:
        """Yield what was recorded of them; what has no receipt is to be done."""

    def forget(self) -> None:
        """Remove those records, once the job's own journal has them."""


class Consumer(Protocol):
    """Takes work from the back of a job's queues, and gives back what it hasn't done.

    One thread calls it. What it has taken is in no queue until it has come back; only what has a
    record counts as done. It neither finishes a job nor fails one.
    """

    def consume(self, files: FileQueue, parts: PartQueues, *, may_take: bool) -> None:
        """Take what it wants, and put back the parts that are over; called several times a second.

        It takes nothing without ``may_take``: the holder stops, or has lost its claim.

        Raises ``JoblistUnavailableError``, and what the job's journal raises.
        """

    def returned(self, *, take_back: bool) -> Iterator[Returned]:
        """Yield the files that are over; with ``take_back`` those, too, that nobody works on."""

    @property
    def has_files(self) -> bool:
        """Whether it has files at this moment."""
