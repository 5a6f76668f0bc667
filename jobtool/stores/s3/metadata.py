"""The attributes of a file, stored as metadata or headers of an object.

Every object has ``mtime`` (in seconds) in its metadata. It has ``md5chksum`` (base64), too, unless
it is sent in parts and ``whole_md5`` is ``receipt``. Both have rclone's format, so that ``rclone
check`` can audit the object. The user's own metadata and headers are copied from bucket to bucket.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from jobtool.errors import FileError
from jobtool.stores.store import Attributes, Note, within_64_bits

T = TypeVar("T")

_MD5_BYTES = 16
_MTIME = re.compile(r"(-?)(\d{1,30})(?:\.(\d{1,9})\d*)?", re.ASCII)

#: S3's system-defined metadata that a client may set. boto3's names have no dashes.
_HEADERS = (
    "Cache-Control",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Language",
    "Content-Type",
)
_OURS = ("mtime", "md5chksum")

#: The characters that HTTP allows in a name. Source: RFC 9110, 5.6.2, "token".
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_VISIBLE = re.compile(r"[\t\x20-\x7e]*")

#: Names of metadata that obstore treats as headers.
_NOT_FOR_OBSTORE = frozenset({*(name.lower() for name in _HEADERS), "storage-class", "expires"})

#: The maximum size of an object's user metadata, names and values, in bytes. Source: AWS, "Working
#: with object metadata". MinIO and others also count the prefix of each name in a request.
_MAX_METADATA_BYTES = 2048
_PREFIX = "x-amz-meta-"


def in_whole_seconds(time: datetime) -> int:
    """Return a time in nanoseconds since 1970, without its fraction of a second."""
    # Listings have milliseconds, answers to GET and HEAD whole seconds. Both must compare equal.
    return within_64_bits(int(time.timestamp()) * 1_000_000_000)


def condition_of(attributes: Attributes) -> dict[str, str]:
    """Return the condition of a write request: none, or that no object exists."""
    return {} if attributes.may_replace else {"IfNoneMatch": "*"}


def etag_of(value: str | None) -> str | None:
    """Return an ETag without the quotes that servers put around it."""
    return (value or "").strip('"') or None  # unchanged: some servers' ETags aren't hexadecimal


def base64_of(md5: str) -> str:
    """Return an MD5 in hex as base64, for ``Content-MD5`` and ``md5chksum``."""
    return base64.b64encode(bytes.fromhex(md5)).decode()


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """The ``metadata`` and ``headers`` of a file in a request, by their names in HTTP.

    ``notes`` say which attributes aren't included, and why.
    """

    metadata: dict[str, str]
    headers: dict[str, str]
    notes: tuple[Note, ...]

    @property
    def for_boto3(self) -> dict[str, Any]:
        """The arguments for boto3."""
        headers = {name.replace("-", ""): value for name, value in self.headers.items()}
        return {"Metadata": self.metadata, **headers}

    @property
    def for_obstore(self) -> dict[str, str] | None:
        """The attributes for obstore, or None if it would treat metadata as headers."""
        if not _NOT_FOR_OBSTORE.isdisjoint(self.metadata):
            return None
        return {**self.headers, **self.metadata}


def told_of(attributes: Attributes) -> Told:
    """Return the metadata and headers of a request for a file with these attributes."""
    metadata, notes = _our_metadata(attributes), [*attributes.notes]
    headers = {}
    for name, value in attributes.headers:
        if _VISIBLE.fullmatch(value):
            headers[name] = value
        else:
            notes.append(Note(name, "it has characters that a request can't carry"))
    room = _MAX_METADATA_BYTES - _size_of(metadata) if attributes.metadata else 0
    for name, value in attributes.metadata:
        if name in _OURS:
            continue
        sent = _in_ascii(value)
        size = _size_of({name: sent})
        if not _TOKEN.fullmatch(name):
            notes.append(Note(f"metadata {name}", "its name can't be sent"))
        elif size > room:
            notes.append(Note(f"metadata {name}", "an object has at most 2 KB of metadata"))
        else:
            metadata[name] = sent
            room -= size
    return Told(metadata=metadata, headers=headers, notes=tuple(notes))


def telling(attributes: Attributes, send: Callable[[Told], T]) -> tuple[T, tuple[Note, ...]]:
    """Send a request with a file's attributes. Return its answer and notes of what it left out.

    Servers have different limits on metadata. If one refuses the request because of its size, it
    is sent again without the user's own metadata.
    """
    told = told_of(attributes)
    try:
        return send(told), told.notes
    except FileError as error:
        if "MetadataTooLarge" not in str(error) or not attributes.metadata:
            raise
    note = Note("metadata", "the server's limit is lower; the user's own metadata was left out")
    told = told_of(replace(attributes, metadata=(), notes=(*attributes.notes, note)))
    return send(told), told.notes


def _our_metadata(attributes: Attributes) -> dict[str, str]:
    seconds, rest = divmod(abs(attributes.mtime_ns), 1_000_000_000)
    sign = "-" if attributes.mtime_ns < 0 else ""
    metadata = {"mtime": f"{sign}{seconds}.{rest:09d}"}
    if attributes.md5 is not None:
        metadata["md5chksum"] = base64_of(attributes.md5)
    return metadata


def _size_of(metadata: dict[str, str]) -> int:
    return sum(len(_PREFIX + name + value) for name, value in metadata.items())


def _in_ascii(value: str) -> str:
    """Return a value for a header: an encoded word (RFC 2047) if it isn't ASCII.

    S3 itself returns it in this form.
    """
    if _VISIBLE.fullmatch(value):
        return value
    return f"=?UTF-8?B?{base64.b64encode(value.encode('utf-8', 'surrogateescape')).decode()}?="


def told_by_boto3(answer: dict[str, Any]) -> dict[str, str]:
    """Return the metadata, with names in lower case, and headers of an answer to boto3."""
    told = {name.lower(): _as_utf8(value) for name, value in answer.get("Metadata", {}).items()}
    for name in _HEADERS:
        value = answer.get(name.replace("-", ""))
        if value:
            told[name] = _as_utf8(value)
    return told


def _as_utf8(value: str) -> str:
    # Python reads headers as Latin-1, but clients that send more than ASCII send UTF-8.
    with contextlib.suppress(UnicodeError):
        return value.encode("latin-1").decode()
    return value


def attributes_of(told: dict[str, str], mtime_ns: int) -> Attributes:
    """Return the attributes in metadata and headers. ``mtime_ns`` is used if they have no time.

    Headers are spelt as in HTTP, such as ``Content-Type``. Names of metadata are in lower case.
    """
    notes: tuple[Note, ...] = ()
    headers: list[tuple[str, str]] = []
    metadata: list[tuple[str, str]] = []
    md5 = None
    for name in sorted(told):
        value = told[name]
        if name == "mtime":
            found_ns = time_of(told)
            if found_ns is not None:
                mtime_ns = within_64_bits(found_ns)
                if mtime_ns != found_ns:
                    notes = (Note("times", "64 bits can't hold the time in the metadata"),)
        elif name == "md5chksum":
            md5 = _md5_in(value)
        elif name not in _HEADERS:
            metadata.append((name, value))
        elif kept := _kept_of(name, value):
            headers.append((name, kept))
    return Attributes(
        mtime_ns=mtime_ns,
        md5=md5,
        headers=tuple(headers),
        metadata=tuple(metadata),
        notes=notes,
    )


def _md5_in(value: str) -> str | None:
    """Return an MD5 in base64 in hex; None for anything else."""
    try:
        found = binascii.a2b_base64(value, strict_mode=True)
    except ValueError:
        return None
    return found.hex() if len(found) == _MD5_BYTES else None


def time_of(told: dict[str, str]) -> int | None:
    """Return the time in metadata in nanoseconds since 1970; None if there is none."""
    match = _MTIME.fullmatch(told.get("mtime", ""))
    if match is None:
        return None
    sign, seconds, rest = match.groups(default="")
    return int(f"{sign}{seconds}{rest.ljust(9, '0')}")


def _kept_of(name: str, value: str) -> str:
    """Return what counts of the value of a header."""
    if name != "Content-Encoding":
        return value
    # The encoding of a request's body, which some servers keep as the content's.
    return ", ".join(part for part in map(str.strip, value.split(",")) if part != "aws-chunked")
