"""The bytes of an open file: read, written, hashed."""

from __future__ import annotations

import errno
import os

from jobtool.md5 import hasher_for, md5_of
from jobtool.stores.store import Part

#: How many bytes are read at a time to hash a file, by each of a worker's threads.
HASH_BYTES = 4 * 1024 * 1024

#: The errors of a filesystem that is read-only, or that caches nothing.
_NOTHING_DIRTY = (errno.EROFS, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)


def write_range(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of ``data`` at ``offset``."""
    rest = memoryview(data)
    while rest:
        written = os.pwrite(descriptor, rest, offset)
        rest, offset = rest[written:], offset + written


def read_range(descriptor: int, offset: int, length: int) -> bytes:
    """Return ``length`` bytes from ``offset``, or fewer at the file's end."""
    data = os.pread(descriptor, length, offset)
    while 0 < len(data) < length:
        more = os.pread(descriptor, length - len(data), offset + len(data))
        if not more:
            break
        data += more
    return data


def file_md5(descriptor: int, *, from_medium: bool = False, most_bytes: int = HASH_BYTES) -> str:
    """Return the MD5 of an open file in hex, read ``most_bytes`` at a time."""
    digest = hasher_for(most_bytes)
    if from_medium:
        forget_cached(descriptor)
    while data := os.read(descriptor, min(HASH_BYTES, most_bytes)):
        digest.update(data)
    return digest.hexdigest()


def part_md5(descriptor: int, part: Part) -> str:
    """Return the MD5 in hex of the bytes at a part's place."""
    data = read_range(descriptor, part.offset, part.size)
    return md5_of(data)


def forget_cached(descriptor: int) -> None:
    """Make the next reads come from the medium: write back dirty pages, then drop all pages.

    Raises ``OSError`` if that fails: pages that can't be written back can't be dropped, either.
    """
    try:
        os.fdatasync(descriptor)
    except OSError as error:
        if error.errno not in _NOTHING_DIRTY:
            raise
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


class Closing:
    """Closes a descriptor at the end of a ``with`` block, and raises the errors of closing it.

    Network filesystems may report a full disk or quota only then (``close(2)``, ``write(2)``). If
    the block raises, its exception has priority.
    """

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __enter__(self) -> int:
        return self._descriptor

    def __exit__(self, kind: type[BaseException] | None, *raised: object) -> None:
        try:
            os.close(self._descriptor)
        except OSError:
            if kind is None:
                raise
