"""Where everything stands in the tar of a package, known before a byte of it is read."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

from jobtool.packages.members import MemberList
from jobtool.packages.tarheader import END_BYTES, header, header_size, padded


class Span(NamedTuple):
    """Bytes of a member's data that lie in a range of the tar.

    ``number`` is the member's. ``start`` and ``end`` are offsets in its data, ``at`` is the offset
    of ``start`` in the range, all in bytes.
    """

    number: int
    start: int
    end: int
    at: int


class TarLayout:
    """The places of a package's members in its tar. A member takes 8 bytes of memory."""

    def __init__(self, members: MemberList) -> None:
        self.members = members
        self._starts = array("Q")
        at = 0
        for number in range(len(members)):
            self._starts.append(at)
            size = members.size_of(number)
            at += header_size(members.path_of(number), size, members.mtime_of(number))
            at += padded(size)
        self._end = at

    @property
    def total_size(self) -> int:
        """The size of the tar in bytes."""
        return self._end + END_BYTES

    def start_of(self, number: int) -> int:
        """Return the offset of a member's header in bytes."""
        return self._starts[number]

    def data_offset(self, number: int) -> int:
        """Return the offset of a member's data in bytes."""
        return self.end_of(number) - padded(self.members.size_of(number))

    def end_of(self, number: int) -> int:
        """Return the offset after a member's data and padding in bytes."""
        following = number + 1
        return self._starts[following] if following < len(self._starts) else self._end

    def find(self, offset: int) -> int:
        """Return the number of the member whose header, data or padding is at an offset.

        It is the number of members for an offset at the end of the archive.
        """
        if offset >= self._end:
            return len(self._starts)
        return bisect_right(self._starts, offset) - 1

    def header_of(self, number: int) -> bytes:
        """Return the blocks before a member's data."""
        members = self.members
        return header(
            members.path_of(number),
            members.size_of(number),
            members.mtime_of(number),
            members.mode_of(number),
        )

    def fill_headers(self, buffer: memoryview, offset: int) -> Iterator[Span]:
        """Write the headers of a range into ``buffer``, and yield what else belongs there.

        ``buffer`` is as long as the range and all zeros; the range begins at ``offset``. An empty
        member has a span if its header ends in the range.
        """
        end = offset + len(buffer)
        for number in range(self.find(offset), len(self._starts)):
            start = self._starts[number]
            if start >= end:
                return
            size = self.members.size_of(number)
            data = self.data_offset(number)
            if data > offset:
                blocks = self.header_of(number)
                first, last = max(start, offset), min(data, end)
                buffer[first - offset : last - offset] = blocks[first - start : last - start]
            first, last = max(data, offset), min(data + size, end)
            if first < last or (size == 0 and offset < data <= end):
                yield Span(number, first - data, last - data, first - offset)

    def only_span(self, offset: int, length: int) -> Span | None:
        """Return the span of a range that lies within the data of one member, else None."""
        number = self.find(offset)
        if not length or number == len(self._starts):
            return None
        first = offset - self.data_offset(number)
        last = first + length
        if first < 0 or last > self.members.size_of(number):
            return None
        return Span(number, first, last, 0)
