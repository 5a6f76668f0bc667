"""The plan of a job: all its files, with the order in which they are sent.

A million files take about 100 bytes each: names are packed into one buffer, numbers into arrays.
Files are numbered as listed, so the file of a receipt is found by binary search.
"""

from __future__ import annotations

import os
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, get_args

import msgspec

from jobtool.errors import JobtoolError
from jobtool.jobs.forms import ENDINGS
from jobtool.jobs.records import (
    DigestRecord,
    IntentRecord,
    Receipt,
    UploadRecord,
    planned_dst_path,
)
from jobtool.stores.store import Entry, Special, SpecialKind, Store

if TYPE_CHECKING:
    from jobtool.filters.selection import Selection

#: Files that make a data set readable, as they are or compressed. They go last, so that no reader
#: sees half a data set.
METADATA_NAMES = frozenset(
    os.fsencode(name + ending)
    for ending in ("", *ENDINGS.values())
    for name in (
        "zarr.json",
        ".zmetadata",
        ".zattrs",
        ".zgroup",
        ".zarray",
        "_metadata",
        "_common_metadata",
        "_SUCCESS",
    )
)

#: A job with more files in error than this is ended.
MAX_FAILURES = 100

_NEARBY = 64
_SPECIAL_KINDS: tuple[SpecialKind, ...] = get_args(SpecialKind)
_SEPARATOR = b"\0"  # the one byte that no name holds


class Route(msgspec.Struct, frozen=True):
    """The stores that files come from and go to."""

    source: Store
    destination: Store


