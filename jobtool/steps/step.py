"""The step protocol, which a package implements so that workers do more than copy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import msgspec

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
        """Append a line with the time, the event, the values and the attempt."""
        ...


class StepContext(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker provides to a step.

    ``stores`` opens stores with the joblist's settings and credentials. ``stop`` is set when the
    worker must stop or has lost the job. ``retry`` repeats calls with retryable errors until then,
    as often as the joblist says. ``emit`` sends events to the worker's output. ``receipts`` yields
    the receipts of the job's files, oldest first. They are complete once ``copy`` is done.
    ``owner`` marks unfinished writes as the job's.

    ``log(event, **values)`` appends a line to the job's log. The line's event is ``STEP.event``.
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

    A package registers a class, or another callable without arguments that returns a step, as an
    entry point of the group ``jobtool.steps``. The entry point has the step's name. Workers call it
    once when they first meet the step, and again for each attempt. The call must have no effect
    but making the step.
    """

    @property
    def name(self) -> str:
        """The name of the step in job files."""
        ...

    def run(self, claimed_job: ClaimedJob, context: StepContext) -> None:
        """Do the step for one job. When it returns, the step is done.

        It is called again after it raised, and after its worker was killed at any instruction: the
        leftovers of an earlier attempt must do no harm. A step that is done isn't called again,
        unless the whole job is done again. ``claimed_job.job`` says what is copied where. Don't
        change the job's status.

        Check ``context.stop`` at least every few seconds, and raise ``StoppedError`` once it is
        set: the job is handed back. Call ``context.require_held`` before writing anything that
        others may see. A thread that waits for another program without waking up counts as
        hanging after ``stall_seconds``, so wait in slices.

        For a failure raise a ``JobtoolError``. Its ``retryable`` says whether the job is tried
        again, up to ``max_attempts`` times. An ``InfrastructureError`` hands the job back and ends
        the worker, since other jobs would fail for the same reason. Any other exception is a bug,
        and makes the job an error.
        """
        ...
