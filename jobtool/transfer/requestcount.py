"""How many requests a transfer makes to the stores of both sides, before it makes any.

It counts what the transfer does where nothing fails: files whole or in parts by the rules of the
copier, a page of a listing for each thousand names. What services charge for and limit is a request
to an object store. Folders and memory take none.
"""

from __future__ import annotations

import msgspec

from jobtool.stores.store import Store
from jobtool.transfer.copy import goes_in_parts
from jobtool.transfer.partranges import part_count, part_size_for

#: Names in a page of a listing: S3, Azure and Google have up to as many, or more.
PAGE_NAMES = 1000

#: The requests that begin and end a file in parts.
_AROUND_PARTS = 2


class RequestCount(msgspec.Struct, kw_only=True):
    """Requests to a store: pages of listings, reads (of data or of attributes), writes."""

    lists: int = 0
    reads: int = 0
    writes: int = 0

    def add(self, other: RequestCount) -> None:
        """Add the counts of another."""
        self.lists += other.lists
        self.reads += other.reads
        self.writes += other.writes

    @property
    def total(self) -> int:
        """All of them."""
        return self.lists + self.reads + self.writes


class SideCounts:
    """The requests to both stores of a route, file by file.

    ``part_bytes`` is the copier's. With ``is_inside`` the service copies the files itself.
    """

    def __init__(
        self, source: Store, destination: Store, *, part_bytes: int, is_inside: bool
    ) -> None:
        self.source, self.destination = RequestCount(), RequestCount()
        self._to = destination
        self._part_bytes = part_bytes
        self._is_inside = is_inside
        self._source_takes = takes_requests(source)
        self._destination_takes = takes_requests(destination)

    def send(self, size: int) -> None:
        """Count a file that is sent."""
        parts = self._parts(size)
        if self._source_takes:
            self.source.reads += 1 if self._is_inside else parts
        if self._destination_takes:
            in_parts = goes_in_parts(size, self._to, self._part_bytes)
            self.destination.writes += parts + _AROUND_PARTS if in_parts else 1

    def compare(self, size: int) -> None:
        """Count a file that is compared with the one at the destination by its digest."""
        if self._source_takes:
            self.source.reads += 1 if self._is_inside else self._parts(size)
        if self._destination_takes:
            self.destination.reads += 1

    def list_source(self, names: int) -> None:
        """Count the listing of a tree, after the look at its root."""
        if self._source_takes:
            self.source.lists += 1 + pages(names)

    def list_destination(self, names: int) -> None:
        """Count the look at the destination of a tree, and its listing if anything is there."""
        if self._destination_takes:
            self.destination.lists += 1 + (pages(names) if names else 0)

    def look(self, count: int) -> None:
        """Count the looks at named files on both sides."""
        self.source.reads += count if self._source_takes else 0
        self.destination.reads += count if self._destination_takes else 0

    def _parts(self, size: int) -> int:
        if size < self._part_bytes:
            return 1
        return part_count(size, part_size_for(size, self._part_bytes))


def takes_requests(store: Store) -> bool:
    """Return True for a store on a server; False for folders and memory."""
    return not store.capabilities.cheap_reads


def pages(names: int) -> int:
    """Return how many requests a listing of so many names takes."""
    return max(-(-names // PAGE_NAMES), 1)
