"""The step protocol: what a package implements to have workers do more than copy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from jobtool.events import Emit
from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.jobs.records import Receipt
from jobtool.stop import Stop
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.store import Store
from jobtool.transfer.retry import Retry


class LogLine(Protocol):
    """Appends a line to a job's log."""

    def __call__(self, event: str, **values: object) -> None:
        """Append it, with the time and the attempt."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StepContext:
    """What a step may use of the worker that runs it.

    ``stores`` has the joblist's settings and credentials. ``stop`` is set when the worker is to end
    or has lost the job; ``retry`` tries again what may pass, as often as the joblist says, until
    then. ``emit`` tells events to people and programs. ``receipts`` yields the receipts of the
    job's files, oldest first; all of them once ``copy`` is done. ``owner`` marks unfinished writes
    as the job's.

    ``log(event, **values)`` appends a line to the job's log, whose event is ``STEP.event``.
    ``require_held`` raises ``ClaimLostError`` once another worker may have the job. Both raise
    ``JoblistUnavailableError`` if the joblist can't be used.
    """

    stores: StoreRegistry
    stop: Stop
    retry: Retry
    emit: Emit
    owner: str
    receipts: Callable[[], Iterator[Receipt]]
    log: LogLine
    require_held: Callable[[], None]

    def source(self, url: str) -> Store:
        """Return the store to read below ``url``; raises ``UsageError``, ``CredentialsError``."""
        return self.stores.open(url, "source")

    def destination(self, url: str) -> Store:
        """Return the store to write below ``url``; raises ``UsageError``, ``CredentialsError``."""
        return self.stores.open(url, "destination", owner=self.owner)


class Step(Protocol):
    """One step of a job's chain.

    A package names a class, or anything that returns a step when it is called without arguments,
    as an entry point of the group ``jobtool.steps``. The entry point has the step's name. It is
    called once when a worker first meets the step, and for each attempt at it; to make a step must
    do nothing else.
    """

    @property
    def name(self) -> str:
        """The name that job files have for it."""
        ...

    def run(self, claimed_job: ClaimedJob, context: StepContext) -> None:
        """Do the step for one job; to return is to say that it is done.

        It is called from its start again after it raised, and after its worker was killed at any
        instruction: what an earlier attempt has left must do no harm. A step that is done is not
        called again, unless the whole job is done again. ``claimed_job.job`` says what is copied
        where; don't change the job's status.

        Look at ``context.stop`` at least every few seconds, and raise ``StoppedError`` once it is
        set: the job is handed back. Call ``context.require_held`` before anything is written that
        others may see. A thread that waits for another program without waking up counts as
        hanging after ``stall_seconds``, so wait in slices.

        Raise a ``JobtoolError``. Its ``retryable`` says whether the job is tried again, up to
        ``max_attempts`` times; an ``InfrastructureError`` hands the job back and ends the worker,
        since no other job would fare better. Any other exception is a bug, and makes the job an
        error.
        """
        ...
