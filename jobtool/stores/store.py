"""The protocol of a store: where bytes live. What not every store can do is in ``optional``.

A store is rooted at a URL. Its paths are relative to that, parts joined by ``/``, none of them
empty, ``.`` or ``..``; bytes of a name that are no UTF-8 are surrogates. Methods may be called
from many threads. They raise the errors of ``jobtool.errors``:

- ``NotFoundError``: nothing there. ``SourceError``: there, but it can't be read.
- ``StoreError``: a failure that may pass; the caller may try again.
- ``FileError``: this one file can't be written here (its name, what stands in its place).
- ``RefusedError``, ``ServerError``: a refusal or a failure that may concern this file or all files;
  the caller finds out which by what happens to other files.
- ``InfrastructureError``: no file can be written or read: credentials, no space, no such bucket.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from jobtool.errors import DigestMismatchError, FileError, NotFoundError, SourceError
from jobtool.names import quote
from jobtool.stores.location import unfit_reason
from jobtool.stores.preserve import Kept

PathKind = Literal["file", "folder", "missing"]
SpecialKind = Literal["empty-folder", "link", "pipe", "socket", "device"]

#: How much is read at a time where a whole file is read for its digest.
READ_BYTES = 8 * 1024 * 1024


def within_64_bits(mtime_ns: int) -> int:
    """Return a time in nanoseconds since 1970, or the nearest that 64 bits hold (1677 to 2262)."""
    return max(-(2**63), min(mtime_ns, 2**63 - 1))


@dataclass(frozen=True, slots=True)
class Entry:
    """A file as listed. Size in bytes, modification time in nanoseconds since 1970.

    Some filesystems have times that 64 bits don't hold; an entry has the nearest that they do.
    """

    path: str
    size: int
    mtime_ns: int
    etag: str | None = None

    def __post_init__(self) -> None:
        """Bring the time within bounds: plans and receipts hold it in 64 bits."""
        if not -(2**63) <= self.mtime_ns < 2**63:
            object.__setattr__(self, "mtime_ns", within_64_bits(self.mtime_ns))


@dataclass(frozen=True, slots=True)
class Special:
    """Something listed that has no bytes to copy; ``target`` is a link's, as it is written."""

    path: str
    what: SpecialKind
    target: str | None = None


@dataclass(frozen=True, slots=True)
class Unlisted:
    """Something found by a listing that can't be carried, or a folder that can't be listed.

    ``error`` says why, with the whole path or key. The rest of the tree is listed all the same.
    """

    path: str
    error: FileError
    is_folder: bool = False


@dataclass(frozen=True, slots=True)
class Child:
    """A name directly inside a folder; a link to a folder is a folder and a link."""

    name: str
    is_folder: bool
    is_link: bool = False


