"""Making the index of a tar that has none, by reading it once."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

from msgspec.structs import replace

from jobtool.errors import PackageError
from jobtool.md5 import hasher_for
from jobtool.names import quote
from jobtool.packages.distinct import DistinctPaths
from jobtool.packages.index import INDEX_SUFFIX, IndexRow, write_index
from jobtool.packages.manifest import MANIFEST_SUFFIX, Manifest, encode_manifest
from jobtool.packages.package import Package, row_of
from jobtool.packages.putting import put_file, temporary_file
from jobtool.packages.storefile import StoreFile, buffered_file, reader_at
from jobtool.packages.tarheader import padded
from jobtool.packages.tarreading import TarItem, read_item
from jobtool.stores.store import READ_BYTES, Store


def reindex(
    package: Package,
    destination: Store,
    *,
    on_left_out: Callable[[TarItem], None] | None = None,
) -> int:
    """Write the index of a package beside its tar; return the number of members.

    ``destination`` is the folder of the tar, opened for writing. The tar is read once, from its
    beginning to its end. If there is a manifest, the tar must be the one that it names, by its MD5,
    and the manifest gets the size and the MD5 of the new index. Nothing is written before the tar
    was read to its end. Raises ``PackageError`` for what ``Package.members`` refuses, and for a tar
    that isn't the manifest's; and the errors of reading and writing.
    """
    entry, manifest = package.entry, package.manifest
    reading = _Reading(package)
    counts = [0, 0]

    def rows() -> Iterator[IndexRow]:
        paths = DistinctPaths(package.url)
        for item, md5 in reading.items():
            row = row_of(item, name=package.url, md5=md5)
            if row is None:
                if item.kind == "symlink" and on_left_out is not None:
                    on_left_out(item)
                continue
            paths.add(row.path)
            counts[0] += 1
            counts[1] += row.size
            yield row

    with temporary_file() as file:
        write_index(file, rows())
        if manifest is not None:
            _require_same(package, manifest, reading.md5(), (counts[0], counts[1]))
        name = entry.path + INDEX_SUFFIX
        size, md5 = put_file(destination, name, file, mtime_ns=entry.mtime_ns, retry=package.retry)
    if manifest is not None and (size, md5) != (manifest.index.size, manifest.index.md5):
        changed = replace(manifest, index=replace(manifest.index, size=size, md5=md5))
        put_file(
            destination,
            entry.path + MANIFEST_SUFFIX,
            io.BytesIO(encode_manifest(changed)),
            mtime_ns=entry.mtime_ns,
            retry=package.retry,
        )
    destination.sync()
    return counts[0]


def _require_same(package: Package, manifest: Manifest, md5: str, counts: tuple[int, int]) -> None:
    if md5 != manifest.tar.md5:
        raise PackageError(
            f"{quote(package.url)}: expected MD5 {manifest.tar.md5}, as the manifest says; found "
            f"{md5}. The tar was damaged or changed: fetch it again."
        )
    if counts != (manifest.members, manifest.bytes):
        raise PackageError(
            f"{quote(package.url)}: expected {manifest.members} members of {manifest.bytes} bytes, "
            f"as the manifest says; found {counts[0]} of {counts[1]} bytes. The manifest is "
            "another one's, or was changed."
        )


class _Reading:
    """Reads a tar once, in order, and hashes its members and the whole."""

    def __init__(self, package: Package) -> None:
        self._package = package
        self._raw = _HashedFile(package)
        self._file = buffered_file(self._raw, READ_BYTES)

    def items(self) -> Iterator[tuple[TarItem, str]]:
        """Yield the items and the MD5 of each file."""
        read, start, size = reader_at(self._file), 0, self._package.entry.size
        while start < size:
            item = read_item(read, start, name=self._package.url)
            if item is None:
                return
            yield item, self._md5_of(item)
            start = item.end

    def md5(self) -> str:
        """Read what follows the last item; return the MD5 of the whole tar."""
        while self._file.read(READ_BYTES):
            pass
        return self._raw.hexdigest()

    def _md5_of(self, item: TarItem) -> str:
        digest = hasher_for(item.size)
        self._file.seek(item.offset)
        # The padding is read too, so that nothing is passed over.
        for start in range(0, padded(item.size), READ_BYTES):
            length = min(READ_BYTES, padded(item.size) - start)
            data = self._file.read(length)
            if len(data) != length:
                raise PackageError(
                    f"{quote(self._package.url)}, member {quote(item.path)}: expected "
                    f"{item.size} bytes; found the end of the tar. It was cut."
                )
            digest.update(memoryview(data)[: item.size - start])
        return digest.hexdigest()


class _HashedFile(StoreFile):
    """The tar of a package, hashed while it is read from its beginning to its end."""

    def __init__(self, package: Package) -> None:
        super().__init__(package.store, package.entry, package.retry)
        self._is_needed = package.manifest is not None
        self._digest = hasher_for(package.entry.size)
        self._hashed = 0

    def readinto(self, buffer: Any, /) -> int:
        """Fill a buffer, and hash what is new in it."""
        at = self.tell()
        length = super().readinto(buffer)
        if self._is_needed and at <= self._hashed < at + length:
            self._digest.update(memoryview(buffer).cast("B")[self._hashed - at : length])
            self._hashed = at + length
        return length

    def hexdigest(self) -> str:
        """Return the MD5 of what was read."""
        return self._digest.hexdigest()
