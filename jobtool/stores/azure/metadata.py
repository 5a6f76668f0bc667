"""The attributes of a file, stored as metadata and headers of a blob.

Every blob has ``mtime`` in its metadata, in rclone's format for Azure (RFC 3339). The MD5 is the
blob's own ``Content-MD5``. The user's own metadata and headers are copied from store to store.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import msgspec

from jobtool.stores.store import Attributes, Note, within_64_bits
from jobtool.stores.times import as_rfc3339, time_in

if TYPE_CHECKING:
    from azure.storage.blob import BlobProperties

_SECOND_NS = 1_000_000_000

#: HTTP's names of the headers that a blob keeps, and the library's.
_HEADERS = {
    "Cache-Control": "cache_control",
    "Content-Disposition": "content_disposition",
    "Content-Encoding": "content_encoding",
    "Content-Language": "content_language",
    "Content-Type": "content_type",
}
_DEFAULT_TYPE = "application/octet-stream"
_PREFIX = "x-ms-meta-"
_MTIME = "mtime"
_FOLDER = "hdi_isfolder"

#: Names must be identifiers of C#, and names and values have 8 KiB. Source: Microsoft, "Setting and
#: retrieving properties and metadata for blobs".
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_VISIBLE = re.compile(r"[\x20-\x7e]*")
_MAX_BYTES = 8192


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """The metadata and headers of a file in a request. ``notes`` say what isn't included."""

    metadata: dict[str, str]
    headers: dict[str, Any]
    notes: tuple[Note, ...]

    @property
    def plain(self) -> dict[str, str] | None:
        """The headers of a plain request. None if more than the time is told.

        How the names of other metadata are sorted for a signature is the library's business.
        """
        if self.headers or len(self.metadata) > 1:
            return None
        return {_PREFIX + _MTIME: self.metadata[_MTIME]}


def told_of(attributes: Attributes) -> Told:
    """Return the metadata and headers of a request for a file with these attributes.

    Headers have the library's names.
    """
    metadata, notes = {_MTIME: as_rfc3339(attributes.mtime_ns)}, list(attributes.notes)
    if not attributes.headers and not attributes.metadata:
        return Told(metadata=metadata, headers={}, notes=tuple(notes))
    headers: dict[str, Any] = {}
    for name, value in attributes.headers:
        if name in _HEADERS and _VISIBLE.fullmatch(value):
            headers[_HEADERS[name]] = value
        else:
            notes.append(Note(name, "Azure can't keep it"))
    room = _MAX_BYTES - sum(len(name) + len(value) for name, value in metadata.items())
    for name, value in attributes.metadata:
        size = len(name) + len(value)
        if name.lower() in (_MTIME, _FOLDER):
            continue
        if not _IDENTIFIER.fullmatch(name):
            notes.append(Note(f"metadata {name}", "Azure allows letters, digits and _ in its name"))
        elif not _VISIBLE.fullmatch(value) or value != value.strip():
            notes.append(Note(f"metadata {name}", "it has characters that a request can't carry"))
        elif size > room:
            notes.append(Note(f"metadata {name}", "a blob has at most 8 KiB of metadata"))
        else:
            metadata[name] = value
            room -= size
    return Told(metadata=metadata, headers=headers, notes=tuple(notes))


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What the service says of a blob that is read.

    ``size`` is the whole blob's, ``modified_ns`` when the service wrote it, ``md5`` the one that
    the service holds. ``version`` is its version ID, where the account keeps versions. ``headers``
    have HTTP's names.
    """

    size: int
    modified_ns: int
    md5: str | None
    metadata: Mapping[str, str]
    headers: Mapping[str, str]
    etag: str | None
    version: str | None


def found_in(properties: BlobProperties) -> Found:
    """Return what the library tells of a blob."""
    settings: Any = properties.content_settings
    return Found(
        size=properties.size,
        modified_ns=modified_ns(properties),
        md5=md5_in(settings.content_md5),
        metadata=properties.metadata or {},
        headers={
            name: getattr(settings, attribute, None) or "" for name, attribute in _HEADERS.items()
        },
        etag=etag_of(properties.etag),
        version=getattr(properties, "version_id", None),
    )


def found_in_headers(headers: Mapping[str, str]) -> Found | None:
    """Return what the answer to a GET of a range tells of a blob. None if it isn't one of Azure."""
    told = {name.lower(): value for name, value in headers.items()}
    size = told.get("content-range", "").rpartition("/")[2]
    if not size.isdecimal() or "last-modified" not in told or "etag" not in told:
        return None
    modified = parsedate_to_datetime(told["last-modified"])
    return Found(
        size=int(size),
        modified_ns=within_64_bits(int(modified.timestamp()) * _SECOND_NS),
        md5=md5_in_base64(told.get("x-ms-blob-content-md5") or told.get("content-md5")),
        metadata={
            name[len(_PREFIX) :]: value
            for name, value in headers.items()
            if name.lower().startswith(_PREFIX)
        },
        headers={name: told.get(name.lower(), "") for name in _HEADERS},
        etag=etag_of(told["etag"]),
        version=told.get("x-ms-version-id"),
    )


def attributes_of(found: Found) -> Attributes:
    """Return the attributes of a blob."""
    metadata = found.metadata
    told = {name.lower(): value for name, value in metadata.items()}
    time_ns = time_in(told.get(_MTIME, ""))
    return Attributes(
        mtime_ns=found.modified_ns if time_ns is None else within_64_bits(time_ns),
        md5=found.md5,
        headers=tuple(
            (name, value)
            for name, value in found.headers.items()
            if value and (name, value) != ("Content-Type", _DEFAULT_TYPE)
        ),
        metadata=tuple(
            (name, value)
            for name, value in sorted(metadata.items())
            if name.lower() not in (_MTIME, _FOLDER)
        ),
    )


def modified_ns(found: BlobProperties) -> int:
    """Return when the service wrote a blob, in whole seconds as nanoseconds since 1970."""
    modified: datetime = found.last_modified
    return within_64_bits(int(modified.timestamp()) * _SECOND_NS)


def is_folder(metadata: Mapping[str, str] | None) -> bool:
    """Return True if a blob is a folder: of a hierarchical namespace, or a marker.

    Source: Microsoft, "Blob Storage APIs and Data Lake Storage Gen2", ``hdi_isfolder``.
    """
    return any(
        name.lower() == _FOLDER and value.lower() == "true"
        for name, value in (metadata or {}).items()
    )


def md5_in(found: bytes | bytearray | None) -> str | None:
    """Return an MD5 of the service in hex."""
    return bytes(found).hex() if found and len(found) == 16 else None


def md5_in_base64(text: str | None) -> str | None:
    """Return an MD5 of a header in hex."""
    try:
        return md5_in(base64.b64decode(text or "", validate=True))
    except ValueError:
        return None


def etag_of(value: str | None) -> str | None:
    """Return an ETag without its quotes."""
    return (value or "").strip('"') or None
