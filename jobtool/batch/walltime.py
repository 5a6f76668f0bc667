"""Wall times as text."""

from __future__ import annotations

import re

from jobtool.errors import UsageError
from jobtool.names import quote

_TIME = re.compile(r"(?:([0-9]+)-)?([0-9]+):([0-5][0-9]):([0-5][0-9])")


def walltime_seconds(text: str) -> int:
    """Return the seconds of ``HH:MM:SS`` or ``D-HH:MM:SS``.

    Raises ``UsageError`` for anything else. Shorter forms are refused, because schedulers read them
    in different ways (``12:00`` is twelve minutes for Slurm).
    """
    match = _TIME.fullmatch(text)
    if match is None:
        raise UsageError(f"--time: expected HH:MM:SS or D-HH:MM:SS; found {quote(text)}")
    days, hours, minutes, seconds = (int(number or 0) for number in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def as_clock(seconds: int) -> str:
    """Return seconds as ``HH:MM:SS``, with hours beyond a day, since PBS has no days."""
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def as_units(seconds: int) -> str:
    """Return seconds as ``--time-limit`` takes them, such as ``11h30m``, without parts of 0."""
    parts = ((seconds // 3600, "h"), (seconds // 60 % 60, "m"), (seconds % 60, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"
