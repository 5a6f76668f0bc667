"""A package that is read: its tar in any store, and the index and the manifest beside it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import msgspec

from jobtool.errors import PackageError, UsageError
from jobtool.md5 import hasher_for
from jobtool.names import quote
from jobtool.packages.distinct import DistinctPaths
from jobtool.packages.index import INDEX_SUFFIX, IndexRow, read_index
from jobtool.packages.manifest import (
    MANIFEST_SUFFIX,
    MAX_MANIFEST_BYTES,
    Manifest,
    decode_manifest,
    read_package_index,
)
from jobtool.packages.storefile import buffered, read_range, reader_at
from jobtool.packages.tarheader import header, padded
from jobtool.packages.tarreading import TarItem, read_item
from jobtool.stores.location import Location, parent_of, unfit_reason
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.store import READ_BYTES, Entry, Store, entry_of
from jobtool.stores.storetype import Role
from jobtool.transfer.retry import Retry

#: How much is read at a time of an index, and of a tar whose headers alone are read.
_INDEX_BYTES = 1024 * 1024
_HEADER_BYTES = 16 * 1024


class Placed(msgspec.Struct, frozen=True):
    """A member, and the offset from which its headers stand in the tar.

    The ``md5`` of a member of a package without an index is empty: it isn't known.
    """

    row: IndexRow
    start: int

    @property
    def end(self) -> int:
        """The offset after the data, without its padding."""
        return self.row.offset + self.row.size


class Package:
    """A tar in a store. Open one by ``open_package``.

    ``entry`` is that of the tar, ``index_entry`` that of its index or None. ``manifest`` is None if
    there is none. Threads may read.
    """

    def __init__(
        self,
        store: Store,
        entry: Entry,
        *,
        index_entry: Entry | None,
        manifest: Manifest | None,
        retry: Retry,
    ) -> None:
        self.store = store
        self.entry = entry
        self.index_entry = index_entry
        self.manifest = manifest
        self.url = store.url_of(entry.path)
        self.retry = retry

    def members(
        self,
        *,
        on_left_out: Callable[[TarItem], None] | None = None,
        are_distinct: bool = False,
    ) -> Iterator[Placed]:
        """Yield the members in the order of the tar, from the index or else from the headers.

        Takes 100 bytes of memory for each, or none with ``are_distinct``: the caller has called
        this before, and knows that the paths are distinct. ``on_left_out`` gets the links of a tar
        without an index: packages hold files.

        Raises ``PackageError``, at the latest after the last one, for
        an index that can't be that of this tar, a tar that isn't one, paths that aren't relative
        or hold ``..``, two members of one path, a path that is both file and folder, devices, hard
        links, and links that lead out of the tree; and the errors of reading.
        """
        paths = DistinctPaths(self.url)
        found = self._from_headers(on_left_out) if self.index_entry is None else self._from_index()
        for placed in found:
            if not are_distinct:
                paths.add(placed.row.path)
            yield placed

    def read(self, offset: int, length: int) -> memoryview:
        """Return bytes of the tar."""
        return read_range(self.store, self.entry, offset, length, self.retry)

    def require_index(self, purpose: str) -> None:
        """Raise ``UsageError`` for a package without an index. ``purpose`` is what needs it."""
        if self.index_entry is None:
            raise UsageError(
                f"{quote(self.url)}: expected an index at {quote(self.url + INDEX_SUFFIX)} for "
                f"{purpose}; found none. Make one: jobtool ls --reindex {quote(self.url)}"
            )

    def require_index_digest(self) -> None:
        """Raise ``PackageError`` if the index isn't the one whose MD5 the manifest has."""
        entry, manifest = self.index_entry, self.manifest
        if entry is None or manifest is None:
            return
        digest = hasher_for(entry.size)
        for offset in range(0, entry.size, READ_BYTES):
            length = min(READ_BYTES, entry.size - offset)
            digest.update(read_range(self.store, entry, offset, length, self.retry))
        if digest.hexdigest() != manifest.index.md5:
            raise PackageError(
                f"{quote(self.store.url_of(entry.path))}: expected MD5 {manifest.index.md5}, as "
                f"the manifest says; found {digest.hexdigest()}. The index was changed or damaged."
            )

    def require_end(self, end: int) -> None:
        """Raise ``PackageError`` if there are members after ``end``, where the index ends."""
        for item in self._items(end, self.entry.size):
            if item.kind == "file":
                raise self._unlisted(item)

    def require_header(self, placed: Placed, blocks: memoryview | None = None) -> None:
        """Raise ``PackageError`` unless the tar's own headers say the same as the index.

        ``blocks`` are the bytes of the tar from ``placed.start`` to the member's data, if they have
        been read.
        """
        row, start = placed.row, placed.start
        if blocks is not None and blocks == header(
            os.fsencode(row.path), row.size, row.mtime_ns, row.mode
        ):
            return  # as jobtool packs it
        for item in self._items(start, row.offset, blocks):
            if item.kind != "file":
                continue
            if item.offset != row.offset:
                raise self._unlisted(item)
            in_tar = (item.path, item.size, item.mtime_ns, item.mode)
            if in_tar == (row.path, row.size, row.mtime_ns, row.mode):
                return
            raise self._unfit(
                f"at {row.offset} bytes the index has {quote(row.path)} of {row.size} bytes, time "
                f"{row.mtime_ns}, mode {row.mode:#o}; the tar has {quote(item.path)} of "
                f"{item.size} bytes, time {item.mtime_ns}, mode {item.mode:#o}"
            )
        raise self._unfit(
            f"no member begins at {row.offset} bytes, where the index has {quote(row.path)}"
        )

    def items(self) -> Iterator[TarItem]:
        """Yield what the headers of the tar say, with folders and links."""
        return self._items(0, self.entry.size)

    def _items(self, start: int, end: int, blocks: memoryview | None = None) -> Iterator[TarItem]:
        if blocks is None:
            file = buffered(self.store, self.entry, self.retry, buffer_bytes=_HEADER_BYTES)
            read = reader_at(file)
        else:
            held, first = blocks, start

            def read(offset: int, length: int) -> bytes:
                return bytes(held[offset - first : offset - first + length])

        while start < end:
            item = read_item(read, start, name=self.url)
            if item is None:
                return
            if item.end > self.entry.size:
                raise PackageError(
                    f"{quote(self.url)}, member {quote(item.path)}: expected it to end within the "
                    f"{self.entry.size} bytes of the tar; found one of {item.size} bytes. The tar "
                    "was cut."
                )
            yield item
            start = item.end

    def _from_index(self) -> Iterator[Placed]:
        assert self.index_entry is not None
        name = self.store.url_of(self.index_entry.path)
        file = buffered(self.store, self.index_entry, self.retry, buffer_bytes=_INDEX_BYTES)
        if self.manifest is None:
            rows = read_index(file, name=name, tar_size=self.entry.size)
        else:
            rows = read_package_index(file, self.manifest, name=name)
        start = 0
        for row in rows:
            yield Placed(row, start)
            start = row.offset + padded(row.size)

    def _from_headers(self, on_left_out: Callable[[TarItem], None] | None) -> Iterator[Placed]:
        count = size = 0
        for item in self.items():
            row = row_of(item, name=self.url)
            if row is not None:
                count += 1
                size += row.size
                yield Placed(row, item.start)
            elif item.kind == "symlink" and on_left_out is not None:
                on_left_out(item)
        said = self.manifest
        if said is not None and (count, size) != (said.members, said.bytes):
            raise PackageError(
                f"{quote(self.url)}: expected {said.members} members of {said.bytes} bytes, as the "
                f"manifest says; found {count} of {size} bytes. The tar was changed, or the "
                "manifest is another one's."
            )

    def _unlisted(self, item: TarItem) -> PackageError:
        return self._unfit(
            f"the tar has {quote(item.path)} of {item.size} bytes at {item.offset} bytes, where "
            "the index has no member"
        )

    def _unfit(self, found: str) -> PackageError:
        return PackageError(
            f"{quote(self.url)}: the index doesn't fit its tar: {found}. Make the index again "
            "(jobtool ls --reindex), or fetch both again."
        )


