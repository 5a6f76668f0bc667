"""The protocol of a store, which holds the bytes of files. See ``optional`` for optional protocols.

A store is rooted at a URL. Its paths are relative to the root and have parts joined by ``/``. No
part is empty, ``.`` or ``..``. Bytes of a name that aren't UTF-8 are surrogates. Callers may call
methods from many threads. Methods raise the errors of ``jobtool.errors``:

- ``NotFoundError``: the path doesn't exist. ``SourceError``: it exists but can't be read.
- ``NotYetError``: it can't be read yet. The store has asked for it, now or before.
- ``StoreError``: a failure that may pass. The caller may try again.
- ``FileError``: this one file can't be written here (its name, or something in its place).
- ``RefusedError``, ``ServerError``: a refusal or a failure for this file or for all files. The
  caller finds out which by what happens to other files.
- ``InfrastructureError``: no file can be written or read: credentials, no space, no such bucket.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, Protocol

import msgspec
from msgspec.structs import force_setattr

from jobtool.errors import DigestMismatchError, FileError, NotFoundError, SourceError
from jobtool.md5 import hasher_for, md5_of
from jobtool.names import quote
from jobtool.stores.location import unfit_reason
from jobtool.stores.preserve import Kept

PathKind = Literal["file", "folder", "missing"]
SpecialKind = Literal["empty-folder", "link", "pipe", "socket", "device", "excluded-folder"]

#: How many bytes are read at a time when a whole file is read for its digest.
READ_BYTES = 8 * 1024 * 1024


def within_64_bits(mtime_ns: int) -> int:
    """Return a time in nanoseconds since 1970, clamped to 64 bits (1677 to 2262)."""
    if -(2**63) <= mtime_ns < 2**63:  # nearly always: comparisons take less time than calls
        return mtime_ns
    return max(-(2**63), min(mtime_ns, 2**63 - 1))


class Entry(msgspec.Struct, frozen=True):
    """A file as listed. Size in bytes, modification time in nanoseconds since 1970.

    Times that don't fit 64 bits, which some filesystems have, become the nearest that does.
    """

    path: str
    size: int
    mtime_ns: int
    etag: str | None = None

    def __post_init__(self) -> None:
        """Clamp the time: plans and receipts hold it in 64 bits."""
        if not -(2**63) <= self.mtime_ns < 2**63:
            force_setattr(self, "mtime_ns", within_64_bits(self.mtime_ns))


#: What ``Store.stat`` finds at a path.
StatResult = Entry | Literal["folder", "missing"]


class Special(msgspec.Struct, frozen=True):
    """A listed item without bytes to copy. ``target`` is that of a link, as it is written."""

    path: str
    what: SpecialKind
    target: str | None = None


class Unlisted(msgspec.Struct, frozen=True):
    """A listed item that can't be transferred, or a folder that can't be listed.

    ``error`` says why, with the whole path or key. The rest of the tree is still listed.
    """

    path: str
    error: FileError
    is_folder: bool = False


class Child(msgspec.Struct, frozen=True):
    """A name directly inside a folder. A link to a folder is both a folder and a link."""

    name: str
    is_folder: bool
    is_link: bool = False


class Note(msgspec.Struct, frozen=True):
    """An attribute that a file lost. ``reason`` names no file: the job's log counts equal notes."""

    attribute: str
    reason: str


