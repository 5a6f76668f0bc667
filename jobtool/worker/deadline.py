"""The time at which a worker will be killed because its time limit is reached."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Mapping

import msgspec

from jobtool.names import quote
from jobtool.worker.duration import LONGEST_SECONDS

DEFAULT_GRACE_SECONDS = 120.0

#: A scheduler's number. A longer one can't be a time.
_NUMBER = re.compile(r"[0-9]{1,18}")


class Deadline(msgspec.Struct, frozen=True, kw_only=True):
    """When the worker will be killed: ``seconds`` from now, according to ``source``."""

    seconds: float
    source: str

    @property
    def grace_seconds(self) -> float:
        """The seconds of that time to reserve for draining by default."""
        return min(DEFAULT_GRACE_SECONDS, max(self.seconds, 0) / 4)


def find_deadline(
    time_limit_seconds: float | None,
    environ: Mapping[str, str],
    *,
    now: float,
    warn: Callable[[str], None] = lambda text: None,
) -> Deadline | None:
    """Return when the worker will be killed, or None if that is unknown.

    ``now`` is in seconds since 1970. ``time_limit_seconds`` counts from now. It takes precedence
    over the scheduler's variables: Slurm's ``SLURM_JOB_END_TIME`` (seconds since 1970) and Torque's
    ``PBS_WALLTIME`` (seconds, counted from about when the batch script began, or from now if its
    shell isn't visible, as inside a container). OpenPBS, LSF and SGE set no such variable; they
    send signals before the end if asked to.

    ``warn`` is called with a message about a variable that is ignored: it isn't a number, or its
    end is in the past or more than ten years ahead. A worker that is still running hasn't reached
    its end. If it believed so, it would be started again and again without doing any work.
    """
    if time_limit_seconds is not None:
        return Deadline(seconds=time_limit_seconds, source="--time-limit")
    variables: dict[str, Callable[[int], float]] = {
        "SLURM_JOB_END_TIME": lambda end: end - now,
        "PBS_WALLTIME": lambda wall_seconds: wall_seconds - _session_seconds(),
    }
    for name, seconds_until in variables.items():
        text = environ.get(name, "").strip()
        if not text:
            continue
        if not _NUMBER.fullmatch(text):
            warn(f"{name} is ignored: expected a number of seconds; found {quote(text[:40])}")
            continue
        with contextlib.suppress(ValueError, OSError):
            seconds = seconds_until(int(text))
            if 0 < seconds <= LONGEST_SECONDS:
                return Deadline(seconds=seconds, source=name)
            side = "in the past" if seconds <= 0 else "more than ten years ahead"
            warn(f"{name} is ignored: expected an end in the future; found {text}, which is {side}")
    return None


def _session_seconds() -> float:
    """Return the age of this session's leader, a batch script's shell; 0 if it isn't visible.

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
