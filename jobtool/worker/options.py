"""What a worker may be told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from jobtool.transfer.retry import DEFAULT_PATIENCE_SECONDS
from jobtool.transfer.run import Policies

if TYPE_CHECKING:
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
    files and parts under way, hand its job back and end. ``watch`` is told the progress several
    times a second. ``now`` and ``monotonic`` (seconds) are the clock; ``sleep`` waits between
    tries, by default in a way that ``stop`` interrupts.
    """

    threads: int = DEFAULT_THREADS
    part_bytes: int | None = None
    max_jobs: int | None = None
    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    patience_seconds: float = DEFAULT_PATIENCE_SECONDS
    policies: Policies = field(default_factory=Policies)
    stop: threading.Event = field(default_factory=threading.Event)
    watch: Callable[[JobProgress], None] = _watch_nothing
    now: Callable[[], datetime] = _now
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] | None = None
