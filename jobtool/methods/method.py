"""The method protocol: what a package implements to move files another way than jobtool does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.stop import Stop
from jobtool.stores.store import Store

#: jobtool's own way: read, hashed and written by the worker's threads.
STREAM = "stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodFile:
    """A file that a method is to bring.

    ``number`` is what the method claims it by. ``source`` and ``destination`` are absolute paths
    or URLs, ``source_path`` and ``destination_path`` the same relative to the stores' roots.
    ``size`` is in bytes, ``mtime_ns`` the time of the last change in nanoseconds since 1970, both
    as listed.
    """

    number: int
    source: str
    destination: str
    source_path: str
    destination_path: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodContext:
    """What a method may use of the worker that runs it.

    ``source`` and ``destination`` are the stores of all files of the call. ``stop`` is set when the
    worker is to end or has lost the job. ``threads`` is how many files the worker moves at a time.
    ``require_held`` raises ``ClaimLostError`` once another worker may have the job.
    """

    source: Store
    destination: Store
    stop: Stop
    threads: int
    require_held: Callable[[], None]


class Method(Protocol):
    """A way for bytes from a source to a destination.

    A package brings one by an entry point of the group ``jobtool.methods`` that is called without
    arguments; the entry point has the method's name. It is called once when a worker starts; to
    make a method must do nothing else. Calls of one method come one at a time, from changing
    threads.
    """

    @property
    def name(self) -> str:
        """The name that ``methods`` and receipts have for it."""
        ...

    def available(self, source: Store, destination: Store) -> str | None:
        """Return why files can't go this way from one store to the other; None if they can.

        The reason is a clause for the job's log, such as ``the source is no folder``. It is called
        once for each pair of stores of a job.
        """
        ...

    def run(
        self, claimed_job: ClaimedJob, files: Sequence[MethodFile], context: MethodContext
    ) -> Iterable[int]:
        """Bring files; yield the number of each once it is whole under its name.

        A number is a claim, not a proof: the worker reads the source, has the destination prove
        that it holds the same, gives the file its attributes and writes the receipt. It does so
        while the method goes on, so yield early. What isn't claimed, or isn't the same, goes to
        the next method.

        At most some thousands of files come in one call, of one pair of stores; metadata of data
        sets comes in later calls than the data. None of them stands at the destination, except
        what may be replaced: what a killed worker's method left, or what differs and isn't to be
        kept. Folders of the destination may be missing. Write nothing else.

        Look at ``context.stop`` at least every few seconds, and return once it is set. Call
        ``context.require_held`` before each write. A thread that waits for another program
        without waking up counts as hanging after ``stall_seconds``, so wait in slices.

        A ``JobtoolError`` leaves the files that aren't claimed to the next method; an
        ``InfrastructureError`` or a ``ClaimLostError`` ends the attempt, and the first hands the
        job back. Any other exception is a bug, and leaves the files to the next method, too. A
        method that has raised isn't used again in the same attempt.
        """
        ...
