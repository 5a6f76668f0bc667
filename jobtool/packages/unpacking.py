"""Unpacking a package into any store: in parallel, each member proven, resumed after a kill.

A member is compared with the index before it gets its name, and what the store holds is proven as
in any transfer. A kill leaves whole members and hidden temporary files. The next unpacking removes
the latter, and compares each member that is there by its digest. Metadata of data sets comes last,
the deepest first, once all data is there.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from functools import partial
from typing import Literal

import msgspec

from jobtool.errors import FileError, NotYetError, SourceChangedError
from jobtool.events import Emit, unfailing
from jobtool.names import quote
from jobtool.packages.index import IndexRow
from jobtool.packages.package import Package, Placed
from jobtool.packages.readevents import LinkLeftOut, MemberFailed, MemberUnpacked, Unpacked
from jobtool.packages.runs import (
    Run,
    chunks_of,
    md5_in,
    md5_of_data,
    read_small,
    runs_of,
)
from jobtool.packages.selection import Selection
from jobtool.packages.tarheader import padded
from jobtool.packages.tarreading import TarItem
from jobtool.stores.optional import Temporaries, supports
from jobtool.stores.store import (
    Attributes,
    Entry,
    Part,
    Proof,
    Store,
    composite_md5,
    mismatch,
)
from jobtool.transfer.parallel import in_parallel
from jobtool.transfer.plan import METADATA_NAMES
from jobtool.transfer.whole import proof_of

DEFAULT_THREADS = 8

#: Permissions that a member gets. A package gives no file the rights of its owner.
_MODE_BITS = 0o777

#: If so many members fail and none succeeds, the first error is about all of them.
_MOST_FAILURES = 100

_Outcome = MemberUnpacked | MemberFailed
_Chunks = Callable[[], Iterable[bytes | memoryview]]


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """What is selected of a package, once all of its index was checked.

    ``members`` have ``bytes`` together. ``metadata`` of them are metadata of data sets, at
    ``depths`` of folders, the deepest first.
    """

    members: int
    bytes: int
    metadata: int
    depths: tuple[int, ...]


class Unpacking:
    """Writes the selected members of a package below ``folder`` of a store.

    Call ``run``; or ``check``, ``remove_leftovers``, ``write_data``, ``write_metadata``. Once one
    worker has checked, several may call ``write_data`` at a time, each for other numbers of
    members; the rest is for one worker alone. The destination's ``owner`` marks unfinished files.

    ``threads`` write at a time. Without ``may_replace`` a file that is there with other bytes is an
    error of its member; otherwise it is replaced. ``on_event`` gets the events of ``readevents``.
    """

    def __init__(
        self,
        package: Package,
        destination: Store,
        *,
        selection: Selection | None = None,
        folder: str = "",
        threads: int = DEFAULT_THREADS,
        may_replace: bool = True,
        on_event: Emit | None = None,
    ) -> None:
        self._package = package
        self._destination = destination
        self._selection = selection or Selection()
        self._prefix = f"{folder}/" if folder else ""
        self._threads = threads
        self._may_replace = may_replace
        self._emit = unfailing(on_event or (lambda event: None))
        self._retry = package.retry
        self._is_new = False
        self._first_error: FileError | None = None
        self._members = self._bytes = self._kept = self._failed = self._waiting = 0

    def run(self) -> Unpacked:
        """Unpack; return what was done. Members that fail are events, and are counted.

        Raises the errors of ``check``. Raises ``PackageError`` as soon as a header of the tar says
        something else than the index, ``SourceChangedError`` if the tar is another one now, and
        errors that are about all files.
        """
        contents = self.check()
        self.remove_leftovers()
        self.write_data()
        if self._failed:
            self._waiting = contents.metadata
        else:
            self.write_metadata(contents)
        return self.done()

    def check(self) -> Contents:
        """Read the whole index before anything is written, and return what is selected.

        Raises ``PackageError`` for an index that isn't that of this tar, or is damaged, and for
        members that aren't unpacked: see ``Package.members``. Raises ``NotFoundError`` for a
        selection without members.
        """
        package = self._package
        package.require_index_digest()
        members = size = metadata = end = 0
        depths: set[int] = set()
        for placed in package.members(on_left_out=self._tell_left_out):
            row = placed.row
            end = row.offset + padded(row.size)
            if not self._selection.matches(row.path):
                continue
            members += 1
            size += row.size
            if is_metadata(row.path):
                metadata += 1
                depths.add(row.path.count("/"))
        self._selection.require_used(package.url)
        package.require_end(end)
        in_order = tuple(sorted(depths, reverse=True))
        return Contents(members=members, bytes=size, metadata=metadata, depths=in_order)

    def remove_leftovers(self) -> None:
        """Remove the unfinished files of a killed unpacking of the destination's owner."""
        store = self._destination
        self._is_new = self._retry.call(lambda: store.stat("")) == "missing"
        if self._is_new or not supports(store, Temporaries):
            return
        found = {
            os.path.dirname(entry.path): entry.path
            for entry in store.list()
            if isinstance(entry, Entry) and store.is_leftover(entry.path)
        }
        for path in found.values():
            for upload in store.leftovers(path, 0):
                store.abort(upload)

    def write_data(self, numbers: range | None = None) -> None:
        """Write what isn't metadata: all of it, or the members with these numbers in the tar."""
        self._write(
            placed
            for number, placed in enumerate(self._package.members(are_distinct=True))
            if (numbers is None or number in numbers)
            and not is_metadata(placed.row.path)
            and self._selection.matches(placed.row.path)
        )

    def write_metadata(self, contents: Contents) -> None:
        """Write the metadata, the deepest first. A depth that fails ends it."""
        for depth in contents.depths:
            if self._failed:
                return
            self._write(
                placed
                for placed in self._package.members(are_distinct=True)
                if placed.row.path.count("/") == depth
                and is_metadata(placed.row.path)
                and self._selection.matches(placed.row.path)
            )

    def done(self) -> Unpacked:
        """Return what was done until now."""
        return Unpacked(
            members=self._members,
            bytes=self._bytes,
            kept=self._kept,
            failed=self._failed,
            waiting=self._waiting,
        )

    def _write(self, members: Iterable[Placed]) -> None:
        outcomes = in_parallel(self._write_run, runs_of(members), threads=self._threads)
        with contextlib.closing(outcomes):
            for found in outcomes:
                for outcome in found:
                    self._count(outcome)
        self._destination.sync()

    def _count(self, outcome: _Outcome) -> None:
        if isinstance(outcome, MemberFailed):
            self._failed += 1
        elif outcome.outcome == "kept":
            self._kept += 1
        else:
            self._members += 1
            self._bytes += outcome.size
        self._emit(outcome)
        is_hopeless = self._failed >= _MOST_FAILURES and not self._members + self._kept
        if is_hopeless and self._first_error is not None:
            raise self._first_error

    def _write_run(self, run: Run) -> list[_Outcome]:
        package = self._package
        if run.is_small:
            return [
                self._tried(row, partial(self._put_data, row, data))
                for row, data in read_small(package, run)
            ]
        (placed,) = run.members
        package.require_header(placed)
        return [self._tried(placed.row, partial(self._put_large, placed.row))]

    def _tried(self, row: IndexRow, put: Callable[[], MemberUnpacked]) -> _Outcome:
        try:
            return put()
        except (SourceChangedError, NotYetError):  # it is about the tar
            raise
        except FileError as error:
            self._first_error = self._first_error or error
            return MemberFailed(member=row.path, error=str(error))

    def _put_data(self, row: IndexRow, data: memoryview) -> MemberUnpacked:
        return self._put(row, md5_of_data(self._package, row, data), lambda: [data])

    def _put_large(self, row: IndexRow) -> MemberUnpacked:
        return self._put(row, md5_in(self._package, row), lambda: chunks_of(self._package, row))

    def _put(self, row: IndexRow, md5: str, chunks: _Chunks) -> MemberUnpacked:
        path = self._prefix + row.path
        attributes = Attributes(
            mtime_ns=row.mtime_ns,
            md5=md5,
            mode=row.mode & _MODE_BITS,
            may_replace=self._may_replace,
        )
        whole = Part(number=1, offset=0, size=row.size, md5=md5)
        composite = composite_md5([whole])
        if not self._is_new and self._is_there(path, row, md5, composite, attributes):
            return _unpacked(row, md5, "kept")
        store = self._destination
        proof = self._retry.call(lambda: store.write(path, chunks(), attributes))
        if proof is None:
            proof = proof_of(store, path, md5, composite, attributes)
        if proof is None or proof.md5 not in (None, md5):
            store.delete(path)
            raise mismatch(store.url_of(path), sent=md5, found="something else")
        return _unpacked(row, md5, "written")

    def _is_there(
        self, path: str, row: IndexRow, md5: str, composite: str, attributes: Attributes
    ) -> bool:
        """Return True if the destination holds the member. Set its attributes where possible."""
        store = self._destination
        proof: Proof | None = None
        try:
            found = self._retry.call(lambda: store.stat(path, file_only=True))
            if not isinstance(found, Entry):
                return False
            if found.size == row.size:
                proof = proof_of(store, path, md5, composite, attributes)
        except FileError:  # a link, or a file that can't be read: it is replaced or refused below
            pass
        if proof is None and not self._may_replace:
            raise FileError(
                f"{quote(store.url_of(path))}: expected nothing, or the member's bytes; found "
                "something else there. Remove it, or unpack into another folder."
            )
        return proof is not None

    def _tell_left_out(self, item: TarItem) -> None:
        self._emit(LinkLeftOut(link=item.path, target=item.target))


def is_metadata(path: str) -> bool:
    """Return True for a member that describes a data set, such as ``zarr.json``."""
    return os.fsencode(path.rpartition("/")[2]) in METADATA_NAMES


def _unpacked(row: IndexRow, md5: str, outcome: Literal["written", "kept"]) -> MemberUnpacked:
    return MemberUnpacked(member=row.path, size=row.size, md5=md5, outcome=outcome)
