"""The attributes of a file, stored as metadata of an object.

Every object has ``mtime`` in its metadata, as rclone writes it (RFC 3339). The service computes the
MD5 of an object, but not of a composed one. So that has ``md5chksum``, as objects of S3 have. The
user's own metadata and headers are copied from store to store.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from jobtool.stores.store import Attributes, Entry, Note, within_64_bits
from jobtool.stores.times import as_rfc3339, time_in

#: What is asked of objects, in requests to the JSON API.
FIELDS = (
    "name,size,generation,md5Hash,crc32c,timeCreated,metadata,contentType,contentEncoding,"
    "contentDisposition,contentLanguage,cacheControl"
)
LISTED_FIELDS = "name,size,generation,timeCreated"

#: HTTP's names of the headers that an object keeps, and the API's.
_HEADERS = {
    "Cache-Control": "cacheControl",
    "Content-Disposition": "contentDisposition",
    "Content-Encoding": "contentEncoding",
    "Content-Language": "contentLanguage",
    "Content-Type": "contentType",
}
_DEFAULT_TYPE = "application/octet-stream"
_PREFIX = "x-goog-meta-"
_MTIME, _MD5 = "mtime", "md5chksum"
_OURS = (_MTIME, _MD5)
#: The time of a file that gsutil and gcloud keep, in seconds.
_GSUTIL_MTIME = "goog-reserved-file-mtime"

#: A name is a part of a header's name when the object is read. Names and values together have 8
#: KiB. Source: Google, "Object metadata", custom metadata.
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)
_VISIBLE = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]*")
_MAX_BYTES = 8192

#: How far the number of a generation may be from the time of its writing.
_NEAR_NS = 60 * 1_000_000_000


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a request says of a file. ``notes`` say what isn't included."""

    resource: dict[str, Any]
    notes: tuple[Note, ...]


def told_of(attributes: Attributes, *, with_md5: bool) -> Told:
    """Return what a request says of a file with these attributes."""
    metadata, notes = {_MTIME: as_rfc3339(attributes.mtime_ns)}, list(attributes.notes)
    if with_md5 and attributes.md5 is not None:
        metadata[_MD5] = base64_of(attributes.md5)
    resource: dict[str, Any] = {"contentType": _DEFAULT_TYPE, "metadata": metadata}
    for name, value in attributes.headers:
        if name in _HEADERS and _VISIBLE.fullmatch(value):
            resource[_HEADERS[name]] = value
        else:
            notes.append(Note(name, "Google Cloud Storage can't keep it"))
    room = _MAX_BYTES - sum(len(name) + len(value) for name, value in metadata.items())
    for name, value in attributes.metadata:
        if name.lower() in _OURS:
            continue
        size = len(name) + len(value.encode("utf-8", "surrogatepass"))
        if not _NAME.fullmatch(name):
            notes.append(Note(f"metadata {name}", "its name can't be a part of a header's name"))
        elif not _VISIBLE.fullmatch(value):
            notes.append(Note(f"metadata {name}", "it has characters that a header can't carry"))
        elif size > room:
            notes.append(Note(f"metadata {name}", "an object has at most 8 KiB of metadata"))
        else:
            metadata[name] = value
            room -= size
    return Told(resource=resource, notes=tuple(notes))


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What the service says of an object that is there.

    ``md5`` is the one that the service computed; a composed object has none. ``written_ns`` is when
    this generation was written, 0 in the answer to a read. ``headers`` have HTTP's names.
    """

    size: int
    generation: str
    written_ns: int
    md5: str | None
    crc32c: str | None
    metadata: Mapping[str, str]
    headers: Mapping[str, str]

    def entry(self, path: str) -> Entry:
        """Return the object as the file ``path``."""
        return Entry(path, self.size, self.written_ns, self.generation)


def found_in(resource: Mapping[str, Any]) -> Found:
    """Return what a document of the JSON API says. Raises ``ValueError`` for another document."""
    try:
        return Found(
            size=int(resource["size"]),
            generation=str(resource["generation"]),
            written_ns=written_ns(resource),
            md5=md5_in(resource.get("md5Hash")),
            crc32c=resource.get("crc32c"),
            metadata=resource.get("metadata") or {},
            headers={name: resource.get(told) or "" for name, told in _HEADERS.items()},
        )
    except (KeyError, TypeError, AttributeError):
        raise ValueError("the answer doesn't describe an object") from None


def found_in_headers(headers: Mapping[str, str]) -> Found:
    """Return what the answer to a read of a range says of an object.

    Raises ``ValueError`` for another answer.
    """
    told = {name.lower(): value for name, value in headers.items()}
    size = told.get("content-range", "").rpartition("/")[2]
    if not size.isdecimal() or "x-goog-generation" not in told:
        raise ValueError("the answer doesn't describe an object")
    sums = dict(each.strip().partition("=")[::2] for each in told.get("x-goog-hash", "").split(","))
    return Found(
        size=int(size),
        generation=told["x-goog-generation"],
        written_ns=0,
        md5=md5_in(sums.get("md5")),
        crc32c=sums.get("crc32c"),
        metadata={
            name[len(_PREFIX) :]: value for name, value in told.items() if name.startswith(_PREFIX)
        },
        headers={name: told.get(name.lower(), "") for name in _HEADERS},
    )


def has_only_ours(found: Found) -> bool:
    """Return True if an object has no metadata of a user.

    Headers have no upper-case letters and no characters beyond ASCII, and metadata may have.
    """
    return all(name.lower() in (*_OURS, _GSUTIL_MTIME) for name in found.metadata)


def attributes_of(found: Found, entry: Entry) -> Attributes:
    """Return the attributes of an object, which was listed as ``entry``."""
    told = {name.lower(): value for name, value in found.metadata.items()}
    time_ns = time_in(told.get(_MTIME, "") or told.get(_GSUTIL_MTIME, ""))
    return Attributes(
        mtime_ns=entry.mtime_ns if time_ns is None else within_64_bits(time_ns),
        md5=found.md5 or md5_in(told.get(_MD5)),
        headers=tuple(
            (name, value)
            for name, value in found.headers.items()
            if value and (name, value) != ("Content-Type", _DEFAULT_TYPE)
        ),
        metadata=tuple(
            (name, value)
            for name, value in sorted(found.metadata.items())
            if name.lower() not in (*_OURS, _GSUTIL_MTIME)
        ),
    )


def written_ns(resource: Mapping[str, Any]) -> int:
    """Return when a generation was written, in nanoseconds since 1970.

    The service numbers generations by the microseconds since 1970. Where that is so, the number is
    the time, so that ``generation_of`` can tell one by the other.
    """
    created_ns = within_64_bits(time_in(str(resource.get("timeCreated", ""))) or 0)
    number = str(resource["generation"])
    counted_ns = int(number) * 1000 if number.isdecimal() else 0
    return counted_ns if abs(counted_ns - created_ns) < _NEAR_NS else created_ns


def generation_of(entry: Entry) -> str:
    """Return the generation that a listed object has, or may have if only its time is known."""
    return entry.etag or str(entry.mtime_ns // 1000)


def base64_of(md5: str) -> str:
    """Return an MD5 in hex as base64."""
    return base64.b64encode(bytes.fromhex(md5)).decode()


def md5_in(text: str | None) -> str | None:
    """Return an MD5 in base64 as hex, or None for other text."""
    try:
        found = base64.b64decode(text or "", validate=True)
    except ValueError:
        return None
    return found.hex() if len(found) == 16 else None
