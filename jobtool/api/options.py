"""A worker's options, made from the user's choices: checked, with a deadline."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from jobtool import typed
from jobtool.errors import UsageError
from jobtool.jobs.settings import TransferSettings
from jobtool.suggest import misfit
from jobtool.worker.deadline import Deadline, find_deadline
from jobtool.worker.options import WorkerOptions

if TYPE_CHECKING:
    from jobtool.stop import Stop


def worker_options(
    chosen: Mapping[str, Any],
    stop: Stop,
    *,
    time_limit_seconds: float | None,
    grace_seconds: float | None,
    warn: Callable[[str], None],
    on_deadline: Callable[[Deadline, float], None] = lambda deadline, grace_seconds: None,
) -> WorkerOptions:
    """Return the options of a worker that drains before its time is up.

    The worker will be killed ``time_limit_seconds`` from now, else when the scheduler says in the
    environment. ``stop`` makes it drain ``grace_seconds`` before, by default 120 or a quarter of
    the time. ``on_deadline`` is called with the deadline and the grace if the time is limited.
    ``warn`` is called with a message about a variable that is ignored. ``chosen`` are the other
    options, by their names.
    """
    deadline = find_deadline(time_limit_seconds, os.environ, now=time.time(), warn=warn)
    drain_at = None
    if deadline is not None:
        grace_seconds = deadline.grace_seconds if grace_seconds is None else grace_seconds
        drain_at = time.monotonic() + deadline.seconds - grace_seconds
        stop.end_at(drain_at)
        on_deadline(deadline, grace_seconds)
    return WorkerOptions(stop=stop, drain_at=drain_at, **chosen)


def require_grace(
    grace_seconds: float | None,
    time_limit_seconds: float | None,
    *,
    grace_name: str,
    time_limit_name: str,
) -> None:
    """Raise ``UsageError``, with the names given, unless the grace leaves some of the time."""
    if grace_seconds is None or time_limit_seconds is None or grace_seconds < time_limit_seconds:
        return
    raise UsageError(
        f"{grace_name} {grace_seconds:g} leaves nothing of {time_limit_name} "
        f"{time_limit_seconds:g}s: expected a shorter grace or a longer time"
    )


def require_settings(**chosen: Any) -> None:
    """Raise ``UsageError`` for a value that ``[transfer]`` of joblist.toml can't have."""
    for name, value in chosen.items():
        try:
            typed.convert({name: value}, TransferSettings)
        except msgspec.ValidationError as error:
            text = misfit(error, TransferSettings, where="").lstrip(",: ")
            found = "" if "; found " in text else f"; found {value!r}"
            raise UsageError(text + found) from None


def require_threads(threads: int) -> None:
    """Raise ``UsageError`` unless the number of threads is from 1 to 256."""
    if threads is None:
        raise UsageError("threads: expected a whole number; found None")
    require_settings(threads=threads)


def require_seconds(**chosen: float | None) -> None:
    """Raise ``UsageError`` unless each is None or a number of seconds of at least 0."""
    for name, value in chosen.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is not None and not (is_number and value >= 0 and math.isfinite(value)):
            raise UsageError(f"{name}: expected a number of seconds, 0 or more; found {value!r}")
