"""Bytes of an open file."""

from __future__ import annotations

import contextlib
import hashlib
import os

from jobtool.stores.store import READ_BYTES, Part


def write_range(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of ``data`` at ``offset``."""
    rest = memoryview(data)
    while rest:
        written = os.pwrite(descriptor, rest, offset)
        rest, offset = rest[written:], offset + written


def read_range(descriptor: int, offset: int, length: int) -> bytes:
    """Return ``length`` bytes from ``offset``, or what there is up to the file's end."""
    data = os.pread(descriptor, length, offset)
    while 0 < len(data) < length:
        more = os.pread(descriptor, length - len(data), offset + len(data))
        if not more:
            break
        data += more
    return data


def file_md5(descriptor: int, *, from_medium: bool = False) -> str:
    """Return the MD5 of what an open file holds from where it stands."""
    digest = hashlib.md5(usedforsecurity=False)
    if from_medium:
        forget_cached(descriptor)
    while data := os.read(descriptor, READ_BYTES):
        digest.update(data)
    return digest.hexdigest()


def part_md5(descriptor: int, part: Part) -> str:
    """Return the MD5 of the bytes that stand where a part belongs."""
    data = read_range(descriptor, part.offset, part.size)
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def forget_cached(descriptor: int) -> None:
    """Make the next reads come from the medium: write back what is dirty, then drop the pages."""
    with contextlib.suppress(OSError):  # a file on a read-only filesystem has nothing dirty
        os.fdatasync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
