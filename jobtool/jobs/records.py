"""Records of what happened to a job's files. A receipt is a record that proves an arrival."""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec

from jobtool.jobs.forms import ENDINGS, planned_path
from jobtool.jobs.stamps import time_of
from jobtool.names import quote, unquote

R = TypeVar("R", bound="Record")

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Number = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Attempt = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
_Positive = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
_MD5 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]


class Receipt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="file"):
    """Proof that one file has arrived.

    ``src_path`` and ``dst_path`` are absolute paths or URLs, written as in job files. ``size`` is
    in bytes, ``mtime_ns`` the source's modification time in nanoseconds since 1970, both as listed
    before the copy. The hash sums are MD5 in hex of the whole file, of what was read and of what
    the destination was proven to hold; ``verified_by`` says how: ``etag-md5`` (the store's own
    digest), ``multipart-etag`` (the store's digests of all parts), ``read-back``. Both are None
    if no byte of the file was read and its MD5 isn't known; then ``checksum`` is what the services
    of both sides said of it, as ``ALGORITHM:HEX``. ``etag`` is the
    object's, if it has one, and ``part_size`` the size in bytes of the parts that it depends on.
    ``method`` is the name of the method that moved the file. It is None if the file was there
    already, and in receipts of versions without methods. ``source_version`` is the version of the
    source that was read, and ``version`` the one that was written, where stores keep versions.

    ``compression`` is None for a file that is stored as it was read. ``zstd`` and ``gzip`` say that
    it was compressed on its way, ``unpack-zstd`` and ``unpack-gzip`` that it was unpacked. The hash
    sums are then those of the uncompressed bytes on both sides, ``hashsum_packed`` is the MD5 of
    the compressed ones, and ``size_dst`` is the file's size at the destination.

    ``verified_at`` is in UTC, as in ``2026-11-20T14:31:00Z``. Receipts with another form of time
    aren't read.
    """

    src_path: str
    dst_path: str
    size: _Count
    mtime_ns: _Number
    hashsum_src: str | None
    hashsum_dst: str | None
    verified_by: str
    verified_at: str
    worker: str
    attempt: _Attempt
    etag: str | None = None
    part_size: _Count | None = None
    method: str | None = None
    source_version: str | None = None
    version: str | None = None
    compression: str | None = None
    size_dst: _Count | None = None
    hashsum_packed: str | None = None
    checksum: str | None = None

    def __post_init__(self) -> None:
        """Raise ``ValueError`` for a time that the table of receipts couldn't hold."""
        time_of(self.verified_at)

    @property
    def stored_size(self) -> int:
        """The size of the file at the destination, in bytes."""
        return self.size if self.size_dst is None else self.size_dst

    @property
    def stored_md5(self) -> str | None:
        """The MD5 of the bytes at the destination; None if a forged receipt lacks it."""
        return self.hashsum_packed if self.is_packed else self.hashsum_dst

    @property
    def is_packed(self) -> bool:
        """Whether the file at the destination is compressed by jobtool."""
        return self.compression in ENDINGS

    @property
    def is_proof(self) -> bool:
        """Whether its two MD5s are equal or, without any, it has a checksum of both sides.

        All receipts that jobtool writes are proofs.
        """
        if self.hashsum_src is None and self.hashsum_dst is None:
            return bool(self.checksum) and not self.is_packed
        return self.hashsum_src == self.hashsum_dst


class IntentRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="intent"):
    """The job is about to write a destination. ``at_ns`` is in nanoseconds since 1970.

    An unfinished write there that began after that, and that no upload's record names, is the
    job's. ``has_file`` says that the file that is there already was written by the job, too.
    ``method`` names the method that is about to be given the file: it writes the one that appears.
    ``compression`` is as in receipts.
    """

    src_path: str
    dst_path: str
    at_ns: int
    has_file: bool = False
    method: str | None = None
    compression: str | None = None


class UploadRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="upload"):
    """The upload of a file in parts was begun.

    ``token`` is the store's name for the upload. ``size`` in bytes and ``mtime_ns`` are the
    source's. ``md5`` is the whole file's MD5 where it had to be known first.
    """

    src_path: str
    dst_path: str
    size: _Count
    mtime_ns: _Number
    part_size: _Count
    token: str
    md5: str | None = None


class PartRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="part"):
    """A part of an upload was sent: its number from 1, size in bytes, MD5 in hex, ETag."""

    token: str
    number: _Count
    offset: _Count
    size: _Count
    md5: str
    etag: str | None = None


class ListingRecord(msgspec.Struct, frozen=True, kw_only=True, tag="listing"):
    """Some of the files that were found below a source and go below a destination.

    ``names`` are their paths relative to both, joined by NUL characters and compressed by zlib.
    """

    src_path: str
    dst_path: str
    names: bytes


class DigestRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="digests"):
    """Parts of a source file were read and hashed.

    ``md5s`` are the MD5s of consecutive parts, from the number ``first`` on. Parts are numbered
    from 1. ``size`` and ``mtime_ns`` are the source's, ``part_size`` is in bytes. ``state`` is the
    state of the whole file's MD5 after the last of these parts, as 32 digits; None if it isn't
    known. ``whole`` is the whole file's MD5, once the file was read to its end. ``etag`` and
    ``source_version`` are those of the source at the first read, if it has such.
    """

    src_path: str
    dst_path: str
    size: _Count
    mtime_ns: _Number
    part_size: _Positive
    first: _Positive
    md5s: tuple[_MD5, ...]
    state: _MD5 | None = None
    whole: _MD5 | None = None
    etag: str | None = None
    source_version: str | None = None


Record = Receipt | IntentRecord | UploadRecord | PartRecord | ListingRecord | DigestRecord


def planned_dst_path(record: Receipt | IntentRecord | UploadRecord | DigestRecord) -> str:
    """Return the destination that a plan has for the file of a record, whatever its form."""
    if isinstance(record, Receipt | IntentRecord) and record.compression is not None:
        return planned_path(record.dst_path, record.compression)
    return record.dst_path


def quoted(record: R) -> R:
    """Return a record whose names are text that any file can hold."""
    if isinstance(record, PartRecord):
        return _replaced(record, token=quote(record.token))
    source, destination = quote(record.src_path), quote(record.dst_path)
    if source is record.src_path and destination is record.dst_path:  # a plain name is unchanged
        changed = record
    else:
        changed = msgspec.structs.replace(record, src_path=source, dst_path=destination)
    if isinstance(changed, UploadRecord):
        return _replaced(changed, token=quote(changed.token))
    return changed


def unquoted(record: R) -> R:
    """Return a record as it was before ``quoted``. Raises ``JobFileError``."""
    if isinstance(record, Receipt) and '"' not in (record.src_path[:1], record.dst_path[:1]):
        return record
    if isinstance(record, PartRecord):
        return _replaced(record, token=unquote(record.token))
    changed = _replaced(
        record, src_path=unquote(record.src_path), dst_path=unquote(record.dst_path)
    )
    if isinstance(changed, UploadRecord):
        return _replaced(changed, token=unquote(changed.token))
    return changed


def _replaced(record: R, **texts: str) -> R:
    for name, text in texts.items():
        if getattr(record, name) != text:
            return msgspec.structs.replace(record, **texts)
    return record  # the usual case: a comparison costs less than a new record
