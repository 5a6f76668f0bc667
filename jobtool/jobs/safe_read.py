"""Safe reading of small files that other users can write to.

They may have put a huge file, a named pipe or a device in place of the expected file. Reading is
bounded and never waits.
"""

from __future__ import annotations

import errno
import os
import stat

from jobtool.errors import JobtoolError


class UnfitFileError(JobtoolError):
    """A file isn't regular, or is larger than its kind may be. The message has no path."""


def open_without_waiting(path: str, flags: int = os.O_RDONLY) -> int:
    """Open a file without waiting at a named pipe. Links are followed. Raises ``OSError``."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


def read_bounded(path: str, limit_bytes: int) -> bytes:
    """Return a file's bytes; raises ``OSError`` and ``UnfitFileError``."""
    descriptor = open_without_waiting(path)
    try:
        return read_open(descriptor, limit_bytes)
    finally:
        os.close(descriptor)


def require_regular(descriptor: int) -> os.stat_result:
    """Return what is known of an open file; raises ``OSError`` and ``UnfitFileError``."""
    found = os.fstat(descriptor)
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(found.st_mode):
        raise UnfitFileError("expected a regular file; found a pipe, socket or device")
    return found


def read_open(descriptor: int, limit_bytes: int) -> bytes:
    """Return the bytes of an open file; raises ``OSError`` and ``UnfitFileError``."""
    found = require_regular(descriptor)
    os.set_blocking(descriptor, True)
    pieces: list[bytes] = []
    left = limit_bytes + 1
    if found.st_size <= limit_bytes:
        while left and (piece := os.read(descriptor, min(left, found.st_size + 1, 1 << 24))):
            pieces.append(piece)
            left -= len(piece)
        if left:
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)
    size = max(found.st_size, limit_bytes + 1)
    raise UnfitFileError(f"expected at most {limit_bytes} bytes; found {size}")
