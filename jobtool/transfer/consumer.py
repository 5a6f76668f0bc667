"""The protocol of a second consumer of a job's queues, besides the threads of the holder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from jobtool.jobs.records import Record
from jobtool.transfer.filequeue import FileQueue
from jobtool.transfer.partqueue import PartQueues


class Returned(Protocol):
    """Files that a consumer had taken and has given back to the holder."""

    @property
    def numbers(self) -> list[int]:
        """The files, by number."""

    def records(self) -> Iterator[Record]:
        """Yield the records of the files. Files without a receipt are still to be done."""

    def forget(self) -> None:
        """Remove those records. Call it once the job's own journal has them."""


class Consumer(Protocol):
    """Takes work from the back of a job's queues, and gives undone work back.

    One thread calls it. Work that it has taken isn't in a queue until it is given back. Only work
    with a record counts as done. A consumer neither finishes nor fails a job.
    """

    def consume(self, files: FileQueue, parts: PartQueues, *, may_take: bool) -> None:
        """Take some work, and put back parts that it is done with. Called several times a second.

        It takes nothing without ``may_take``: the holder stops, or has lost its claim.

        Raises ``JoblistUnavailableError``, and what the job's journal raises.
        """

    def returned(self, *, reclaim: bool) -> Iterator[Returned]:
        """Yield files that it is done with; with ``reclaim`` also those that aren't worked on."""

    @property
    def has_files(self) -> bool:
        """Whether it has files at this moment."""
