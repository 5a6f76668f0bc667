"""Sparse files: blocks of zeros that were never written, which take no space (holes)."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from jobtool.stores.local.files import write_range

#: The size and alignment in bytes of the blocks that filesystems can leave out of a file.
BLOCK_BYTES = 4096
_ZEROS = bytes(BLOCK_BYTES)

#: How many bytes are searched at a time. A copy of that size is made.
_SEARCH_BYTES = 1024 * 1024


def write_sparsely(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of ``data`` at ``offset``, leaving holes for blocks of zeros.

    Bytes that were there before are replaced. The last block is written even if it is zeros, so
    that the file is as long as its parts say, whatever other threads write at the same time.
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
    """Write zeros only over bytes that aren't in a hole."""
    if zeros and not _is_hole(descriptor, offset, len(zeros)):
        write_range(descriptor, zeros, offset)


def _is_hole(descriptor: int, offset: int, length: int) -> bool:
    try:
        return os.lseek(descriptor, offset, os.SEEK_DATA) >= offset + length
    except OSError as error:
        return error.errno == errno.ENXIO  # there is no data from there to the end


def _data_ranges(data: bytes | memoryview, offset: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges to write of ``data`` at ``offset``: all but whole blocks of zeros."""
    view, data_start = memoryview(data), 0
    for at in range(-offset % BLOCK_BYTES, len(view), _SEARCH_BYTES):
        is_all = not at and len(data) <= _SEARCH_BYTES  # then bytes aren't copied
        searched = bytes(data if is_all else view[at : at + _SEARCH_BYTES])
        for inside in range(0, len(searched) - BLOCK_BYTES + 1, BLOCK_BYTES):
            if searched.startswith(_ZEROS, inside):
                if at + inside > data_start:
                    yield data_start, at + inside
                data_start = at + inside + BLOCK_BYTES
    if data_start < len(view):
        yield data_start, len(view)
