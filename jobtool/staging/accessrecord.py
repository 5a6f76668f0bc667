"""Records of who needs which items where, and of what became of the files: a pure codec.

Each record is a JSON file of its own, which is written once and never changed. What is true now is
a fold over all of them (``jobtool.staging.holdings``). Records name the records that they are
about, so that no clock decides what came after what.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from jobtool import typed
from jobtool.errors import CatalogError, JobFileError
from jobtool.names import quote, unquote

#: The version of this format. Readers refuse a later one.
FORMAT = 1

#: A longer record isn't read.
MAX_RECORD_BYTES = 64 * 1024 * 1024


class RequestedItem(msgspec.Struct, frozen=True, kw_only=True):
    """An item of a request.

    ``url`` is the path or URL that the item gets. ``members`` are the patterns of the files that
    are needed, empty for all. ``source`` is where they come from.
    """

    item: str
    url: str
    site: str
    location: str
    source: str
    members: tuple[str, ...] = ()


class Requested(msgspec.Struct, frozen=True, kw_only=True, tag="requested"):
    """Somebody needs items until a time. ``who`` is the name of a user."""

    id: str
    who: str
    host: str
    at: datetime
    until: datetime
    items: tuple[RequestedItem, ...]


class Arrived(msgspec.Struct, frozen=True, kw_only=True, tag="arrived"):
    """A job has brought files of an item. ``receipts`` names their table beside the record.

    ``files`` is their number and ``bytes`` their size. ``members`` are as in a request.
    """

    id: str
    who: str
    host: str
    at: datetime
    item: str
    url: str
    site: str
    location: str
    source: str
    receipts: str
    files: int
    bytes: int
    members: tuple[str, ...] = ()


class Freeing(msgspec.Struct, frozen=True, kw_only=True, tag="freeing"):
    """The files of arrivals are about to be deleted.

    ``arrivals`` and ``accesses`` are IDs. ``evidence`` is the path or URL of the copy that was
    found to hold, and ``how`` says by what.
    """

    id: str
    who: str
    host: str
    at: datetime
    item: str
    url: str
    arrivals: tuple[str, ...]
    accesses: tuple[str, ...]
    evidence: str
    how: str


class Freed(msgspec.Struct, frozen=True, kw_only=True, tag="freed"):
    """They are deleted. ``kept`` names the first files that stay since they were changed.

    Or nothing was deleted and nothing will be, which ``called_off`` gives the reason for.
    """

    id: str
    who: str
    host: str
    at: datetime
    freeing: str
    removed: int = 0
    bytes: int = 0
    kept_files: int = 0
    kept: tuple[str, ...] = ()
    called_off: str = ""


class Ended(msgspec.Struct, frozen=True, kw_only=True, tag="ended"):
    """Accesses to one item have ended: these requests need it no more."""

    id: str
    who: str
    host: str
    at: datetime
    item: str
    url: str
    accesses: tuple[str, ...]


AccessRecord = Requested | Arrived | Freeing | Freed | Ended

_NAMES = ("item", "url", "source", "receipts", "evidence")
_NAME_LISTS = ("members", "kept")


class _Head(msgspec.Struct):
    format: int


def encode(record: AccessRecord) -> bytes:
    """Return a record as JSON."""
    values = _changed(msgspec.to_builtins(record), quote)
    return msgspec.json.encode({"format": FORMAT, **values}) + b"\n"


def decode(data: bytes | memoryview, *, where: str) -> AccessRecord:
    """Read a record. ``where`` is its path or URL for messages. Raises ``CatalogError``."""
    try:
        version = typed.decode(data, _Head).format
        if version != FORMAT:
            raise ValueError(
                f"expected format {FORMAT}; found {version}. A newer version of jobtool may have "
                "written it: upgrade"
            )
        values = _changed(typed.decode(data), unquote)
        found: AccessRecord = typed.convert(values, AccessRecord)
        for time in (found.at, getattr(found, "until", found.at)):
            if time.tzinfo is None:
                raise ValueError("expected times with a time zone; found one without")
    except (ValueError, TypeError, AttributeError, RecursionError, JobFileError) as error:
        raise CatalogError(
            f"{quote(where)} can't be read as an access record: {error}. Find out who wrote it, "
            "and move it away if it isn't one."
        ) from None
    return found


def in_utc(time: datetime) -> datetime:
    """Return a time in UTC, in whole seconds."""
    return time.astimezone(UTC).replace(microsecond=0)


def _changed(values: dict[str, Any], change: Any) -> dict[str, Any]:
    """Return a record's plain values with its names as text, or read again."""
    found = dict(values)
    for key in _NAMES:
        if key in found:
            found[key] = change(found[key])
    for key in _NAME_LISTS:
        if key in found:
            found[key] = [change(each) for each in found[key]]
    if "items" in found:
        found["items"] = [_changed(each, change) for each in found["items"]]
    return found
