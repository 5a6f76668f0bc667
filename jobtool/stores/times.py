"""Times in metadata of objects, as rclone writes them for its stores."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_SECOND_NS = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(Z|[+-]\d\d:\d\d)", re.ASCII
)
_SECONDS = re.compile(r"(-?)(\d{1,30})(?:\.(\d{1,9})\d*)?", re.ASCII)


def as_rfc3339(time_ns: int) -> str:
    """Return a time in nanoseconds since 1970 as text: ``2023-11-14T22:13:20.123456789Z``."""
    seconds, rest = divmod(time_ns, _SECOND_NS)
    moment = _EPOCH + timedelta(seconds=seconds)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def time_in(text: str) -> int | None:
    """Return the time of a text in nanoseconds since 1970, or None if it is none.

    The text is in RFC 3339, or the seconds since 1970.
    """
    match = _SECONDS.fullmatch(text)
    if match is not None:
        sign, seconds, fraction = match.groups(default="")
        return int(f"{sign}{seconds}{fraction.ljust(9, '0')}")
    match = _RFC3339.fullmatch(text)
    if match is None:
        return None
    moment, fraction, zone = match.groups(default="")
    try:
        whole = datetime.fromisoformat(moment + zone.replace("Z", "+00:00"))
    except ValueError:
        return None
    since = whole - _EPOCH
    return (since.days * 86400 + since.seconds) * _SECOND_NS + int(fraction.ljust(9, "0"))
