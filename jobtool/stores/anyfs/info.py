"""What the records of fsspec's filesystems say of a file. Each author has other keys."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

#: The keys of the time of a change, the best first. ``created`` is all that ``memory://`` has.
_TIMES = (
    "mtime",
    "modified",
    "last_modified",
    "LastModified",
    "updated",
    "modifiedTime",
    "date_time",
    "created",
)

#: The keys of a word that changes with the content: an ETag, a hash, a checksum.
_VERSIONS = ("ETag", "etag", "sha", "md5Hash", "content_hash", "CRC", "blob_id", "generation")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def mtime_ns(info: Mapping[str, Any]) -> int:
    """Return the time of a file in nanoseconds since 1970, to the microsecond; 0 if unknown."""
    found = (_microseconds(info[key]) for key in _TIMES if info.get(key) is not None)
    return next((time for time in found if time is not None), 0) * 1000


def version(info: Mapping[str, Any]) -> str | None:
    """Return a word that changes with the file's content, or None."""
    return next((str(info[key]) for key in _VERSIONS if info.get(key) is not None), None)


def _microseconds(value: object) -> int | None:
    """Return a time of any form in microseconds since 1970. A time without a zone is in UTC."""
    try:
        if isinstance(value, (int, float)):
            return round(value * 1_000_000)
        if isinstance(value, tuple):  # of zipfile: year, month, day, hour, minute, second
            year, month, day, hour, minute, second = value
            value = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
        if isinstance(value, str):
            value = _parsed(value)
        if isinstance(value, datetime):
            aware = value if value.tzinfo else value.replace(tzinfo=UTC)
            passed = aware - _EPOCH
            return (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds
    except (ValueError, TypeError, OverflowError):
        return None
    return None


def _parsed(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return parsedate_to_datetime(text)
