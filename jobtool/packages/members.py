"""The members of a package: which files it bundles, in their order, and where they lie.

A million members take about 100 bytes each in memory: names are packed into one buffer, numbers
into arrays.
"""

from __future__ import annotations

import hashlib
import os
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise

import msgspec

from jobtool.errors import PackageError
from jobtool.names import quote
from jobtool.stores.location import unfit_reason
from jobtool.transfer.plan import METADATA_NAMES

#: The permissions of a member whose store keeps none.
DEFAULT_MODE = 0o644

#: Longer paths are refused. Filesystems allow some 4,096 bytes, stores of objects 1,024.
MAX_PATH_BYTES = 32768

_MODE_BITS = 0o7777
_SEPARATOR = b"\0"  # the one byte that no name holds


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a package.

    ``path`` is that in the package: relative, with parts joined by ``/``. ``size`` is in bytes,
    ``mtime_ns`` in nanoseconds since 1970, ``mode`` holds the permissions. ``source`` is the path
    in the store that the bytes are read from; it is ``path`` if that is None.
    """

    path: str
    size: int
    mtime_ns: int
    mode: int = DEFAULT_MODE
    source: str | None = None

    @property
    def source_path(self) -> str:
        """The path in the store that the member is read from."""
        return self.path if self.source is None else self.source


class PackedItem(msgspec.Struct, frozen=True, kw_only=True):
    """An item of a package: its name, the number of its members, and their size in bytes."""

    name: str
    members: int
    bytes: int


class MemberList:
    """The members of one package in their order, numbered from 0, each in an item."""

    def __init__(self) -> None:
        self._paths = bytearray()
        self._ends = array("Q")
        self._sizes = array("q")
        self._mtimes = array("q")
        self._modes = array("H")
        self._items: list[str] = []
        self._item_starts = array("Q")
        self._total = 0

    def __len__(self) -> int:
        return len(self._sizes)

    def __getitem__(self, number: int) -> Member:
        path, _, source = self.packed_name(number).partition(_SEPARATOR)
        return Member(
            path=os.fsdecode(path),
            size=self._sizes[number],
            mtime_ns=self._mtimes[number],
            mode=self._modes[number],
            source=os.fsdecode(source) if source else None,
        )

    def __iter__(self) -> Iterator[Member]:
        return (self[number] for number in range(len(self)))

    def start_item(self, name: str) -> None:
        """Begin an item. The members that are added from now on belong to it."""
        self._items.append(name)
        self._item_starts.append(len(self))

    def add(self, member: Member) -> None:
        """Add a member at the end. Raises ``PackageError`` for a path or number that can't be."""
        name = _fit(member.path)
        if member.source is not None and member.source != member.path:
            name += _SEPARATOR + _fit(member.source)
        try:
            self._add(name, member.size, member.mtime_ns, member.mode)
        except OverflowError:
            raise _unfit(member) from None

    def extend(self, other: MemberList, numbers: range) -> None:
        """Add members of another list at the end, those of a range of numbers."""
        bounds = slice(numbers.start, numbers.stop)
        start = other._ends[numbers.start - 1] if numbers.start else 0
        end = other._ends[numbers.stop - 1] if numbers.stop else 0
        shift = len(self._paths) - start
        self._paths += other._paths[start:end]
        self._ends.extend(each + shift for each in other._ends[bounds])
        self._sizes += other._sizes[bounds]
        self._mtimes += other._mtimes[bounds]
        self._modes += other._modes[bounds]
        self._total += sum(other._sizes[bounds])

    def _add(self, name: bytes, size: int, mtime_ns: int, mode: int) -> None:
        if size < 0 or not 0 <= mode <= _MODE_BITS:
            raise OverflowError
        numbers = array("q", (size, mtime_ns))  # raises OverflowError before anything is added
        self._paths += name
        self._ends.append(len(self._paths))
        self._sizes.append(numbers[0])
        self._mtimes.append(numbers[1])
        self._modes.append(mode)
        self._total += size

    @property
    def total_bytes(self) -> int:
        """The size of all members, in bytes."""
        return self._total

    @property
    def newest_ns(self) -> int:
        """The latest modification time, in nanoseconds since 1970; 0 without members."""
        return max(self._mtimes, default=0)

    def size_of(self, number: int) -> int:
        """Return a member's size in bytes."""
        return self._sizes[number]

    def mtime_of(self, number: int) -> int:
        """Return a member's modification time in nanoseconds since 1970."""
        return self._mtimes[number]

    def mode_of(self, number: int) -> int:
        """Return a member's permissions."""
        return self._modes[number]

    def path_of(self, number: int) -> bytes:
        """Return the bytes of a member's path in the package."""
        return self.packed_name(number).partition(_SEPARATOR)[0]

    def packed_name(self, number: int) -> bytes:
        """Return a member's path and, after a NUL, that in its store if it is another one."""
        start = self._ends[number - 1] if number else 0
        return bytes(self._paths[start : self._ends[number]])

    def item_of(self, number: int) -> str | None:
        """Return the name of a member's item; None before the first item."""
        index = bisect_right(self._item_starts, number) - 1
        return self._items[index] if index >= 0 else None

    def items(self) -> Iterator[PackedItem]:
        """Yield the items in their order."""
        for name, numbers in self.item_ranges():
            size = sum(self._sizes[numbers.start : numbers.stop])
            yield PackedItem(name=name, members=len(numbers), bytes=size)

    def item_ranges(self) -> Iterator[tuple[str, range]]:
        """Yield each item's name and the numbers of its members."""
        bounds = [*self._item_starts, len(self)]
        for name, (start, end) in zip(self._items, pairwise(bounds), strict=True):
            yield name, range(start, end)

    def fingerprint(self) -> str:
        """Return a digest in hex of all that the tar depends on, and of where it is read from."""
        digest = hashlib.blake2b(digest_size=16)
        for part in (self._ends, self._sizes, self._mtimes, self._modes, self._paths):
            digest.update(memoryview(part))
        return digest.hexdigest()

    def require_distinct(self) -> None:
        """Raise ``PackageError`` if a path stands twice, or below another member."""
        order = sorted(range(len(self)), key=lambda number: self.path_of(number) + b"/")
        before = None
        for number in order:
            path = self.path_of(number) + b"/"
            if before is not None and path.startswith(before):
                shown = quote(os.fsdecode(path[:-1]))
                if path == before:
                    raise PackageError(
                        f"expected each path once in a package; found two members {shown}"
                    )
                raise PackageError(
                    f"{shown}: expected a folder at {quote(os.fsdecode(before[:-1]))}; found a "
                    "member that is a file"
                )
            before = path


