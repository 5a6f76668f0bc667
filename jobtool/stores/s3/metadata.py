"""How the metadata and the headers of an object tell the attributes of a file.

Every object carries ``mtime`` (seconds, as rclone writes it) and ``md5chksum`` (base64, likewise)
in its metadata, so that ``rclone check`` can audit it. What an object's owner has said of it, in
metadata and in headers, goes with it from bucket to bucket.
"""

from __future__ import annotations

import base64
import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

from jobtool.errors import FileError
from jobtool.stores.store import Attributes, Note, within_64_bits

T = TypeVar("T")

_MD5 = re.compile(r"[0-9a-f]{32}")
_MTIME = re.compile(r"(-?)(\d{1,30})(?:\.(\d{1,9})\d*)?", re.ASCII)

#: What S3 calls system-defined metadata and lets a client set; boto3's names have no dashes.
_HEADERS = (
    "Cache-Control",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Language",
    "Content-Type",
)
_OURS = ("mtime", "md5chksum")

#: What HTTP allows in a name. Source: RFC 9110, 5.6.2, "token".
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_VISIBLE = re.compile(r"[\t\x20-\x7e]*")

#: Names of metadata that obstore takes for headers.
_NOT_FOR_OBSTORE = frozenset({*(name.lower() for name in _HEADERS), "storage-class", "expires"})

#: What an object's own metadata may have, names and values. Source: AWS, "Working with object
#: metadata". MinIO and others count what stands before each name in a request, too.
_MAX_METADATA_BYTES = 2048
_PREFIX = "x-amz-meta-"


def in_whole_seconds(time: datetime) -> int:
    """Return a time in nanoseconds since 1970, without its fraction of a second."""
    # Listings tell milliseconds, answers to GET and HEAD whole seconds; both must compare.
    return within_64_bits(int(time.timestamp()) * 1_000_000_000)


def condition_of(attributes: Attributes) -> dict[str, str]:
    """Return the condition under which a request writes: none, or that nothing is there."""
    return {} if attributes.may_replace else {"IfNoneMatch": "*"}


def etag_of(value: str | None) -> str | None:
    """Return an ETag without the quotes that servers put around it."""
    return (value or "").strip('"') or None  # as it came: some servers' are no hexadecimal


def base64_of(md5: str) -> str:
    """Return an MD5 in hex as ``Content-MD5`` and ``md5chksum`` have it."""
    return base64.b64encode(bytes.fromhex(md5)).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a request tells of a file: its ``metadata`` and ``headers``, by their names in HTTP.

    ``notes`` say what of the attributes it doesn't tell, and why.
    """

    metadata: dict[str, str]
    headers: dict[str, str]
    notes: tuple[Note, ...]

    @property
    def for_boto3(self) -> dict[str, Any]:
        """The arguments that boto3 takes."""
        headers = {name.replace("-", ""): value for name, value in self.headers.items()}
        return {"Metadata": self.metadata, **headers}

    @property
    def for_obstore(self) -> dict[str, str] | None:
        """The attributes that obstore takes; None if it would take metadata for headers."""
        if not _NOT_FOR_OBSTORE.isdisjoint(self.metadata):
            return None
        return {**self.headers, **self.metadata}


def told_of(attributes: Attributes) -> Told:
    """Return what a request tells of a file with these attributes."""
    metadata, notes = _our_metadata(attributes), [*attributes.notes]
    headers = {}
    for name, value in attributes.headers:
        if _VISIBLE.fullmatch(value):
            headers[name] = value
        else:
            notes.append(Note(name, "it has characters that a request can't carry"))
    room = _MAX_METADATA_BYTES - _size_of(metadata)
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
    """Send a request that tells a file's attributes; return its answer and what it didn't tell.

    Servers count differently what metadata are too large: then it is sent without the user's own.
    """
    told = told_of(attributes)
    try:
        return send(told), told.notes
    except FileError as error:
        if "MetadataTooLarge" not in str(error) or not attributes.metadata:
            raise
    note = Note("metadata", "the server takes less; the object has none of its own")
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
    """Return a value as a header carries it: what isn't ASCII as an encoded word of RFC 2047.

    That is how S3 itself returns it.
    """
    if _VISIBLE.fullmatch(value):
        return value
    return f"=?UTF-8?B?{base64.b64encode(value.encode('utf-8', 'surrogateescape')).decode()}?="


def told_by_boto3(answer: dict[str, Any]) -> dict[str, str]:
    """Return what an answer to boto3 tells: metadata, in lower case, and headers."""
    told = {name.lower(): _as_utf8(value) for name, value in answer.get("Metadata", {}).items()}
    for name in _HEADERS:
        value = answer.get(name.replace("-", ""))
        if value:
            told[name] = _as_utf8(value)
    return told


def _as_utf8(value: str) -> str:
    # Python reads headers as Latin-1; who sends more than ASCII means UTF-8.
    with contextlib.suppress(UnicodeError):
        return value.encode("latin-1").decode()
    return value


def attributes_of(told: dict[str, str], mtime_ns: int) -> Attributes:
    """Return what metadata and headers tell; ``mtime_ns`` counts where they tell no time.

    Headers are written as in HTTP, as in ``Content-Type``; names of metadata are in lower case.
    """
    notes: list[Note] = []
    if match := _MTIME.fullmatch(told.get("mtime", "")):
        sign, seconds, rest = match.groups(default="")
        found_ns = int(f"{sign}{seconds}{rest.ljust(9, '0')}")
        mtime_ns = within_64_bits(found_ns)
        if mtime_ns != found_ns:
            notes.append(Note("times", "64 bits don't hold what the metadata say"))
    try:
        md5: str | None = base64.b64decode(told.get("md5chksum", ""), validate=True).hex()
    except ValueError:
        md5 = None
    return Attributes(
        mtime_ns=mtime_ns,
        md5=md5 if md5 and _MD5.fullmatch(md5) else None,
        headers=tuple(_headers_of(told)),
        metadata=tuple(
            (name, told[name]) for name in sorted(told) if name not in (*_HEADERS, *_OURS)
        ),
        notes=tuple(notes),
    )


def _headers_of(told: dict[str, str]) -> Iterator[tuple[str, str]]:
    for name in _HEADERS:
        value = told.get(name, "")
        if name == "Content-Encoding":
            # How a request's body was sent; some servers keep it as if it were the content's.
            kept = [part for part in map(str.strip, value.split(",")) if part != "aws-chunked"]
            value = ", ".join(kept)
        if value:
            yield name, value
