"""A list of the files to transfer: names below a source, sorted, each once, in one file.

The file begins with a line ``jobtool-names 1 COUNT BYTES``. Then come the names as bytes, each
ended by a NUL, the one byte that no name holds; ``BYTES`` is the size of them all, so that a list
that was cut is refused. They are in the order of their bytes, so that the names below a folder lie
side by side and are found by bisection, whatever the number of names.
"""

from __future__ import annotations

import contextlib
import os
import stat
from array import array
from bisect import bisect_left
from collections.abc import Iterator

#: A longer name is refused.
MOST_BYTES = 8192

_MAGIC = b"jobtool-names 1 "
_MOST_HEADER_BYTES = 64
_WINDOW_BYTES = 64 * 1024
_END = b"\0"


def header_of(count: int, size_bytes: int) -> bytes:
    """Return the first line of a list."""
    return _MAGIC + b"%d %d\n" % (count, size_bytes)


class NamesBelow:
    """The names below one folder, held in memory. Paths are relative to that folder.

    ``is_named`` says that the folder itself is one of the names. Threads may ask at the same time.
    """

    def __init__(self, names: bytes, *, start: int, is_named: bool = False) -> None:
        self.is_named = is_named
        self._names = names
        self._start = start  # the length of what comes before the relative path in each name
        self._ends = array("Q")
        end = names.find(_END)
        while end >= 0:
            self._ends.append(end)
            end = names.find(_END, end + 1)
        self._seen = bytearray(len(self._ends))
        self._last = -1

    def __len__(self) -> int:
        return len(self._ends)

    def holds(self, path: str) -> bool:
        """Return True if a path is one of the names."""
        return self._find(os.fsencode(path)) is not None

    def holds_below(self, folder: str) -> bool:
        """Return True if one of the names is below a folder."""
        start = os.fsencode(folder) + b"/"
        number = self._bisect(start)
        return number < len(self) and self._name(number).startswith(start)

    def see(self, path: str) -> None:
        """Note that a path was found at the source."""
        number = self._find(os.fsencode(path))
        if number is not None:
            self._seen[number] = 1

    def __iter__(self) -> Iterator[str]:
        return (os.fsdecode(self._name(number)) for number in range(len(self)))

    def unseen(self) -> Iterator[str]:
        """Yield the names that weren't found."""
        number = self._seen.find(0)
        while number >= 0:
            yield os.fsdecode(self._name(number))
            number = self._seen.find(0, number + 1)

    def _name(self, number: int) -> bytes:
        start = self._ends[number - 1] + 1 if number else 0
        return self._names[start + self._start : self._ends[number]]

    def _find(self, name: bytes) -> int | None:
        near = self._last + 1  # listings are in order: mostly the next one is asked for
        if near < len(self) and self._name(near) == name:
            self._last = near
            return near
        number = self._bisect(name)
        if number < len(self) and self._name(number) == name:
            self._last = number
            return number
        return None

    def _bisect(self, name: bytes) -> int:
        return bisect_left(range(len(self)), name, key=self._name)


