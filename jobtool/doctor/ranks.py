"""Messages between the ranks of one program, with a limit on every wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from jobtool.doctor.checkresult import named
from jobtool.errors import InfrastructureError
from jobtool.worker.environment import Environment

T = TypeVar("T")

#: How many seconds a rank may take to answer.
DEFAULT_TIMEOUT_SECONDS = 60.0

_FIRST_POLL_SECONDS = 0.0005
_LAST_POLL_SECONDS = 0.05


class RanksLostError(InfrastructureError):
    """Other ranks don't answer."""


class Ranks:
    """Messages to and from rank 0, point to point, so that a silent rank can be named.

    All ranks call the same methods in the same order. ``timeout_seconds`` is how long rank 0 waits.
    The others wait three times as long, so that rank 0 is the first to report. Raises
    ``RanksLostError`` after that time. A single rank gets its own messages.
    """

    def __init__(
        self,
        environment: Environment,
        *,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._communicator = environment.communicator
        self.rank = environment.rank if self._communicator is not None else 0
        self.size = environment.size if self._communicator is not None else 1
        self._timeout_seconds = timeout_seconds
        self._monotonic = monotonic
        self._sleep = sleep
        self._step = 0

    def gather(self, value: T, *, timeout_seconds: float | None = None) -> list[T]:
        """Return, at rank 0, what all ranks gave, in their order; elsewhere nothing."""
        self._step += 1
        if self.rank:
            self._send((self.rank, value), to=0)
            return []
        values = {0: value}
        deadline = self._deadline(timeout_seconds)
        pause = _FIRST_POLL_SECONDS
        while len(values) < self.size:
            message = self._communicator.improbe(tag=self._step)
            if message is not None:
                rank, found = message.recv()
                values[rank] = found
                continue
            silent = [str(rank) for rank in range(self.size) if rank not in values]
            self._pause(pause, deadline, f"rank {named(silent)}")
            pause = min(2 * pause, _LAST_POLL_SECONDS)
        return [values[rank] for rank in range(self.size)]

    def broadcast(self, value: T, *, timeout_seconds: float | None = None) -> T:
        """Return what rank 0 gave."""
        self._step += 1
        if self.rank == 0:
            for rank in range(1, self.size):
                self._send(value, to=rank)
            return value
        deadline = self._deadline(timeout_seconds)
        pause = _FIRST_POLL_SECONDS
        while (message := self._communicator.improbe(source=0, tag=self._step)) is None:
            self._pause(pause, deadline, "rank 0")
            pause = min(2 * pause, _LAST_POLL_SECONDS)
        told: T = message.recv()
        return told

    def abort(self, exit_code: int) -> None:
        """End all ranks: at the end of MPI they would wait for each other for ever."""
        if self._communicator is not None:
            self._communicator.Abort(exit_code)

    def _send(self, value: Any, *, to: int) -> None:
        request = self._communicator.isend(value, dest=to, tag=self._step)
        deadline = self._deadline(None)
        while not request.test()[0]:
            self._pause(_FIRST_POLL_SECONDS, deadline, f"rank {to}")

    def _deadline(self, timeout_seconds: float | None) -> float:
        seconds = self._timeout_seconds if timeout_seconds is None else timeout_seconds
        return self._monotonic() + seconds * (3 if self.rank else 1)

    def _pause(self, seconds: float, deadline: float, whom: str) -> None:
        if self._monotonic() > deadline:
            raise RanksLostError(f"{whom} of {self.size} doesn't answer")
        self._sleep(seconds)
