"""Records of deletions: what a job's files were proven by, where they went, when they were removed.

A file goes in two steps. It is moved to a trash folder after an ``IntentRecord``, and removed from
there, days later, after a ``RemovalRecord``. Each record is durable before what it announces.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import msgspec

from jobtool import typed
from jobtool.names import quote, unquote

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Number = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_MD5 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]


class Evidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was found at a required destination.

    ``size`` in bytes and ``md5`` in hex are those of the bytes that lie at ``url``. ``verified_by``
    says how they were proven, in the words of receipts. ``holds`` says what of the file lies there:
    ``file`` itself, ``compressed``, a ``package`` that it is or that it is a member of, or the
    ``members`` of the package as files below ``url``; then ``size`` is that of all members, and
    ``md5`` that of the package's index. ``looked_at`` is
    in UTC. For a compressed file ``form`` is its compression and ``content_size`` the size of its
    content in bytes.
    """

    url: str
    size: _Count
    md5: _MD5
    verified_by: str
    looked_at: str
    holds: str = "file"
    etag: str | None = None
    form: str | None = None
    content_size: _Count | None = None


class IntentRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="intent"):
    """A file is about to be moved to the trash.

    ``path`` and ``trashed_to`` are absolute paths or URLs. ``size`` is in bytes, ``mtime_ns`` in
    nanoseconds since 1970, ``md5`` that of the bytes that were read in this pass. ``root`` is the
    place that the file is removed from, ``trash`` the folder of this release in the trash. If the
    release ``is_whole``, all its files go or none. A file that ``is_extra`` lies at the job's
    destination, and its source is gone: there is no evidence of other copies.
    """

    path: str
    size: _Count
    mtime_ns: _Number
    md5: _MD5
    evidence: tuple[Evidence, ...]
    root: str
    trash: str
    trashed_to: str
    at: str
    is_whole: bool = False
    is_extra: bool = False


class TrashedRecord(msgspec.Struct, frozen=True, kw_only=True, tag="trashed"):
    """A file is in the trash."""

    path: str
    trashed_to: str
    at: str


class ReturnedRecord(msgspec.Struct, frozen=True, kw_only=True, tag="returned"):
    """A file isn't in the trash: it stayed where it was, or was put back there."""

    path: str
    trashed_to: str
    at: str
    reason: str


class RemovalRecord(msgspec.Struct, frozen=True, kw_only=True, tag="removal"):
    """A file is about to be removed from the trash. ``evidence`` was looked at anew."""

    path: str
    trashed_to: str
    at: str
    evidence: tuple[Evidence, ...]


class RemovedRecord(msgspec.Struct, frozen=True, kw_only=True, tag="removed"):
    """A file was removed from the trash."""

    path: str
    trashed_to: str
    at: str


DeletionRecord = IntentRecord | TrashedRecord | ReturnedRecord | RemovalRecord | RemovedRecord

R = TypeVar("R", bound=msgspec.Struct)

_NAMES = ("path", "trashed_to", "root", "trash", "url")

_encoder = msgspec.json.Encoder()


def encode_deletion(record: DeletionRecord) -> bytes:
    """Return a record as a line of JSON, with its newline."""
    return _encoder.encode(_each_name(record, quote)) + b"\n"


def decode_deletion(line: bytes) -> DeletionRecord:
    """Read a line. Raises ``msgspec.DecodeError``, ``JobFileError`` or ``RecursionError``."""
    record: DeletionRecord = typed.decode(line, DeletionRecord)
    return _each_name(record, unquote)


def _each_name(record: R, change: Callable[[str], str]) -> R:
    changed: dict[str, Any] = {
        name: change(getattr(record, name)) for name in _NAMES if name in record.__struct_fields__
    }
    if "evidence" in record.__struct_fields__:
        found: tuple[Evidence, ...] = getattr(record, "evidence")  # noqa: B009 - of some records
        changed["evidence"] = tuple(_each_name(one, change) for one in found)
    return msgspec.structs.replace(record, **changed)
