"""What a release is given by the command or the worker that runs it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from jobtool.errors import StoppedError
from jobtool.events import Emit
from jobtool.steps.step import StepContext
from jobtool.stop import Stop
from jobtool.stores.registry import StoreRegistry
from jobtool.transfer.retry import Retry

#: How many files are read and looked at at a time.
DEFAULT_THREADS = 8


class ReleaseContext(msgspec.Struct, frozen=True, kw_only=True):
    """The world of a release.

    ``stores`` opens stores with the joblist's settings and credentials. ``retry`` repeats calls
    with retryable errors until ``stop``. ``require_held`` raises ``ClaimLostError`` once another
    worker may have the job. With ``deep`` every destination is read again. With ``is_dry_run``
    nothing is changed. ``now`` returns the time, ``boot_seconds`` the seconds since this machine
    was started, those of suspensions included.
    """

    stores: StoreRegistry
    emit: Emit
    stop: Stop = msgspec.field(default_factory=Stop)
    retry: Retry = msgspec.field(default_factory=Retry)
    require_held: Callable[[], None] = lambda: None
    owner: str = ""
    deep: bool = False
    is_dry_run: bool = False
    threads: int = DEFAULT_THREADS
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    boot_seconds: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME)

    @classmethod
    def of_step(
        cls, step: StepContext, *, deep: bool = False, threads: int = DEFAULT_THREADS
    ) -> ReleaseContext:
        """Return the context of a worker's step."""
        return cls(
            stores=step.stores,
            emit=step.emit,
            stop=step.stop,
            retry=step.retry,
            require_held=step.require_held,
            owner=step.owner,
            deep=deep,
            threads=threads,
        )

    def require_going(self) -> None:
        """Raise ``StoppedError`` once a stop is requested, ``ClaimLostError`` for a lost claim."""
        if self.stop.is_set():
            raise StoppedError(f"stopped while releasing: {self.stop.reason}")
        self.require_held()