class Item(msgspec.Struct, frozen=True):
    """One file of a plan."""

    route: Route
    entry: Entry
    destination_path: str

    @property
    def source_url(self) -> str:
        """The absolute path or URL that the file comes from."""
        return self.route.source.url_of(self.entry.path)

    @property
    def destination_url(self) -> str:
        """The absolute path or URL that the file goes to."""
        return self.route.destination.url_of(self.destination_path)


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A file that can't be transferred, by the path or URL of its source.

    ``destination`` is the file's destination in the job file, if the job names its files.
    """

    path: str
    error: JobtoolError
    destination: str | None = None


class Plan:
    """The files of a job, numbered from 0.

    ``failures`` are the files that can't be transferred, and named files that weren't found. No
    more than ``MAX_FAILURES`` and one are kept. ``selection`` says what of a tree is left out, None
    for nothing. ``excluded`` counts the files, specials and folders left out; a folder that isn't
    opened counts as one.
    """

    def __init__(self, selection: Selection | None = None) -> None:
        self.selection = selection
        self.excluded = 0
        self.routes: list[Route] = []
        self._roots: list[tuple[str, str]] = []  # what the URLs of each route's files begin with
        self._added_bytes = 0
        self._changed_bytes = 0  # separate: one thread adds files while others change them
        self._names = bytearray()
        self._ends = array("Q")
        self._sizes = array("q")
        self._mtimes = array("q")
        self._route_starts = array("Q")
        self._sorted: list[array[int]] | None = None
        self._last_found = -1
        self.is_tree = False  # one route, each file under the same path on both sides
        self.failures: list[Failure] = []
        self._specials = bytearray()
        self._special_ends = array("Q")
        self._special_routes = array("Q")

    def __len__(self) -> int:
        return len(self._sizes)

    def start_route(self, route: Route) -> None:
        """Set the route of the files that are added from now on."""
        self.routes.append(route)
        self._roots.append((_root_of(route.source), _root_of(route.destination)))
        self._route_starts.append(len(self))

    def add_special(self, special: Special) -> None:
        """Add a special to the current route."""
        target = b"" if special.target is None else _SEPARATOR + os.fsencode(special.target)
        kind = bytes([_SPECIAL_KINDS.index(special.what)])
        self._specials += kind + os.fsencode(special.path) + target
        self._special_ends.append(len(self._specials))
        self._special_routes.append(len(self.routes) - 1)

    @property
    def has_specials(self) -> bool:
        """Whether any specials were added."""
        return bool(self._special_ends)

    def specials(self) -> Iterator[tuple[Route, Special]]:
        """Yield the specials with their routes, in the order in which they were added."""
        start = 0
        for end, route in zip(self._special_ends, self._special_routes, strict=True):
            packed, start = bytes(self._specials[start:end]), end
            path, separator, target = packed[1:].partition(_SEPARATOR)
            what = _SPECIAL_KINDS[packed[0]]
            special = Special(os.fsdecode(path), what, os.fsdecode(target) if separator else None)
            yield self.routes[route], special

    def fail(self, path: str, error: JobtoolError) -> None:
        """Record that a file, by the path or URL of its source, can't be transferred."""
        if len(self.failures) <= MAX_FAILURES:
            self.failures.append(Failure(path=path, error=error))

    def update(self, number: int, entry: Entry) -> None:
        """Replace the size and time of a file that has changed since it was listed."""
        self._changed_bytes += entry.size - self._sizes[number]
        self._sizes[number] = entry.size
        self._mtimes[number] = entry.mtime_ns

    def add(self, entry: Entry, destination_path: str | None = None) -> None:
        """Add a file. ``destination_path`` is needed only if it differs from the source's path."""
        self._names += os.fsencode(entry.path)
        if destination_path is not None and destination_path != entry.path:
            self._names += _SEPARATOR + os.fsencode(destination_path)
        self._ends.append(len(self._names))
        self._sizes.append(entry.size)
        self._mtimes.append(entry.mtime_ns)
        self._added_bytes += entry.size

    @property
    def total_bytes(self) -> int:
        """The size of all files, in bytes."""
        return self._added_bytes + self._changed_bytes

    def is_metadata(self, number: int) -> bool:
        """Return True if a file makes a data set readable, and so goes last."""
        return _last_name(self._name(number)) in METADATA_NAMES

    def source_names(self) -> Iterator[bytes]:
        """Yield the path of each file at the source, as bytes."""
        return (self._name(number).partition(_SEPARATOR)[0] for number in range(len(self)))

    def is_any_named_with(self, text: str) -> bool:
        """Return False if no path of a file or a special holds ``text``."""
        return os.fsencode(text) in self._names or os.fsencode(text) in self._specials

    def size_of(self, number: int) -> int:
        """Return a file's size in bytes."""
        return self._sizes[number]

    def item(self, number: int) -> Item:
        """Return a file."""
        path, _, destination_path = self._name(number).partition(_SEPARATOR)
        entry = Entry(os.fsdecode(path), self._sizes[number], self._mtimes[number])
        return Item(self.route_of(number), entry, os.fsdecode(destination_path or path))

    def route_of(self, number: int) -> Route:
        """Return where a file comes from and where it goes."""
        return self.routes[self._route_of(number)]

    def route_ranges(self) -> Iterator[tuple[int, int, Store]]:
        """Yield each route's first number, the number after its last, and its destination."""
        bounds = [*self._route_starts, len(self)]
        for route, (first, last) in zip(self.routes, pairwise(bounds), strict=True):
            yield first, last, route.destination

    def find(self, receipt: Receipt | IntentRecord | UploadRecord | DigestRecord) -> int | None:
        """Return the number of the file that a record is about; None if the plan lacks it."""
        dst_path = planned_dst_path(receipt)
        for index, (source_root, destination_root) in enumerate(self._roots):
            if not receipt.src_path.startswith(source_root):
                continue
            if not dst_path.startswith(destination_root):
                continue
            source = receipt.src_path[len(source_root) :]
            destination = dst_path[len(destination_root) :]
            name = os.fsencode(source)
            if destination != source:
                name += _SEPARATOR + os.fsencode(destination)
            number = self._search(index, name)
            if number is not None:
                return number
        return None

    def find_path(self, route: int, path: str) -> int | None:
        """Return the number of the file of a tree's route at ``path``; None if there is none."""
        return self._search(route, os.fsencode(path))

    def has_below(self, route: int, folder: str) -> bool:
        """Return True if a tree's route has a file below ``folder``."""
        numbers, start = self._order()[route], os.fsencode(folder) + b"/"
        place = bisect_left(numbers, start, key=self._name)
        return place < len(numbers) and self._name(numbers[place]).startswith(start)

    def proves(self, receipt: Receipt | UploadRecord | DigestRecord, number: int) -> bool:
        """Return True if a record is about the file as it is now: same size and time."""
        return (receipt.size, receipt.mtime_ns) == (self._sizes[number], self._mtimes[number])

    def phases(self, *, large_bytes: int) -> Iterator[array[int]]:
        """Yield the numbers of the files that may be sent at the same time, phase after phase.

        The first phase is all data. In it files of at least ``large_bytes`` come before the others,
        the largest first. Then comes the metadata of data sets, the deepest first, so that the
        root's is last.
        """
        large, small = array("Q"), array("Q")
        by_depth: dict[int, array[int]] = {}
        for number in range(len(self)):
            path = self._name(number)
            if _last_name(path) in METADATA_NAMES:
                by_depth.setdefault(path.count(b"/"), array("Q")).append(number)
            elif self._sizes[number] >= large_bytes:
                large.append(number)
            else:
                small.append(number)
        yield array("Q", sorted(large, key=self.size_of, reverse=True)) + small
        for depth in sorted(by_depth, reverse=True):
            yield by_depth[depth]

    def _name(self, number: int) -> bytes:
        start = self._ends[number - 1] if number else 0
        return bytes(self._names[start : self._ends[number]])

    def _route_of(self, number: int) -> int:
        index = len(self._route_starts) - 1
        while self._route_starts[index] > number:
            index -= 1
        return index

    def _search(self, route: int, name: bytes) -> int | None:
        numbers = self._order()[route]
        # Callers mostly go through the files in order: look behind the last find first.
        low, high = self._last_found + 1, len(numbers)
        if low < high and self._name(numbers[low]) == name:
            self._last_found = low
            return numbers[low]
        near = range(max(low - _NEARBY, 0), min(low + _NEARBY, high))
        low = 0
        if near and self._name(numbers[near[0]]) <= name <= self._name(numbers[near[-1]]):
            low, high = near[0], near[-1] + 1
        while low < high:
            middle = (low + high) // 2
            if self._name(numbers[middle]) < name:
                low = middle + 1
            else:
                high = middle
        if low < len(numbers) and self._name(numbers[low]) == name:
            self._last_found = low
            return numbers[low]
        return None

    def _order(self) -> list[array[int]]:
        # Each route's numbers by name. Most stores list in that order. The sort is for those that
        # don't, and for named files.
        if self._sorted is None or sum(map(len, self._sorted)) != len(self):
            bounds = [*self._route_starts, len(self)]
            self._sorted = [
                array("Q", sorted(range(start, end), key=self._name))
                for start, end in pairwise(bounds)
            ]
        return self._sorted


def path_in(store: Store, url: str) -> str | None:
    """Return the path of a URL in a store; None if it isn't below the store's root."""
    root = _root_of(store)
    return url[len(root) :] if url.startswith(root) else None


def _root_of(store: Store) -> str:
    return store.url_of("x")[:-1]


def _last_name(packed: bytes) -> bytes:
    return packed.rpartition(_SEPARATOR)[2].rpartition(b"/")[2]