@dataclass(frozen=True, slots=True)
class Note:
    """An attribute that a file arrived without, and why; equal notes are counted in the job's log.

    ``reason`` is the same for all files that lack it for the same reason: it names no file.
    """

    attribute: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """What travels with a file's bytes, or with a folder.

    ``md5`` is the whole file's in hex, None if not known. ``mode`` are permissions, ``owner`` the
    numbers of user and group, ``xattrs`` extended attributes and ``acl`` those that hold a POSIX
    access list; None where they aren't to be kept. ``headers`` are what an object's HTTP headers
    say of its content, by their names in HTTP, and ``metadata`` what its owner says of it. With
    ``may_replace`` False a file that exists is never replaced (``FileError``), where the store
    knows how to do that. ``notes`` say what could not be read of all this.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """Bytes that were read, and the attributes that the store keeps for their file."""

    data: bytes | memoryview
    attributes: Attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """How the destination was proven to hold what was sent, and the digest it was found to have.

    ``notes`` are those of the attributes that were sent, and what the store could not keep of them.
    """

    md5: str
    verified_by: Literal["etag-md5", "multipart-etag", "read-back"]
    etag: str | None = None
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file that is being written in parts. ``token`` is the store's name for it."""

    path: str
    token: str
    attributes: Attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part that was sent. ``number`` counts from 1; ``md5`` is hex; ``etag`` the store's."""

    number: int
    offset: int
    size: int
    md5: str
    etag: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a store is like, beyond the protocols that it has.

    - ``attributes_first``: a file's attributes must be complete when its first part is sent.
    - ``cheap_reads``: reading a file twice costs little, so it may be hashed before it is sent.
    - ``keeps``: the attributes of files that it can keep.
    """

    attributes_first: bool = False
    cheap_reads: bool = False
    keeps: frozenset[Kept] = frozenset()


class Store(Protocol):
    """Where bytes live; see the module for paths, threads and errors.

    These methods are all that a store needs. ``jobtool.stores.optional`` has the protocols of what
    some can do besides, such as sending a file in parts. What a store lacks is done without.
    """

    @property
    def url(self) -> str:
        """The root, without a slash at its end (but for ``/`` itself)."""

    @property
    def capabilities(self) -> Capabilities:
        """What this store is like."""

    def url_of(self, path: str) -> str:
        """Return the absolute path or URL of ``path``; ``""`` is the root."""

    def stat(self, path: str, *, file_only: bool = False) -> Entry | Literal["folder", "missing"]:
        """Return the entry of a file, ``"folder"`` or ``"missing"``; ``""`` is the root.

        A folder is what has something below it, or what the store itself calls one; where a file
        and a folder have one path, it is the file. With ``file_only`` the caller asks for a file,
        and ``"missing"`` will do for a folder that takes another request to be found.

        Raises ``SourceError`` for what is there and is neither, or can't be read. For a link that
        leads nowhere it may raise ``NotFoundError``.
        """

    def children(self, path: str) -> Iterator[Child | Unlisted]:
        """Yield what is directly inside the folder ``path``, sorted by name; ``""`` is the root.

        Links to folders count as folders. What can't be carried is ``Unlisted``. Raises
        ``NotFoundError`` or ``SourceError``.
        """

    def list(self) -> Iterator[Entry | Special | Unlisted]:
        """Yield everything below the root, by the bytes of its path, in ascending order.

        An empty folder, or one that can't be listed, sorts as if its name ended in a slash.

        Lazy: a million files take no more memory than one folder's names. What can't be carried,
        and a folder below the root that can't be listed, is ``Unlisted``. Raises ``SourceError`` or
        ``RefusedError`` if the root itself can't be listed.
        """

    def read(self, entry: Entry, offset: int, length: int) -> Content:
        """Return ``length`` bytes of a file from ``offset``, both within its size.

        Raises ``SourceChangedError`` if the file's size or time isn't the entry's any more.
        """

    def write(
        self, path: str, chunks: Iterable[bytes | memoryview], attributes: Attributes
    ) -> Proof | None:
        """Write a whole file of any size in bounded memory, and publish it.

        ``chunks`` are its bytes in order; none of them make an empty file. Readers see the old
        file or the new one, whole. If ``chunks`` raises, nothing is published, what was written is
        removed, and the error goes on to the caller.

        ``attributes.md5`` is the whole file's, or None if the caller learns it only while it gives
        the chunks. An attribute that can't be kept is a note of the proof, never an error.

        Returns a proof if the store has one, and otherwise None: then the caller proves the file,
        by ``Prover.prove`` or ``digest``, and deletes it if it holds something else. A store that
        looks what it has written, before or after it is published, raises
        ``DigestMismatchError`` after removing it if that is something else than ``attributes.md5``.
        """

    def digest(self, path: str) -> str:
        """Read a file and return its MD5 in hex; from its medium, where memory holds a copy."""

    def delete(self, path: str) -> None:
        """Remove a file; does nothing if there is none."""

    def sync(self) -> None:
        """Make everything that was published durable."""


class Looked(Protocol):
    """What can be looked at: the part of ``Store`` that ``kind_of`` needs."""

    def stat(self, path: str, *, file_only: bool = False) -> Entry | Literal["folder", "missing"]:
        """Return what is at a path; see ``Store``."""


def entry_of(store: Store, path: str) -> Entry:
    """Return a file's entry; raises ``NotFoundError``, and ``SourceError`` for a folder."""
    found = store.stat(path, file_only=True)
    if isinstance(found, Entry):
        return found
    where = quote(store.url_of(path))
    if found == "folder":
        raise SourceError(f"expected a regular file at {where}; found a folder")
    raise NotFoundError(f"expected something at {where}; found nothing")


def kind_of(store: Looked, path: str) -> PathKind:
    """Return what is at a path; what is neither file nor folder, or can't be read, is a file."""
    try:
        found = store.stat(path)
    except NotFoundError:
        return "missing"
    except SourceError:
        return "file"
    return "file" if isinstance(found, Entry) else found


def digest_by_reading(store: Store, path: str) -> str:
    """Return the MD5 of a file by its store's own ``stat`` and ``read``."""
    entry = entry_of(store, path)
    digest = hashlib.md5(usedforsecurity=False)
    for offset in range(0, entry.size, READ_BYTES):
        length = min(READ_BYTES, entry.size - offset)
        digest.update(store.read(entry, offset, length).data)
    return digest.hexdigest()


def composite_md5(parts: Sequence[Part]) -> str:
    """Return the ETag that S3 gives to an object of these parts.

    MD5 in hex of the parts' binary MD5s put together, a dash, the number of parts. Source: AWS,
    "Checking object integrity", ETags of multipart uploads.
    """
    joined = b"".join(bytes.fromhex(part.md5) for part in parts)
    return f"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(parts)}"


def require_same(url: str, *, sent: str | None, found: str) -> None:
    """Raise ``DigestMismatchError`` unless two MD5s are the same."""
    if sent != found:
        raise mismatch(url, sent=sent, found=found)


def mismatch(url: str, *, sent: str | None, found: str) -> DigestMismatchError:
    """Return the error for a file that was written, found to be another, and removed."""
    return DigestMismatchError(
        f"{quote(url)}: expected MD5 {sent}, as read from the source; the destination holds "
        f"{found}. What was written has been removed."
    )


def check_path(path: str) -> str:
    """Return ``path`` if it can't leave the store's root; raises ``FileError``."""
    reason = unfit_reason(path)
    if reason is not None:
        raise FileError(
            f"{quote(path)}: expected a relative path without empty parts, '.' or '..'; found "
            f"{reason}"
        )
    return path
