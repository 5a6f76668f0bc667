"""The members of a package in memory, found by path and by their place in the tar.

A million members take about 60 bytes each and their paths.
"""

from __future__ import annotations

import os
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator

from jobtool.packages.index import IndexRow
from jobtool.packages.package import Placed

_MD5_BYTES = 16


class MemberTable:
    """Members, numbered from 0 in the order of the tar."""

    def __init__(self, members: Iterable[Placed]) -> None:
        self._paths = bytearray()
        self._ends = array("Q")
        self._starts = array("Q")
        self._offsets = array("Q")
        self._sizes = array("Q")
        self._mtimes = array("q")
        self._modes = array("H")
        self._md5s = bytearray()
        for placed in members:
            self._add(placed)
        self._order = array("Q", sorted(range(len(self)), key=self.path_of))

    def __len__(self) -> int:
        return len(self._sizes)

    def _add(self, placed: Placed) -> None:
        row = placed.row
        self._paths += os.fsencode(row.path)
        self._ends.append(len(self._paths))
        self._starts.append(placed.start)
        self._offsets.append(row.offset)
        self._sizes.append(row.size)
        self._mtimes.append(row.mtime_ns)
        self._modes.append(row.mode)
        self._md5s += bytes.fromhex(row.md5)  # of all members or, without an index, of none

    def path_of(self, number: int) -> bytes:
        """Return the bytes of a member's path."""
        start = self._ends[number - 1] if number else 0
        return bytes(self._paths[start : self._ends[number]])

    def __getitem__(self, number: int) -> Placed:
        md5 = self._md5s[number * _MD5_BYTES : (number + 1) * _MD5_BYTES].hex()
        row = IndexRow(
            os.fsdecode(self.path_of(number)),
            self._offsets[number],
            self._sizes[number],
            md5,
            self._mtimes[number],
            self._modes[number],
        )
        return Placed(row, self._starts[number])

    def start_of(self, number: int) -> int:
        """Return the offset of a member's headers in the tar."""
        return self._starts[number]

    def end_of(self, number: int) -> int:
        """Return the offset after a member's data, without its padding."""
        return self._offsets[number] + self._sizes[number]

    def size_of(self, number: int) -> int:
        """Return a member's size in bytes."""
        return self._sizes[number]

    def find(self, path: str) -> int | None:
        """Return the number of a member, or None if there is none of this path."""
        name = os.fsencode(path)
        place = bisect_left(self._order, name, key=self.path_of)
        if place < len(self) and self.path_of(self._order[place]) == name:
            return self._order[place]
        return None

    def has_below(self, folder: str) -> bool:
        """Return True if there are members below a folder; ``""`` holds all."""
        return bool(self._places_below(os.fsencode(folder)))

    def below(self, folder: str) -> Iterator[int]:
        """Yield the numbers of the members below a folder, in ascending order of their paths."""
        return (self._order[place] for place in self._places_below(os.fsencode(folder)))

    def names_in(self, folder: str) -> dict[str, bool]:
        """Return the names directly inside a folder, sorted; True for those of folders."""
        within = os.fsencode(folder)
        start = len(within) + 1 if within else 0
        places = self._places_below(within)
        found: dict[bytes, bool] = {}
        place = places.start
        while place < places.stop:
            path = self.path_of(self._order[place])
            name, slash, _ = path[start:].partition(b"/")
            found[name] = bool(slash)
            place = self._places_below(path[: start + len(name)]).stop if slash else place + 1
        return {os.fsdecode(name): found[name] for name in sorted(found)}

    def _places_below(self, folder: bytes) -> range:
        if not folder:
            return range(len(self))
        first = bisect_left(self._order, folder + b"/", key=self.path_of)
        after = bisect_left(self._order, folder + b"0", lo=first, key=self.path_of)  # b"/" + 1
        return range(first, after)
