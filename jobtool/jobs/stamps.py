"""Times as job files hold them: in UTC, in whole seconds."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

_FORMAT = "%Y-%m-%dT%H:%M:%SZ"


def stamp_of(time: datetime) -> str:
    """Return a time as text, as in ``2026-11-20T14:31:00Z``."""
    return time.astimezone(UTC).strftime(_FORMAT)


@lru_cache(maxsize=64)  # many files of a job arrive in the same second
def time_of(stamp: str) -> datetime:
    """Return the time that a text stands for. Raises ``ValueError`` for another form of text."""
    is_in_form = len(stamp) == 20 and stamp[4::3] == "--T::Z"
    if not is_in_form or (found := datetime.fromisoformat(stamp)).tzinfo is None:
        raise ValueError(f"expected YYYY-MM-DDTHH:MM:SSZ; found {stamp!r}")
    return found
