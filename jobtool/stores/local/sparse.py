"""Holes: blocks of zeros that take no space in a file, since nothing was ever written to them."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from jobtool.stores.local.files import write_range

#: What filesystems can leave out of a file: whole blocks at multiples of this.
BLOCK_BYTES = 4096
_ZEROS = bytes(BLOCK_BYTES)

#: How much is searched at a time; a copy of that much is made.
_SEARCH_BYTES = 1024 * 1024


def write_sparsely(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of ``data`` at ``offset``, and leave holes where it has blocks of zeros.

    What stood there before is replaced. Data that end in a hole still end with a block that is
    written: the file is as long as its parts say, whoever else writes to it at the same time.
    """
    view, done = memoryview(data), 0
    for start, end in _data_ranges(data, offset):
        _leave_hole(descriptor, view[done:start], offset + done)
        write_range(descriptor, view[start:end], offset + start)
        done = end
    if done < len(view):
        last = max(done, len(view) - BLOCK_BYTES)
        _leave_hole(descriptor, view[done:last], offset + done)
        write_range(descriptor, view[last:], offset + last)


def _leave_hole(descriptor: int, zeros: memoryview, offset: int) -> None:
    """Write zeros only where there is something else that they replace."""
    if zeros and not _is_hole(descriptor, offset, len(zeros)):
        write_range(descriptor, zeros, offset)


def _is_hole(descriptor: int, offset: int, length: int) -> bool:
    try:
        return os.lseek(descriptor, offset, os.SEEK_DATA) >= offset + length
    except OSError as error:
        return error.errno == errno.ENXIO  # there is no data from there to the end


def _data_ranges(data: bytes | memoryview, offset: int) -> Iterator[tuple[int, int]]:
    """Yield where ``data``, to be written at ``offset``, holds more than whole blocks of zeros."""
    view, data_start = memoryview(data), 0
    for at in range(-offset % BLOCK_BYTES, len(view), _SEARCH_BYTES):
        searched = bytes(view[at : at + _SEARCH_BYTES])
        for inside in range(0, len(searched) - BLOCK_BYTES + 1, BLOCK_BYTES):
            if searched.startswith(_ZEROS, inside):
                if at + inside > data_start:
                    yield data_start, at + inside
                data_start = at + inside + BLOCK_BYTES
    if data_start < len(view):
        yield data_start, len(view)
