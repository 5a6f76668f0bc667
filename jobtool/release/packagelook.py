"""Packages and unpacked members at the required destinations, looked at now."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from jobtool.errors import NotFoundError, PackageError
from jobtool.jobs.lastreceipts import last_of_each
from jobtool.jobs.records import Receipt
from jobtool.names import quote
from jobtool.packages.index import IndexRow
from jobtool.packages.manifest import Manifest
from jobtool.packages.package import Package, open_package
from jobtool.release.context import ReleaseContext
from jobtool.release.destinations import (
    Copy,
    Destinations,
    Digests,
    UnprovenError,
    copy_of,
    needed_part_sizes,
)
from jobtool.release.records import Evidence
from jobtool.stores.location import join

#: Returns the digests of a member's bytes, with the composite ETags for these sizes of parts.
ReadMember = Callable[[frozenset[int]], Digests]


def tar_copy(receipt: Receipt, manifest: Manifest) -> Copy:
    """Return the copy of a package's tar. Raises ``UnprovenError`` if its receipt doesn't fit."""
    copy = copy_of(receipt)
    if copy.form is not None:
        raise UnprovenError(f"expected a tar at {quote(copy.url)}; its receipt says {copy.form}")
    if (copy.size, copy.md5) != (manifest.tar.size, manifest.tar.md5):
        raise UnprovenError(
            f"expected {manifest.tar.size} bytes and MD5 {manifest.tar.md5} in the receipt of "
            f"{quote(copy.url)}, as the manifest says; found {copy.size} and {copy.md5}"
        )
    return Copy(
        url=copy.url,
        size=copy.size,
        md5=copy.md5,
        holds="package",
        part_size=copy.part_size,
    )


def look_at_package(
    copy: Copy,
    manifest: Manifest,
    digests: Digests,
    destinations: Destinations,
    context: ReleaseContext,
) -> tuple[Evidence, Package]:
    """Prove a package at a destination: its tar, its index, its manifest.

    ``digests`` are those of the tar as it was read or composed in this pass. Raises
    ``UnprovenError`` and the errors of stores.
    """
    evidence = destinations.look(copy, digests)
    try:
        package = open_package(copy.url, context.stores, retry=context.retry, role="destination")
        if package.index_entry is None or package.manifest is None:
            lacking = "index" if package.index_entry is None else "manifest"
            raise UnprovenError(
                f"expected an index and a manifest beside {quote(copy.url)}; found no {lacking} now"
            )
        if package.manifest != manifest:
            raise UnprovenError(
                f"expected the manifest of this package beside {quote(copy.url)}; found another "
                "one now"
            )
        package.require_index_digest()
    except (PackageError, NotFoundError) as error:
        raise UnprovenError(str(error)) from None
    return evidence, package


class UnpackedMembers:
    """The members of a package as files at one destination."""

    def __init__(self, root: str, receipts: Callable[[], Iterator[Receipt]]) -> None:
        self._root = root
        self._receipts = {one.dst_path: one for one in last_of_each(receipts)}

    def copy(self, path: str, size: int, md5: str) -> Copy:
        """Return the copy of a member. Raises ``UnprovenError`` if it has no fitting receipt."""
        url = join(self._root, path)
        receipt = self._receipts.get(url)
        if receipt is None:
            raise UnprovenError(f"expected a receipt of its unpacking to {quote(url)}; found none")
        copy = copy_of(receipt, root=self._root)
        if copy.form is None and (copy.size, copy.md5) != (size, md5):
            raise UnprovenError(
                f"expected {size} bytes and MD5 {md5} in the receipt of {quote(url)}, as the index "
                f"says; found {copy.size} and {copy.md5}"
            )
        return copy

    def copy_of_row(self, row: IndexRow) -> Copy:
        """Return the copy of a row of the index; see ``copy``."""
        return self.copy(row.path, row.size, row.md5)


def look_at_member(
    copy: Copy, md5: str, destinations: Destinations, read_member: ReadMember
) -> Evidence:
    """Prove an unpacked member. ``read_member`` is called if its ETag depends on its parts."""
    sizes = needed_part_sizes([(copy, destinations.entry(copy))])
    digests = read_member(sizes) if sizes else Digests(md5=md5)
    if digests.md5 != md5:
        raise UnprovenError(f"expected MD5 {md5}; read {digests.md5} now")
    return destinations.look(copy, digests)