class Attributes(msgspec.Struct, frozen=True, kw_only=True):
    """The attributes of a file, sent with its bytes, or of a folder.

    ``md5`` is that of the whole file in hex, or None if unknown. ``mode`` holds the permissions,
    ``owner`` the numbers of user and group, ``xattrs`` the extended attributes and ``acl`` those
    that hold a POSIX access list. Each is None if it isn't kept. ``headers`` are the HTTP headers
    that describe an object's content, by their names in HTTP, and ``metadata`` is the user's own
    metadata. With ``may_replace`` False an existing file is never replaced (``FileError``), if the
    store supports that. ``notes`` say which attributes couldn't be read.
    """

    mtime_ns: int
    md5: str | None = None
    mode: int | None = None
    owner: tuple[int, int] | None = None
    xattrs: tuple[tuple[str, bytes], ...] | None = None
    acl: tuple[tuple[str, bytes], ...] | None = None
    headers: tuple[tuple[str, str], ...] = ()
    metadata: tuple[tuple[str, str], ...] = ()
    may_replace: bool = True
    notes: tuple[Note, ...] = ()


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes read from a file, and the attributes that the store holds for it.

    ``etag`` changes with the file. ``version`` is the name that the store keeps this version of the
    file under. Each is None if the store has no such.
    """

    data: bytes | memoryview
    attributes: Attributes
    etag: str | None = None
    version: str | None = None


#: A whole small file to be written: its path, its bytes, its attributes with its MD5.
WholeFile = tuple[str, bytes | memoryview, Attributes]


#: How a file was proven; docs/reference/receipts.md explains each.
VerifiedBy = Literal[
    "etag-md5",
    "multipart-etag",
    "read-back",
    "stored-md5",
    "stored-crc32c",
    "stored-crc64nvme",
    "stored-sha256",
    "checked-blocks",
    "hdfs-checksum",
    "same-hdfs-checksum",
    "hdfs-composite-crc",
    "remote-md5sum",
]


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """How the destination was proven to hold what was sent, and the digest found there.

    By ``ComparesInside`` it is a ``checksum``, as ``ALGORITHM:HEX``. ``version`` is the store's
    name of this version. ``notes`` are those of the attributes, and of those that aren't kept.
    """

    md5: str | None
    verified_by: VerifiedBy
    etag: str | None = None
    version: str | None = None
    checksum: str | None = None
    notes: tuple[Note, ...] = ()


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """A file being written in parts. ``token`` is the store's name for the upload."""

    path: str
    token: str
    attributes: Attributes


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A sent part. ``number`` counts from 1, ``md5`` is in hex, ``etag`` is the store's."""

    number: int
    offset: int
    size: int
    md5: str
    etag: str | None = None


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """The properties of a store beyond the protocols that it implements.

    - ``attributes_first``: a file's attributes must be complete when its first part is sent.
    - ``cheap_reads``: reading a file twice costs little, so it may be hashed before it is sent. If
      it is so on both sides, each attempt reads a large file from its beginning.
    - ``keeps``: the file attributes that the store can keep.
    - ``reads_ranges``: a range of a file can be read without what comes before it. Otherwise a part
      of a file isn't read in smaller pieces.
    - ``takes_many``: it takes many requests at a time from each worker. Without it a worker has no
      more files under way than ``--threads``, 16 by default; with it up to 64 small ones.
    """

    attributes_first: bool = False
    cheap_reads: bool = False
    keeps: frozenset[Kept] = frozenset()
    reads_ranges: bool = True
    takes_many: bool = False


class Store(Protocol):
    """A place for files. See the module for paths, threads and errors.

    These methods are all that a store needs. ``jobtool.stores.optional`` has optional protocols,
    such as sending a file in parts. jobtool works without them.
    """

    @property
    def url(self) -> str:
        """The root, without a slash at its end (but for ``/`` itself)."""

    @property
    def capabilities(self) -> Capabilities:
        """The properties of this store."""

    def url_of(self, path: str) -> str:
        """Return the absolute path or URL of ``path``; ``""`` is the root."""

    def stat(self, path: str, *, file_only: bool = False) -> StatResult:
        """Return the entry of a file, ``"folder"`` or ``"missing"``; ``""`` is the root.

        A path is a folder if anything is below it, or if the store itself says so. If a file and a
        folder have the same path, the file is returned. With ``file_only`` the caller wants a file,
        so ``"missing"`` may be returned for a folder that takes another request to find.
        Raises ``SourceError`` for a path that exists but is neither, or can't be read. For a
        dangling link it may raise ``NotFoundError``.
        """

    def children(self, path: str) -> Iterator[Child | Unlisted]:
        """Yield what is directly inside the folder ``path``, sorted by name; ``""`` is the root.

        Links to folders count as folders. Names that can't be transferred are ``Unlisted``. Raises
        ``NotFoundError`` or ``SourceError``.
        """

    def list(self) -> Iterator[Entry | Special | Unlisted]:
        """Yield everything below the root, in ascending order of the bytes of its path.

        An empty folder, or one that can't be listed, sorts as if its name ended in a slash. Lazy: a
        million files take no more memory than one folder's names. What can't be transferred, and a
        folder below the root that can't be listed, is ``Unlisted``. Raises ``SourceError`` or
        ``RefusedError`` if the root itself can't be listed.
        """

    def read(self, entry: Entry, offset: int, length: int) -> Content:
        """Return ``length`` bytes of a file from ``offset``, both within its size.

        Raises ``SourceChangedError`` if the file's size or time no longer matches the entry, or if
        the entry has an ETag and the file another.
        """

    def write(
        self, path: str, chunks: Iterable[bytes | memoryview], attributes: Attributes
    ) -> Proof | None:
        """Write a whole file of any size in bounded memory, and publish it.

        ``chunks`` are its bytes in order. No chunks make an empty file. Readers see either the
        whole old file or the whole new one. If ``chunks`` raises, nothing is published, what was
        written is removed, and the error is passed to the caller.

        ``attributes.md5`` is that of the whole file, or None if the caller computes it only while
        it yields the chunks. An attribute that can't be kept is a note of the proof, not an error.

        Returns a proof if the store has one, otherwise None. Then the caller proves the file by
        ``Prover.prove`` or ``digest``, and deletes it if it holds other bytes. A store that checks
        what it wrote, before or after publishing, compares it with ``attributes.md5``. If they
        differ, it removes the file and raises ``DigestMismatchError``.
        """

    def digest(self, path: str) -> str:
        """Return the MD5 of a file in hex. Read it from its medium, not from a copy in memory."""

    def delete(self, path: str) -> None:
        """Remove a file. Do nothing if it doesn't exist."""

    def sync(self) -> None:
        """Make everything that was published durable."""