def row_of(item: TarItem, *, name: str, md5: str = "") -> IndexRow | None:
    """Return the row of an item of a tar; None for folders and for links inside the tree.

    Raises ``PackageError`` for a path that isn't relative, for hard links, and for links out of
    the tree.
    """
    where = f"{quote(name)}, member {quote(item.path or '.')}"
    reason = unfit_reason(item.path)
    if reason is not None and not (item.kind == "folder" and item.path in ("", ".")):
        raise PackageError(
            f"{where}: expected the relative path of a member, without empty parts, '.' or '..'; "
            f"found {reason}. Don't unpack it unless you know who made it."
        )
    if item.kind == "hard link":
        raise PackageError(
            f"{where}: expected a file with bytes of its own; found a hard link to "
            f"{quote(item.target)}. Unpack it with tar."
        )
    if item.kind == "symlink" and _leads_out(item):
        raise PackageError(
            f"{where}: expected a link that stays in the tree; found one to {quote(item.target)}. "
            "Don't unpack it unless you know who made it."
        )
    if item.kind != "file":
        return None
    return IndexRow(item.path, item.offset, item.size, md5, item.mtime_ns, item.mode)


def _leads_out(item: TarItem) -> bool:
    if item.target.startswith("/"):
        return True
    depth = item.path.count("/")
    for part in item.target.split("/"):
        depth += {"..": -1, ".": 0, "": 0}.get(part, 1)
        if depth < 0:
            return True
    return False


