"""Times in the past as users write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from jobtool.worker.duration import parse_duration


def parse_since(text: str, now: datetime) -> datetime:
    """Read a time in the past: a duration such as ``2h``, a date, or a date with a time.

    Dates are local unless they have an offset or ``Z``. Raises ``ValueError``.
    """
    try:
        found = now - timedelta(seconds=parse_duration(text))
    except ValueError:
        try:
            found = datetime.fromisoformat(text.strip()).astimezone(UTC)
        except (ValueError, OverflowError):
            raise ValueError(
                f"expected a duration such as 2h, 90m or 1d, or a date such as 2026-11-20 or "
                f"2026-11-20T14:30; found {text!r}"
            ) from None
    if found > now:
        raise ValueError(f"expected a time in the past; found {text!r}")
    return found