class Looked(Protocol):
    """The part of ``Store`` that ``kind_of`` needs."""

    def stat(self, path: str, *, file_only: bool = False) -> StatResult:
        """Return what is at a path; see ``Store``."""


def entry_of(store: Store, path: str) -> Entry:
    """Return a file's entry. Raise ``NotFoundError``, or ``SourceError`` for a folder."""
    found = store.stat(path, file_only=True)
    if isinstance(found, Entry):
        return found
    where = quote(store.url_of(path))
    if found == "folder":
        raise SourceError(f"expected a regular file at {where}; found a folder")
    raise NotFoundError(f"expected something at {where}; found nothing")


def kind_of(store: Looked, path: str) -> PathKind:
    """Return the kind of a path. Anything that is neither, or can't be read, counts as a file."""
    try:
        found = store.stat(path)
    except NotFoundError:
        return "missing"
    except SourceError:
        return "file"
    return "file" if isinstance(found, Entry) else found


def digest_by_reading(store: Store, path: str) -> str:
    """Return the MD5 of a file in hex, using only the store's ``stat`` and ``read``."""
    entry = entry_of(store, path)
    digest = hasher_for(entry.size)
    for offset in range(0, entry.size, READ_BYTES):
        length = min(READ_BYTES, entry.size - offset)
        digest.update(store.read(entry, offset, length).data)
    return digest.hexdigest()


def composite_md5(parts: Sequence[Part]) -> str:
    """Return the ETag that S3 gives to an object of these parts.

    It is the MD5 in hex of the parts' concatenated binary MD5s, a dash, and the number of parts.
    Source: AWS, "Checking object integrity", ETags of multipart uploads.
    """
    joined = b"".join(bytes.fromhex(part.md5) for part in parts)
    return f"{md5_of(joined)}-{len(parts)}"


def require_same(url: str, *, sent: str | None, found: str) -> None:
    """Raise ``DigestMismatchError`` unless two MD5s are the same."""
    if sent != found:
        raise mismatch(url, sent=sent, found=found)


def mismatch(url: str, *, sent: str | None, found: str) -> DigestMismatchError:
    """Return the error for a written file that had other bytes and was removed."""
    return DigestMismatchError(
        f"{quote(url)}: expected MD5 {sent}, as read from the source; the destination holds "
        f"{found}. What was written has been removed."
    )


def check_path(path: str) -> str:
    """Return ``path`` if it stays below the store's root. Raise ``FileError`` otherwise."""
    reason = unfit_reason(path)
    if reason is not None:
        raise FileError(
            f"{quote(path)}: expected a relative path without empty parts, '.' or '..'; found "
            f"{reason}"
        )
    return path
