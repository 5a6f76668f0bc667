"""What the headers of an answer say of a file: size, time, ETag, MD5."""

from __future__ import annotations

import base64
import binascii
import re
from datetime import UTC
from email.utils import parsedate_to_datetime

import httpx
import msgspec

_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_UNSATISFIED = re.compile(r"bytes \*/(\d+)")

#: Digests of the whole file, whatever range was sent: Repr-Digest (RFC 9530, 3) and the older
#: Digest (RFC 3230, 4.3.2).
_REPR_MD5 = re.compile(r"(?:^|[,\s])md5=:([A-Za-z0-9+/=]+):", re.IGNORECASE)
_OLD_MD5 = re.compile(r"(?:^|[,\s])md5=([A-Za-z0-9+/=]+)", re.IGNORECASE)

#: Headers that describe the content, and travel with it to a store that keeps them.
_DESCRIBING = ("Content-Type", "Content-Encoding", "Content-Language", "Content-Disposition")

_SECOND_NS = 1_000_000_000


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer says of a file. ``size`` is None if it doesn't say it.

    ``start`` is the offset of the bytes that it holds. ``mtime_ns`` is 0 if it doesn't say a time.
    ``md5`` is that of the whole file in hex, as the server claims. ``headers`` are those that
    describe the content.
    """

    size: int | None
    start: int
    mtime_ns: int
    etag: str | None
    md5: str | None
    headers: tuple[tuple[str, str], ...] = ()


def told_by(answer: httpx.Response) -> Told:
    """Return what the headers of an answer with status 200, 206 or 416 say."""
    headers = answer.headers
    start, size = 0, _number(headers.get("Content-Length"))
    is_whole = answer.status_code == 200
    if not is_whole:
        match = _RANGE.match(headers.get("Content-Range", ""))
        empty = _UNSATISFIED.match(headers.get("Content-Range", ""))
        start = int(match[1]) if match else 0
        size = int(match[3]) if match and match[3] != "*" else None
        size = int(empty[1]) if empty else size
    return Told(
        size=size,
        start=start,
        mtime_ns=time_ns(headers.get("Last-Modified")) or 0,
        etag=headers.get("ETag", "").removeprefix("W/").strip('"') or None,
        md5=_claimed_md5(headers, is_whole=is_whole),
        headers=tuple((name, headers[name]) for name in _DESCRIBING if name in headers),
    )


def time_ns(text: object) -> int | None:
    """Return an HTTP date in nanoseconds since 1970, or None if it isn't one."""
    try:
        found = parsedate_to_datetime(str(text))
        aware = found if found.tzinfo else found.replace(tzinfo=UTC)
        return int(aware.timestamp()) * _SECOND_NS
    except (TypeError, ValueError, OverflowError):
        return None


def _claimed_md5(headers: httpx.Headers, *, is_whole: bool) -> str | None:
    """Return the MD5 of the whole file from the first header that has one."""
    for name, form in (("Repr-Digest", _REPR_MD5), ("Digest", _OLD_MD5)):
        match = form.search(headers.get(name, ""))
        if match and (md5 := _hex(match[1])):
            return md5
    if not is_whole:
        return None  # Content-MD5 may be that of the range (RFC 2616, 14.15)
    match = _REPR_MD5.search(headers.get("Content-Digest", ""))
    return _hex(match[1] if match else headers.get("Content-MD5", ""))


def _hex(text: str) -> str | None:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw.hex() if len(raw) == 16 else None


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else None
