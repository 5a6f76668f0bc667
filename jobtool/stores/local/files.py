"""The bytes of an open file: read, written, hashed."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence

from jobtool.md5 import MD5, MOST_TOGETHER, hasher_for, update_together
from jobtool.stores.store import Part, mismatch, require_same

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


def require_parts(
    descriptor: int, target: str, parts: Sequence[Part], whole: str | None, *, from_medium: bool
) -> None:
    """Read an open file. Raise ``DigestMismatchError`` unless it is just these parts, in order.

    The MD5 of the ``whole`` is compared only with that of a part that is all of the file.
    """
    if from_medium:
        forget_cached(descriptor)
    end = 0
    for part, found in zip(parts, part_md5s(descriptor, parts), strict=True):
        if part.offset != end:
            raise mismatch(target, sent=f"of a part at {end}", found=f"one at {part.offset}")
        require_same(target, sent=part.md5, found=found)
        end += part.size
    if (size := os.fstat(descriptor).st_size) != end:
        raise mismatch(target, sent=f"of {end} bytes", found=f"{size} bytes")
    if len(parts) == 1:
        require_same(target, sent=whole, found=parts[0].md5)


def part_md5s(descriptor: int, parts: Sequence[Part]) -> Iterator[str]:
    """Yield the MD5 in hex of the bytes at each part's place. Parts are hashed together."""
    for first in range(0, len(parts), MOST_TOGETHER):
        yield from _md5s_together(descriptor, parts[first : first + MOST_TOGETHER])


def _md5s_together(descriptor: int, parts: Sequence[Part]) -> list[str]:
    hashers = [MD5() for _ in parts]
    step = HASH_BYTES // MOST_TOGETHER
    room = memoryview(bytearray(step * len(parts)))
    buffers = [room[at : at + step] for at in range(0, len(room), step)]
    for done in range(0, max(part.size for part in parts), step):
        chunks = [
            _read_into(descriptor, buffer[: max(part.size - done, 0)], part.offset + done)
            for part, buffer in zip(parts, buffers, strict=True)
        ]
        update_together(hashers, chunks)
    return [hasher.hexdigest() for hasher in hashers]


def _read_into(descriptor: int, buffer: memoryview, offset: int) -> memoryview:
    """Fill a buffer with bytes from ``offset``. Return what was read, less at the file's end."""
    done = 0
    while done < len(buffer):
        count = os.preadv(descriptor, [buffer[done:]], offset + done)
        if not count:
            break
        done += count
    return buffer[:done]


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
