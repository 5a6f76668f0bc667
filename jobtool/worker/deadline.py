"""When the time is up, as a worker was told or the scheduler's environment says; what fits in."""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from jobtool.names import quote

DEFAULT_GRACE_SECONDS = 120.0

_LONGEST_SECONDS = 10 * 365 * 86400

#: A scheduler's number: more digits are no time.
_NUMBER = re.compile(r"[0-9]{1,18}")

_UNIT_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_BY_UNITS = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_BY_COLONS = re.compile(r"(?:(\d+)-)?(\d+):(\d{1,2}):(\d{1,2})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """When the worker will be ended: ``seconds`` from now, and who says so."""

    seconds: float
    source: str

    @property
    def grace_seconds(self) -> float:
        """How much of that to keep for draining, unless somebody knows better."""
        return min(DEFAULT_GRACE_SECONDS, max(self.seconds, 0) / 4)


class Pace:
    """How fast a worker is, and what it would get done in time.

    ``drain_at`` is when nothing may be under way any more, on the ``monotonic`` clock in seconds,
    None if the time isn't limited.
    """

    def __init__(self, drain_at: float | None, monotonic: Callable[[], float]) -> None:
        #: How long the shortest job took, 0 before the first is done.
        self.shortest_seconds = 0.0
        self._drain_at = drain_at
        self._monotonic = monotonic
        self._seconds = 0.0
        self._files = self._bytes = 0

    def note(self, seconds: float, *, files: int, size_bytes: int) -> None:
        """Take note of a job that is done, and of how much of it wasn't done before."""
        self.shortest_seconds = min(seconds, self.shortest_seconds or seconds)
        self._seconds += seconds
        self._files += files
        self._bytes += size_bytes

    @property
    def seconds_left(self) -> float:
        """How much time is left for jobs; negative once it is over."""
        return math.inf if self._drain_at is None else self._drain_at - self._monotonic()

    @property
    def is_enough_for_another(self) -> bool:
        """Whether some job like those so far would be done; the first of all is always begun."""
        return not self._seconds or self.shortest_seconds <= self.seconds_left

    def seconds_for(self, *, files: int, size_bytes: int) -> float:
        """Return how long so much would take at the least, at the rate so far; 0 if nobody knows.

        By files or by bytes, whichever is shorter. Each takes all time so far for its own, so that
        a job of other files than those before may take less than the longer says. In doubt it is
        begun: nothing that was sent is lost.
        """
        by_files = files * self._seconds / self._files if self._files else 0.0
        by_bytes = size_bytes * self._seconds / self._bytes if self._bytes else 0.0
        return min(by_files, by_bytes)


def parse_duration(text: str) -> float:
    """Return a duration in seconds.

    It is written as ``11h30m``, ``90m``, ``45s``, ``1d``, ``12:00:00`` or ``1-12:00:00``. A bare
    number is refused, since schedulers differ in its unit, and so is no time at all. Raises
    ``ValueError``.
    """
    text = text.strip().lower()
    by_units = _BY_UNITS.fullmatch(text)
    by_colons = _BY_COLONS.fullmatch(text)
    if text and by_units is not None:
        numbers = by_units.groups()
    elif by_colons is not None:
        numbers = by_colons.groups()
    else:
        raise ValueError(
            f"expected a duration such as 11h30m, 45m, 90s, 12:00:00 or 1-12:00:00; found {text!r}"
        )
    scale = _UNIT_SECONDS.values()
    seconds = sum(int(number or 0) * unit for number, unit in zip(numbers, scale, strict=True))
    if not seconds:
        raise ValueError(f"expected a duration above 0; found {text!r}")
    if seconds > _LONGEST_SECONDS:
        raise ValueError(f"expected a duration of at most ten years; found {text!r}")
    return float(seconds)


def find_deadline(
    time_limit_seconds: float | None,
    environ: Mapping[str, str],
    *,
    now: float,
    warn: Callable[[str], None] = lambda text: None,
) -> Deadline | None:
    """Return when the worker will be ended, None if nobody says.

    ``now`` is in seconds since 1970. What the worker was told counts from now and goes before the
    scheduler's: Slurm's ``SLURM_JOB_END_TIME`` (seconds since 1970) and Torque's ``PBS_WALLTIME``
    (seconds, from about when the batch script began, or from now where its shell can't be seen, as
    from inside a container). OpenPBS, LSF and SGE tell no process;
    they send signals before the end if asked to.

    A scheduler's variable that is no number, lies in the past or more than ten years ahead is
    ignored, and told to ``warn``: a worker that still runs hasn't reached its end, and one that
    believed it would be started again and again without doing anything.
    """
    if time_limit_seconds is not None:
        return Deadline(seconds=time_limit_seconds, source="--time-limit")
    told: dict[str, Callable[[int], float]] = {
        "SLURM_JOB_END_TIME": lambda end: end - now,
        "PBS_WALLTIME": lambda wall_seconds: wall_seconds - _session_seconds(),
    }
    for name, seconds_until in told.items():
        text = environ.get(name, "").strip()
        if not text:
            continue
        if not _NUMBER.fullmatch(text):
            warn(f"{name} is ignored: expected a number of seconds; found {quote(text[:40])}")
            continue
        with contextlib.suppress(ValueError, OSError):
            seconds = seconds_until(int(text))
            if 0 < seconds <= _LONGEST_SECONDS:
                return Deadline(seconds=seconds, source=name)
            side = "over already" if seconds <= 0 else "more than ten years ahead"
            warn(f"{name} is ignored: expected an end to come; found {text}, which is {side}")
    return None


def _session_seconds() -> float:
    """Return the age of this session's leader, a batch script's shell; 0 if it can't be seen.

    Inside a container, the leader may be a process outside.
    """
    try:
        with open(f"/proc/{os.getsid(0)}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return 0.0
    # proc_pid_stat(5): the start time is the 22nd field, in clock ticks since boot.
    with open("/proc/uptime", "rb") as file:
        uptime_seconds = float(file.read().split()[0])
    return uptime_seconds - int(fields[19]) / os.sysconf("SC_CLK_TCK")