class NameList:
    """The list in the file at ``path``.

    Raises ``ValueError`` for a file that isn't a whole list, and ``OSError``.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._count = self._start = self._end = 0
        with self._opened():
            pass

    def __len__(self) -> int:
        return self._count

    def below(self, folder: str) -> NamesBelow:
        """Return the names below a folder; ``""`` is the source itself."""
        prefix = os.fsencode(folder) + b"/" if folder else b""
        with self._opened() as descriptor:
            first = self._bound(descriptor, prefix, self._start)
            last = self._after(descriptor, prefix, first)
            names = _read(descriptor, first, last - first)
            is_named = bool(folder) and self._holds(descriptor, os.fsencode(folder))
        return NamesBelow(names, start=len(prefix), is_named=is_named)

    def holds(self, path: str) -> bool:
        """Return True if a path is one of the names."""
        with self._opened() as descriptor:
            return self._holds(descriptor, os.fsencode(path))

    def holds_below(self, folder: str) -> bool:
        """Return True if one of the names is below a folder."""
        prefix = os.fsencode(folder) + b"/" if folder else b""
        with self._opened() as descriptor:
            first = self._bound(descriptor, prefix, self._start)
            return first < self._end and self._at(descriptor, first)[1].startswith(prefix)

    def children(self, folder: str) -> Iterator[tuple[str, bool]]:
        """Yield what the names have directly inside a folder, and whether it is a folder.

        What is both a name and above other names is yielded twice.
        """
        prefix = os.fsencode(folder) + b"/" if folder else b""
        with self._opened() as descriptor:
            place = self._bound(descriptor, prefix, self._start)
            while place < self._end:
                _, name, end = self._at(descriptor, place)
                if not name.startswith(prefix):
                    return
                child, slash, _ = name[len(prefix) :].partition(b"/")
                if child:
                    yield os.fsdecode(child), bool(slash)
                place = self._after(descriptor, prefix + child + b"/", end) if slash else end

    def __iter__(self) -> Iterator[str]:
        with self._opened() as descriptor:
            rest, place = b"", self._start
            while place < self._end:
                piece = _read(descriptor, place, min(_WINDOW_BYTES * 16, self._end - place))
                place += len(piece)
                *names, rest = (rest + piece).split(_END)
                yield from map(os.fsdecode, names)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise ValueError("expected a list of names; found no regular file")
            header, newline, _ = os.pread(descriptor, _MOST_HEADER_BYTES, 0).partition(b"\n")
            count, _, size = header.removeprefix(_MAGIC).partition(b" ")
            if not (header.startswith(_MAGIC) and newline and count.isdigit() and size.isdigit()):
                raise ValueError("expected a list of names that jobtool made; found another file")
            self._count, self._start = int(count), len(header) + 1
            self._end = self._start + int(size)
            if found.st_size != self._end:
                raise ValueError(f"expected {self._end} bytes; found {found.st_size}: it was cut")
            yield descriptor
        finally:
            os.close(descriptor)

    def _holds(self, descriptor: int, name: bytes) -> bool:
        place = self._bound(descriptor, name, self._start)
        return place < self._end and self._at(descriptor, place)[1] == name

    def _after(self, descriptor: int, prefix: bytes, low: int) -> int:
        """Return where the names end that begin with a prefix, which begin before ``low``."""
        if not prefix:
            return self._end
        behind = prefix[:-1] + bytes([prefix[-1] + 1])
        step, high = _WINDOW_BYTES, low
        while high < self._end:  # the end is mostly near
            high = min(high + step, self._end)
            step *= 4
            if high == self._end or self._at(descriptor, high)[1] >= behind:
                break
        return self._bound(descriptor, behind, low, high)

    def _bound(self, descriptor: int, name: bytes, low: int, high: int | None = None) -> int:
        """Return where the first name begins that isn't less than ``name``."""
        high = self._end if high is None else high
        while low < high:
            start, found, end = self._at(descriptor, (low + high) // 2)
            if found < name:
                low = end
            else:
                high = max(start, low)
        return low

    def _at(self, descriptor: int, place: int) -> tuple[int, bytes, int]:
        """Return where the name at a place begins, the name, and where the next one begins."""
        first = max(place - MOST_BYTES - 1, self._start)
        window = _read(descriptor, first, min(2 * MOST_BYTES + 2, self._end - first))
        start = window.rfind(_END, 0, place - first) + 1
        end = window.find(_END, place - first)
        if end < 0:
            raise ValueError("expected names ended by NUL; found none: it was damaged")
        return first + start, window[start:end], first + end + 1


def _read(descriptor: int, start: int, length: int) -> bytes:
    pieces: list[bytes] = []
    while length:
        piece = os.pread(descriptor, min(length, 1 << 26), start)
        if not piece:
            raise ValueError("expected more names; the list was cut while it was read")
        pieces.append(piece)
        start += len(piece)
        length -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
