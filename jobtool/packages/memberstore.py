"""The members of a package as a store, read from its tar by ranges.

The index says where they are or, if there is none, the headers of the tar.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import msgspec

from jobtool.errors import (
    DamagedSourceError,
    NotFoundError,
    NotYetError,
    SourceChangedError,
    SourceError,
)
from jobtool.names import quote
from jobtool.packages.neighbours import SMALL_BYTES, Neighbours
from jobtool.packages.opened import OpenedPackage, OpenedPackages
from jobtool.packages.package import Package, Placed
from jobtool.packages.runs import HOLE_BYTES
from jobtool.stores.preserve import Kept
from jobtool.stores.sourceonly import SourceOnly
from jobtool.stores.store import (
    Attributes,
    Capabilities,
    Child,
    Content,
    Entry,
    StatResult,
    Store,
    digest_by_reading,
)

#: Permissions that a member gives. A package gives no file the rights of its owner.
_MODE_BITS = 0o777

#: How long the tar's store isn't asked again for a tar that it fetches from an archive.
_ARCHIVED_SECONDS = 60.0


class _Tar:
    """Ranges of the tar, for threads. The first one is read alone.

    So a tar that is in an archive is asked for once, not by each thread. While it is fetched, the
    ``NotYetError`` is raised again without a request.
    """

    def __init__(self, package: Package) -> None:
        self._package = package
        self._first = threading.Lock()
        self._is_readable = False
        self._archived: tuple[float, NotYetError] | None = None

    def read(self, offset: int, length: int) -> memoryview:
        """Return bytes of the tar. Raises the errors of ``Package.read``."""
        if self._is_readable:
            return self._package.read(offset, length)
        with self._first:
            if self._archived is not None:
                since, error = self._archived
                passed = time.monotonic() - since
                if passed < min(_ARCHIVED_SECONDS, error.seconds):
                    raise NotYetError(str(error), seconds=error.seconds - passed)
            try:
                data = self._package.read(offset, length)
            except NotYetError as error:
                self._archived = (time.monotonic(), error)
                raise
            self._is_readable = True
            return data


class _Reading(msgspec.Struct, frozen=True):
    """One state of the package: its members, its tar, its small members."""

    opened: OpenedPackage
    tar: _Tar
    neighbours: Neighbours


class MemberStore(SourceOnly):
    """The members of the tar ``name`` of another store, below the folder ``below`` of the tar.

    ``root`` is the URL of the tar's members. The package is opened at the first use. If the tar
    is replaced, reads raise ``SourceChangedError``, and what follows sees the new one.
    """

    def __init__(
        self,
        root: str,
        store: Store,
        name: str,
        *,
        below: str = "",
        opened: OpenedPackages | None = None,
        keep: frozenset[Kept] = frozenset(),
    ) -> None:
        self.url = f"{root}/{below}" if below else root
        self._store = store
        self._name = name
        self._below = below
        self._opened = opened or OpenedPackages()
        self._keeps_mode = "mode" in keep
        self.capabilities = Capabilities(
            cheap_reads=store.capabilities.cheap_reads,
            reads_ranges=store.capabilities.reads_ranges,
            keeps=frozenset({"mode"}) if self._keeps_mode else frozenset(),
        )
        self._lock = threading.Lock()
        self._reading: _Reading | None = None

    def stat(self, path: str, *, file_only: bool = False) -> StatResult:
        """Return what is at ``path``.

        Raises ``PackageError`` for what isn't a package, and the errors of the tar's store.
        """
        try:
            opened = self._now().opened
        except NotFoundError:
            return "missing"
        whole = self._inside(path)
        number = opened.table.find(whole)
        if number is not None:
            return self._entry(opened, number)
        return "folder" if not whole or opened.table.has_below(whole) else "missing"

    def children(self, path: str) -> Iterator[Child]:
        """Yield what is directly inside a folder. Raises ``NotFoundError`` if there is none."""
        table = self._now().opened.table
        whole = self._inside(path)
        if whole and not table.has_below(whole):
            raise NotFoundError(f"expected a folder at {quote(self.url_of(path))}; found none")
        for name, is_folder in table.names_in(whole).items():
            yield Child(name, is_folder=is_folder)

    def list(self) -> Iterator[Entry]:
        """Yield all members below the root, in ascending order of the bytes of their paths."""
        opened = self._now().opened
        for number in opened.table.below(self._below):
            yield self._entry(opened, number)

    def read(self, entry: Entry, offset: int, length: int) -> Content:
        """Return bytes of a member.

        With its first bytes the headers in the tar are compared with the index. Raises
        ``PackageError`` if they differ, ``SourceChangedError`` if the tar is another one than that
        of the entry, ``NotYetError`` while the tar comes from an archive, and the errors of its
        store.
        """
        reading = self._now()
        opened = reading.opened
        number = opened.table.find(self._inside(entry.path))
        if number is None:
            raise NotFoundError(f"expected a member at {quote(self.url_of(entry.path))}")
        placed = opened.table[number]
        row = placed.row
        is_as_listed = (entry.size, entry.mtime_ns) == (row.size, row.mtime_ns)
        if not is_as_listed or entry.etag not in (None, opened.identity):
            raise SourceChangedError(
                f"{quote(self.url_of(entry.path))}: expected the member as it was listed; its tar "
                "is another one now"
            )
        if offset < 0 or length < 0 or offset + length > row.size:
            raise SourceError(
                f"{quote(self.url_of(entry.path))}: expected a range within {row.size} bytes; "
                f"found {length} bytes from {offset} on"
            )
        try:
            data = self._data(reading, number, placed, offset, length)
        except SourceChangedError:
            with self._lock:
                if self._reading is reading:
                    self._reading = None
            raise
        return Content(
            data=data,
            attributes=Attributes(
                mtime_ns=row.mtime_ns,
                md5=row.md5 or None,
                mode=row.mode & _MODE_BITS if self._keeps_mode else None,
            ),
            etag=opened.identity,
        )

    def digest(self, path: str) -> str:
        """Return the MD5 of a member, read once."""
        return digest_by_reading(self, path)

    def known_md5(self, path: str) -> str | None:
        """Return the MD5 of a member by the index; None without an index."""
        table = self._now().opened.table
        number = table.find(self._inside(path))
        return None if number is None else table[number].row.md5 or None

    def damaged(self, path: str, found: str) -> DamagedSourceError:
        """Return the error for a member that was read with another MD5 than the index says."""
        return DamagedSourceError(
            f"{quote(self.url_of(path))}: expected MD5 {self.known_md5(path)}, as the index says; "
            f"found {found}. The tar was damaged or changed: fetch it again."
        )

    def _inside(self, path: str) -> str:
        """Return the path in the tar."""
        return "/".join(part for part in (self._below, path) if part)

    def _entry(self, opened: OpenedPackage, number: int) -> Entry:
        row = opened.table[number].row
        path = row.path[len(self._below) :].lstrip("/") if self._below else row.path
        return Entry(path, row.size, row.mtime_ns, opened.identity)

    def _now(self) -> _Reading:
        """Return the package, opened if it isn't."""
        reading = self._reading
        if reading is not None:
            return reading
        with self._lock:
            if self._reading is None:
                opened = self._opened.open(self._store, self._name)
                below = os.fsencode(self._below)
                first = below + b"/"

                def is_wanted(number: int) -> bool:
                    path = opened.table.path_of(number)
                    return not below or path.startswith(first) or path == below

                tar = _Tar(opened.package)
                neighbours = Neighbours(opened.table, tar.read, is_wanted)
                self._reading = _Reading(opened, tar, neighbours)
            return self._reading

    def _data(
        self, reading: _Reading, number: int, placed: Placed, offset: int, length: int
    ) -> memoryview:
        """Return bytes of a member. What is read from its beginning comes with its headers."""
        package, row = reading.opened.package, placed.row
        if not length:
            return memoryview(b"")
        before = row.offset - placed.start
        is_small = length == row.size <= SMALL_BYTES and before <= HOLE_BYTES
        if is_small:
            data = reading.neighbours.read(number)
        elif offset or before > HOLE_BYTES:
            data, before = reading.tar.read(row.offset + offset, length), 0
        else:
            data = reading.tar.read(placed.start, before + length)
        if not offset and package.index_entry is not None:
            package.require_header(placed, data[:before] if before else None)
        return data[before:]
