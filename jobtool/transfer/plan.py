"""The plan of a job: every file of it, and in which order they go.

A million files are listed in about 100 bytes each: names packed into one buffer, numbers into
arrays. Files are numbered as listed, so that a receipt finds its file by binary search.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from jobtool.errors import FileError, NotFoundError
from jobtool.jobs.job import Job
from jobtool.jobs.records import IntentRecord, Receipt, UploadRecord
from jobtool.names import quote
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.store import Entry, Special, Store, Unlisted, check_path
from jobtool.stores.urls import anchor_of, inside, is_absolute, is_local, parent_of, parse

#: Files that make a data set readable; they go last, so that no reader sees half of one.
METADATA_NAMES = frozenset(
    os.fsencode(name)
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

_NEARBY = 64
_SEPARATOR = b"\0"  # the one byte that no name holds


@dataclass(frozen=True, slots=True)
class Lane:
    """Where files come from and where they go."""

    source: Store
    destination: Store


@dataclass(frozen=True, slots=True)
class Item:
    """One file of a plan."""

    lane: Lane
    entry: Entry
    destination_path: str

    @property
    def source_url(self) -> str:
        """The absolute path or URL that the file comes from."""
        return self.lane.source.url_of(self.entry.path)

    @property
    def destination_url(self) -> str:
        """The absolute path or URL that the file goes to."""
        return self.lane.destination.url_of(self.destination_path)


class Plan:
    """The files of a job, numbered from 0."""

    def __init__(self) -> None:
        self.lanes: list[Lane] = []
        self.total_bytes = 0
        self._names = bytearray()
        self._ends = array("Q")
        self._sizes = array("q")
        self._mtimes = array("q")
        self._lane_starts = array("Q")
        self._sorted: list[array[int]] | None = None
        self._last_found = -1
        self.is_tree = False  # one lane, each file under the same path on both sides
        self.specials: list[tuple[Lane, Special]] = []

    def __len__(self) -> int:
        return len(self._sizes)

    def start_lane(self, lane: Lane) -> None:
        """Say where the files added from now on belong."""
        self.lanes.append(lane)
        self._lane_starts.append(len(self))

    def add_special(self, special: Special) -> None:
        """Add something of the current lane that has no bytes."""
        self.specials.append((self.lanes[-1], special))

    def update(self, number: int, entry: Entry) -> None:
        """Say that a file has another size and time than it was listed with."""
        self.total_bytes += entry.size - self._sizes[number]
        self._sizes[number] = entry.size
        self._mtimes[number] = entry.mtime_ns

    def add(self, entry: Entry, destination_path: str | None = None) -> None:
        """Add a file; ``destination_path`` only where it isn't the source's path."""
        self._names += os.fsencode(entry.path)
        if destination_path is not None and destination_path != entry.path:
            self._names += _SEPARATOR + os.fsencode(destination_path)
        self._ends.append(len(self._names))
        self._sizes.append(entry.size)
        self._mtimes.append(entry.mtime_ns)
        self.total_bytes += entry.size

    def size_of(self, number: int) -> int:
        """Return a file's size in bytes."""
        return self._sizes[number]

    def item(self, number: int) -> Item:
        """Return a file."""
        path, _, destination_path = self._name(number).partition(_SEPARATOR)
        entry = Entry(os.fsdecode(path), self._sizes[number], self._mtimes[number])
        lane = self.lanes[self._lane_of(number)]
        return Item(lane, entry, os.fsdecode(destination_path or path))

    def find(self, receipt: Receipt | IntentRecord | UploadRecord) -> int | None:
        """Return the number of the file that a record is about, None if the plan holds none."""
        for index, lane in enumerate(self.lanes):
            source = _inside(lane.source, receipt.src_path)
            destination = _inside(lane.destination, receipt.dst_path)
            if source is None or destination is None:
                continue
            name = os.fsencode(source)
            if destination != source:
                name += _SEPARATOR + os.fsencode(destination)
            number = self._search(index, name)
            if number is not None:
                return number
        return None

    def find_path(self, lane: int, path: str) -> int | None:
        """Return the number of the file of a tree's lane that is to be at ``path``."""
        return self._search(lane, os.fsencode(path))

    def proves(self, receipt: Receipt | UploadRecord, number: int) -> bool:
        """Tell whether a record is about the file as it is now: same size and time."""
        return (receipt.size, receipt.mtime_ns) == (self._sizes[number], self._mtimes[number])

    def phases(self, *, large_bytes: int) -> Iterator[array[int]]:
        """Yield the numbers of the files that may go at the same time, phase after phase.

        First all data, files of ``large_bytes`` and more ahead and the largest first; then the
        metadata of data sets, the deepest first, so that the root's comes last of all.
        """
        large, small = array("Q"), array("Q")
        by_depth: dict[int, array[int]] = {}
        for number in range(len(self)):
            path = self._name(number)
            name = path.rpartition(_SEPARATOR)[2].rpartition(b"/")[2]
            if name in METADATA_NAMES:
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

    def _lane_of(self, number: int) -> int:
        index = len(self._lane_starts) - 1
        while self._lane_starts[index] > number:
            index -= 1
        return index

    def _search(self, lane: int, name: bytes) -> int | None:
        numbers = self._order()[lane]
        # Whoever asks mostly goes through the files in order: look behind the last find first.
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
        # Each lane's numbers by name. Stores list in that order; for those that don't, and for
        # named files, this sorts.
        if self._sorted is None:
            bounds = [*self._lane_starts, len(self)]
            self._sorted = [
                array("Q", sorted(range(start, end), key=self._name))
                for start, end in pairwise(bounds)
            ]
        return self._sorted


