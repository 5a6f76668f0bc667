"""What a worker may be told."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from jobtool.stop import Stop
from jobtool.transfer.retry import DEFAULT_PATIENCE_SECONDS
from jobtool.transfer.run import Policies

if TYPE_CHECKING:
    from jobtool.jobs.terms import Told
    from jobtool.worker.events import JobProgress

DEFAULT_THREADS = 16
DEFAULT_MAX_ATTEMPTS = 3


def _now() -> datetime:
    return datetime.now(UTC)


def _watch_nothing(progress: JobProgress) -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """``threads`` files at a time; at most ``max_jobs`` jobs, None for all.

    A job that fails in ways that may pass is tried ``max_attempts`` times in all; a store that
    doesn't answer is given ``patience_seconds``. ``stop``, once set, makes the worker finish the
    files and parts under way, hand its job back and end. ``drain_at`` is when that is going to
    happen for want of time, on the ``monotonic`` clock, None if never; no job is begun that would
    take longer. ``claims`` is their kind, None for the joblist's own. With ``wait`` the worker
    stays until nothing is ``ongoing``; without ``share`` it neither helps others with their jobs
    nor lets itself be helped.

    ``watch`` is told the progress several times a second. ``now`` and ``monotonic`` (seconds) are
    the clock; ``sleep`` waits between tries, by default in a way that ``stop`` interrupts.
    """

    threads: int = DEFAULT_THREADS
    part_bytes: int | None = None
    max_jobs: int | None = None
    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    patience_seconds: float = DEFAULT_PATIENCE_SECONDS
    policies: Policies = field(default_factory=Policies)
    stop: Stop = field(default_factory=Stop)
    drain_at: float | None = None
    claims: Told | None = None
    wait: bool = False
    share: bool = True
    watch: Callable[[JobProgress], None] = _watch_nothing
    now: Callable[[], datetime] = _now
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] | None = None
