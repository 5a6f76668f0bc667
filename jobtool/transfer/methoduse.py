"""What came of a method in one attempt at a job."""

from __future__ import annotations

import msgspec

from jobtool.names import in_one_line

_MOST_REASON = 300


class MethodUse(msgspec.Struct, kw_only=True):
    """The result of one method: files proven, seconds that it ran, why it left files.

    ``log_path`` is the file for what its programs print, which need not exist.
    """

    name: str
    files: int = 0
    seconds: float = 0.0
    reason: str | None = None
    log_path: str | None = None


def in_short(text: str) -> str:
    """Return a reason in one line for the job's log."""
    return in_one_line(text, most=_MOST_REASON)