def make_plan(job: Job, stores: StoreRegistry, *, owner: str = "") -> Plan:
    """List what a job copies, on behalf of ``owner``.

    ``job.destination`` must be set unless all its files are absolute.

    Raises ``SourceError`` if something is missing or can't be listed, ``FileError`` for a path that
    would leave its root or a destination named twice, ``UsageError`` for a source or destination
    that can't be carried, ``WorldError``.
    """
    for url in (job.source, job.destination):
        if url is not None:
            parse(url)
    return _plan_files(job, stores, owner) if job.files else _plan_tree(job, stores, owner)


def _plan_tree(job: Job, stores: StoreRegistry, owner: str) -> Plan:
    if job.source is None or job.destination is None:
        raise FileError(f"job {quote(job.name)}: expected a source and a destination")
    plan = Plan()
    source = stores.open(job.source, "source")
    kind = source.kind("")
    if kind == "file" or (kind == "missing" and _is_one_file(job.source, stores)):
        source_folder, source_name = parent_of(job.source)
        destination_folder, destination_name = parent_of(job.destination)
        source = stores.open(source_folder, "source")
        destination = stores.open(destination_folder, "destination", owner=owner)
        plan.start_lane(Lane(source, destination))
        plan.add(source.head(source_name), destination_name)
        return plan
    if kind == "missing":
        raise NotFoundError(
            f"expected a folder or file at {quote(job.source)}; found nothing. "
            "Was the source moved or removed?"
        )
    destination = stores.open(job.destination, "destination", owner=owner)
    plan.start_lane(Lane(source, destination))
    plan.is_tree = True
    for entry in source.list():
        if isinstance(entry, Special):
            plan.add_special(entry)
        elif isinstance(entry, Unlisted):
            raise entry.error
        else:
            plan.add(entry)
    if not len(plan) and not plan.specials and is_local(job.destination):
        return _plan_empty_folder(source, job.destination, stores, owner)
    return plan