def in_package_order(members: MemberList) -> MemberList:
    """Return the members of each item in the order in which a package has them.

    Data keeps its order. The metadata of data sets comes last in its item, the deepest first and
    the root's last of all: a reader that unpacks from the front sees no half data set.
    """
    found = MemberList()
    for name, numbers in item_or_all(members):
        if name is not None:
            found.start_item(name)
        by_depth: dict[int, array[int]] = {}
        for number in numbers:
            path = members.path_of(number)
            if path.rpartition(b"/")[2] in METADATA_NAMES:
                by_depth.setdefault(path.count(b"/"), array("Q")).append(number)
            else:
                found.add(members[number])
        for depth in sorted(by_depth, reverse=True):
            for number in by_depth[depth]:
                found.add(members[number])
    return found


def item_or_all(members: MemberList) -> Iterator[tuple[str | None, range]]:
    """Yield the ranges of items, and first that of the members before the first item."""
    ranges = list(members.item_ranges())
    first = ranges[0][1].start if ranges else len(members)
    if first:
        yield None, range(first)
    yield from ranges


def _fit(path: str) -> bytes:
    """Return a path as bytes. Raises ``PackageError`` for one that no file of a store has."""
    name = os.fsencode(path)
    reason = unfit_reason(path)
    if len(name) > MAX_PATH_BYTES:
        reason = f"one of {len(name)} bytes"
    if reason is not None:
        raise PackageError(
            f"{quote(path[:200])}: expected the relative path of a member, without empty parts, "
            f"'.' or '..' and of at most {MAX_PATH_BYTES} bytes; found {reason}"
        )
    return name


def _unfit(member: Member) -> PackageError:
    return PackageError(
        f"{quote(member.path)}: expected a size from 0 and a time within 64 bits, and permissions "
        f"from 0 to 0o7777; found {member.size}, {member.mtime_ns} and {member.mode:#o}"
    )
