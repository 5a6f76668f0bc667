"""A physical copy of an item, and which of two records of it counts."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args

import msgspec

from jobtool.errors import UsageError
from jobtool.names import quote
from jobtool.redact import redact

#: How an item lies at its URL: within a package, or open as files.
Form = Literal["package", "files"]
FORMS: tuple[Form, ...] = get_args(Form)

#: What was found of a copy. ``released`` means deleted on purpose.
State = Literal["present", "missing", "damaged", "released"]
STATES: tuple[State, ...] = get_args(State)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MOST = 2**63 - 1
_DIGEST = re.compile(r"[a-z0-9][a-z0-9-]*:[0-9a-f]{8,128}(-[0-9]+)?")


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one copy of an item. Its identity is ``(item, url)``.

    ``package`` is the name of the package that holds the item, or None. ``site`` and ``location``
    are names of sites.toml. ``url`` is that of the package's tar, or of the item's folder, and
    ``form`` says which. ``size`` is in bytes. ``digest`` is ``ALGORITHM:HEX``, such as
    ``md5:…``: of the package, or of the list of the item's files; None if unknown.
    ``verified_at`` is the time of the evidence for ``state``, with a time zone.
    """

    item: str
    package: str | None
    site: str
    location: str
    url: str
    form: Form
    size: int
    files: int
    digest: str | None
    verified_at: datetime
    state: State

    @property
    def identity(self) -> tuple[str, str]:
        """What all records of one copy have in common."""
        return self.item, self.url

    @property
    def place(self) -> str:
        """Return ``SITE.LOCATION``."""
        return f"{self.site}.{self.location}"


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A copy as a writer recorded it. ``recorded_at`` grows with each record of one writer."""

    copy: Copy
    recorded_at: datetime
    writer: str


def order_of(record: Record) -> tuple[object, ...]:
    """Return the key of a record: of those of one copy, the one with the greatest key counts.

    The time of the evidence decides, not the time of writing: a worker that was stopped and writes
    late doesn't undo what others have found since. Of records with the same time, one that says
    that the copy isn't usable counts: a copy wrongly missing costs a look, a copy wrongly present
    may cost the last one. The other values make the order total, so that any way of merging gives
    the same result.
    """
    copy = record.copy
    package, digest = copy.package, copy.digest
    return (
        microseconds(copy.verified_at),
        copy.state != "present",
        copy.state,
        microseconds(record.recorded_at),
        quote(record.writer),
        (package is not None, quote(package or "")),
        *(quote(name) for name in (copy.site, copy.location)),
        *(copy.form, copy.size, copy.files),
        (digest is not None, digest or ""),
    )


def microseconds(time: datetime) -> int:
    """Return a time in microseconds since 1970. It must have a time zone."""
    return (time - _EPOCH) // _MICROSECOND


def time_at(number: int) -> datetime:
    """Return the time of a number of microseconds since 1970, in UTC.

    Raises ``OverflowError`` outside the years 1 to 9999.
    """
    return _EPOCH + number * _MICROSECOND


def require_copy(copy: Copy) -> None:
    """Raise ``UsageError`` unless a copy can be recorded."""
    for name, value in (
        ("item", copy.item),
        ("site", copy.site),
        ("location", copy.location),
        ("url", copy.url),
        *((("package", copy.package),) if copy.package is not None else ()),
    ):
        if not isinstance(value, str) or not value:
            raise _unfit(copy, name, "text that isn't empty", value)
    for name, number in (("size", copy.size), ("files", copy.files)):
        if not isinstance(number, int) or not 0 <= number <= _MOST:
            raise _unfit(copy, name, f"a whole number from 0 to {_MOST}", number)
    if copy.form not in FORMS:
        raise _unfit(copy, "form", f"one of {', '.join(FORMS)}", copy.form)
    if copy.state not in STATES:
        raise _unfit(copy, "state", f"one of {', '.join(STATES)}", copy.state)
    if copy.digest is not None and not _DIGEST.fullmatch(copy.digest):
        raise _unfit(copy, "digest", "ALGORITHM:HEX, such as md5:…, or None", copy.digest)
    if not isinstance(copy.verified_at, datetime) or copy.verified_at.utcoffset() is None:
        raise _unfit(copy, "verified_at", "a datetime with a time zone", copy.verified_at)
    if redact(copy.url) != copy.url:
        raise UsageError(
            f"a copy of {quote(copy.item)}, url: expected a URL without a password or signature; "
            f"found {quote(redact(copy.url))}"
        )


def _unfit(copy: Copy, name: str, expected: str, found: object) -> UsageError:
    item = quote(copy.item) if isinstance(copy.item, str) else repr(copy.item)
    return UsageError(
        f"a copy of {item}, {name}: expected {expected}; found {redact(repr(found))[:100]}"
    )