def plan_of_files(
    job: Job, entries: Iterable[tuple[str, str, int, int]], stores: StoreRegistry, owner: str
) -> Plan:
    """Make a plan of some files of a job without looking at them, in the order given.

    Each is its source, its destination (absolute paths or URLs), its size in bytes and its
    modification time in nanoseconds since 1970. Raises ``FileError`` for one that lies elsewhere.
    """
    plan = Plan()
    if not job.files and job.source is not None and job.destination is not None:
        lane = Lane(
            stores.open(job.source, "source"),
            stores.open(job.destination, "destination", owner=owner),
        )
        entries = [*entries]
        if entries and _inside(lane.source, entries[0][0]):
            plan.start_lane(lane)
            for source_url, destination_url, size, mtime_ns in entries:
                source = _inside(lane.source, source_url)
                destination = _inside(lane.destination, destination_url)
                if not source or not destination:
                    raise _not_of(job, source_url, destination_url)
                plan.add(Entry(check_path(source), size, mtime_ns), check_path(destination))
            return plan
    named = _named_files(job, stores)
    lanes: dict[tuple[str, str], Lane] = {}
    last: Lane | None = None
    for source_url, destination_url, size, mtime_ns in entries:
        if (source_url, destination_url) not in named:
            raise _not_of(job, source_url, destination_url)
        roots, source, destination = named[source_url, destination_url]
        if roots not in lanes:
            lanes[roots] = Lane(
                stores.open(roots[0], "source"),
                stores.open(roots[1], "destination", owner=owner),
            )
        if lanes[roots] is not last:
            last = lanes[roots]
            plan.start_lane(last)
        plan.add(Entry(source, size, mtime_ns), destination)
    return plan


_Roots = tuple[str, str]


def _named_files(job: Job, stores: StoreRegistry) -> dict[tuple[str, str], tuple[_Roots, str, str]]:
    """Return the files that a job names, by their URLs: their stores' roots, their paths there."""
    pairs = [
        (*_resolve(pair.source, job.source), *_resolve_destination(pair.destination, job))
        for pair in job.files
    ]
    if not job.files:
        pairs = [(*parent_of(job.source or ""), *parent_of(job.destination or ""))]
    found = {}
    urls: dict[str, Store] = {}
    for source_root, source, destination_root, destination in pairs:
        for root in (source_root, destination_root):
            if root not in urls:
                urls[root] = stores.open(root, "source")
        key = (urls[source_root].url_of(source), urls[destination_root].url_of(destination))
        found[key] = ((source_root, destination_root), source, destination)
    return found


def _not_of(job: Job, source_url: str, destination_url: str) -> FileError:
    return FileError(
        f"{quote(source_url)} -> {quote(destination_url)} is no file of job {quote(job.name)}"
    )


def _plan_empty_folder(source: Store, destination: str, stores: StoreRegistry, owner: str) -> Plan:
    folder, name = parent_of(destination)
    plan = Plan()
    plan.start_lane(Lane(source, stores.open(folder, "destination", owner=owner)))
    plan.add_special(Special(name, "empty-folder"))
    return plan


def _is_one_file(url: str, stores: StoreRegistry) -> bool:
    folder, name = parent_of(url)
    return name != "" and stores.open(folder, "source").kind(name) == "file"


def _plan_files(job: Job, stores: StoreRegistry, owner: str) -> Plan:
    plan = Plan()
    pairs: dict[tuple[str, str], list[tuple[str, str]]] = {}
    taken: set[tuple[str, str]] = set()
    for pair in job.files:
        source_root, source = _resolve(pair.source, job.source)
        destination_root, destination = _resolve_destination(pair.destination, job)
        if (destination_root, destination) in taken:
            raise FileError(f"{quote(pair.destination)} is the destination of two files of the job")
        taken.add((destination_root, destination))
        pairs.setdefault((source_root, destination_root), []).append((source, destination))
    for (source_root, destination_root), names in pairs.items():
        lane = Lane(
            stores.open(source_root, "source"),
            stores.open(destination_root, "destination", owner=owner),
        )
        plan.start_lane(lane)
        for source, destination in names:
            plan.add(lane.source.head(source), destination)
    return plan


def _resolve(path: str, root: str | None) -> tuple[str, str]:
    if is_absolute(path):
        anchor, path = anchor_of(path)
        return anchor, check_path(path)
    if root is None:
        raise FileError(f"{quote(path)} is relative, and the job names no folder that it is in")
    return root.rstrip("/") or "/", check_path(path)


def _resolve_destination(path: str, job: Job) -> tuple[str, str]:
    """Resolve a destination as relative wherever it can be: links below the job's are refused."""
    if path.startswith("/") and job.destination is not None:
        below = inside(job.destination, path)
        if below:
            return job.destination.rstrip("/") or "/", check_path(below)
    return _resolve(path, job.destination)


def _inside(store: Store, url: str) -> str | None:
    root = store.url_of("x")[:-1]
    return url[len(root) :] if url.startswith(root) else None
