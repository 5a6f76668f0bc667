"""The method protocol, which a package implements to move files in its own way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, runtime_checkable

import msgspec

from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.jobs.settings import Settings
from jobtool.stop import Stop
from jobtool.stores.store import Store

#: jobtool's own way: read, hashed and written by the worker's threads.
STREAM = "stream"

#: The service's own copy, if one service has both source and destination. Also jobtool's own.
SERVER_SIDE = "server-side"

#: The methods that are parts of jobtool, in their order.
OWN_METHODS = (SERVER_SIDE, STREAM)


class MethodFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file for a method to move.

    The method claims the file by its ``number``. ``source`` and ``destination`` are absolute paths
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


class MethodContext(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker provides to a method.

    ``source`` and ``destination`` are the stores of all files of the call. ``stop`` is set when the
    worker must stop or has lost the job. ``threads`` is how many files the worker moves at a time.
    ``require_held`` raises ``ClaimLostError`` once another worker may have the job.

    ``log_path`` is a file for what a program prints, which need not exist. A program that makes no
    progress for ``stall_seconds`` should be ended. ``bandwidth`` returns how many bytes a second
    the method may move now, None for any number. It waits for this worker's share of a limit, and
    raises ``StoppedError`` if a stop is requested. The share is kept until the call ends. It
    changes with the number of workers: a program that can be told another should be.

    Call ``arrived`` with a file's number and how many more bytes of it have arrived, for the
    progress that people see. Call ``note`` with a clause that says why files are left to the next
    method; the job's log has the last.
    """

    source: Store
    destination: Store
    stop: Stop
    threads: int
    require_held: Callable[[], None]
    log_path: str
    stall_seconds: float
    bandwidth: Callable[[], float | None]
    arrived: Callable[[int, int], None]
    note: Callable[[str], None]


class Method(Protocol):
    """A way to move files from a source to a destination.

    A package registers a class, or another callable without arguments that returns a method, as an
    entry point of the group ``jobtool.methods``. The entry point has the method's name. Each worker
    calls it once, when it starts. The call must have no effect but making the method. A worker
    calls one method one call at a time, from changing threads.
    """

    @property
    def name(self) -> str:
        """The name of the method in ``methods`` and in receipts."""
        ...

    def available(self, source: Store, destination: Store) -> str | None:
        """Return why the method can't move files between these stores; None if it can.

        The reason is a clause for the job's log, such as ``the source isn't a folder``. Called once
        for each pair of stores of a job.
        """
        ...

    def run(
        self, claimed_job: ClaimedJob, files: Sequence[MethodFile], context: MethodContext
    ) -> Iterable[int]:
        """Move files. Yield the number of each once it is complete under its name.

        A number is a claim, not a proof. The worker reads the source, has the destination prove
        that it holds the same (or has the services of both compare their checksums), sets the
        file's attributes and writes the receipt. It does so while the method continues, so yield
        early. Files that aren't claimed, or aren't the same, go to the next method.

        A call has a few thousand files at most, all of one pair of stores. The metadata of data
        sets comes in later calls than the data. No file exists at its destination yet, unless it
        may be replaced: a killed worker's method left it, or it differs and needn't be kept.
        Folders of the destination may be missing. Write nothing else.

        Check ``context.stop`` at least every few seconds, and return once it is set. Call
        ``context.require_held`` before each write. A thread that waits for another program
        without waking up counts as hanging after ``stall_seconds``, so wait in slices.

        A ``JobtoolError`` leaves the files that aren't claimed to the next method. An
        ``InfrastructureError`` ends the attempt and hands the job back. A ``ClaimLostError`` ends
        the attempt. Any other exception is a bug, and leaves the files to the next method, too. A
        method that has raised isn't used again in the same attempt.
        """
        ...


@runtime_checkable
class Configurable(Protocol):
    """A method with settings in joblist.toml."""

    def configure(self, settings: Settings) -> None:
        """Take the settings of the joblist. Called once, after the method is made.

        ``settings.methods`` holds the tables ``[methods.NAME]``. Raises ``JoblistError`` for values
        that can't be used.
        """
        ...


@runtime_checkable
class Explains(Protocol):
    """A method that can show what it would run."""

    def explain(self, source: Store, destination: Store) -> str:
        """Return the command for a file between these stores, in one line, for people."""
        ...
