"""Times as job files hold them: in UTC, in whole seconds."""

from __future__ import annotations

from datetime import UTC, datetime

_FORMAT = "%Y-%m-%dT%H:%M:%SZ"


def stamp_of(time: datetime) -> str:
    """Return a time as text, as in ``2026-11-20T14:31:00Z``."""
    return time.astimezone(UTC).strftime(_FORMAT)


def time_of(stamp: str) -> datetime:
    """Return the time that a text stands for. Raises ``ValueError``."""
    return datetime.strptime(stamp, _FORMAT).replace(tzinfo=UTC)