def open_package(
    place: str,
    stores: StoreRegistry,
    *,
    retry: Retry | None = None,
    has_index: bool = True,
    role: Role = "source",
) -> Package:
    """Open the package whose tar is at a path or URL, as a user types it.

    Without ``has_index`` the index isn't looked at, such as one that is to be made again. ``role``
    says whose server and credentials are used.
    Raises ``UsageError`` for a place that isn't one, ``NotFoundError`` if there is no tar,
    ``PackageError`` for a manifest that isn't one or is that of another tar, and the errors of
    stores.
    """
    url = Location.resolve(place).url
    folder, name = parent_of(url)
    if not name:
        raise UsageError(f"{quote(place)}: expected the tar of a package; found a root")
    store = stores.open(folder, role)
    return package_in(store, name, retry=retry or Retry(), has_index=has_index)


def package_in(store: Store, name: str, *, retry: Retry, has_index: bool = True) -> Package:
    """Open the package whose tar is the file ``name`` of a store; see ``open_package``."""
    entry = retry.call(lambda: entry_of(store, name))
    index_entry = None
    if has_index:
        index = retry.call(lambda: store.stat(name + INDEX_SUFFIX, file_only=True))
        index_entry = index if isinstance(index, Entry) else None
    manifest = _manifest_beside(store, entry, index_entry, retry)
    return Package(store, entry, index_entry=index_entry, manifest=manifest, retry=retry)


def _manifest_beside(
    store: Store, entry: Entry, index_entry: Entry | None, retry: Retry
) -> Manifest | None:
    name = entry.path + MANIFEST_SUFFIX
    found = retry.call(lambda: store.stat(name, file_only=True))
    if not isinstance(found, Entry):
        return None
    where = store.url_of(name)
    length = min(found.size, MAX_MANIFEST_BYTES + 1)
    read = buffered(store, found, retry).read(length)
    manifest = decode_manifest(read, where=where)
    expected = (manifest.tar.name, manifest.tar.size)
    if expected != (entry.path, entry.size):
        raise PackageError(
            f"{quote(store.url_of(entry.path))}: expected {quote(expected[0])} of {expected[1]} "
            f"bytes, as {quote(where)} says; found {entry.size} bytes. The tar isn't complete, or "
            "the manifest is another one's."
        )
    if index_entry is not None and index_entry.size != manifest.index.size:
        raise PackageError(
            f"{quote(store.url_of(index_entry.path))}: expected {manifest.index.size} bytes, as "
            f"{quote(where)} says; found {index_entry.size}. The index isn't complete, or the "
            "manifest is another one's."
        )
    return manifest
