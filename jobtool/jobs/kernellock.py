"""A kernel lock on a file of its own, which ends with its process.

The same file and the same ``flock`` as those of the package filelock, so that each excludes the
other. A job's claim takes nothing else of it: no wait, no lock of another kind.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from typing import Self

_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

#: What ``flock`` reports if another process has the lock; some filesystems use the second.
_HELD_BY_ANOTHER = (errno.EWOULDBLOCK, errno.EACCES)


class KernelLock:
    """An exclusive lock, held until released or until the process ends. Make it by ``acquire``."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        _descriptors.add(descriptor)

    @classmethod
    def acquire(cls, path: str) -> Self | None:
        """Lock the file at ``path``; return None if another holder has it. Never waits.

        The file and its folder are made if they are missing. Raises ``OSError``.
        """
        descriptor = _open(path)
        if descriptor is None:
            return None
        try:
            if _is_locked(descriptor) and _is_kept(descriptor, path):
                return cls(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None

    def release(self) -> None:
        """Release the lock; do nothing if it isn't held. The file stays."""
        if self._descriptor not in _descriptors:
            return
        descriptor, self._descriptor = self._descriptor, -1
        _descriptors.remove(descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # also for a child that has a copy
        finally:
            os.close(descriptor)


def _open(path: str) -> int | None:
    """Open a lock file; return None if it was removed right now."""
    with contextlib.suppress(FileExistsError):
        # A file that is there is opened without O_CREAT: Linux refuses that for another user's
        # file in a folder like /tmp (fs.protected_regular in proc(5)).
        try:
            return os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o666)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            return os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        return os.open(path, _FLAGS)
    except FileNotFoundError:
        return None


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD_BY_ANOTHER:
            return False
        raise
    return True


def _is_kept(descriptor: int, path: str) -> bool:
    """Return False if the locked file has lost its name, so that others lock another one.

    Raises ``PermissionError`` if another user could take the name away while the lock is held.
    """
    found = os.fstat(descriptor)
    if found.st_uid != os.geteuid():
        folder = os.stat(os.path.dirname(path))
        if folder.st_mode & stat.S_ISVTX and found.st_uid != folder.st_uid:
            raise PermissionError(
                errno.EACCES, f"user {found.st_uid} owns it, and could replace it", path
            )
    return found.st_nlink > 0


#: The descriptors of all locks held. A child that is forked without another program closes its
#: copies: the lock must end with the process that took it, and not with the child.
_descriptors: set[int] = set()


def _close_in_child() -> None:
    while _descriptors:
        with contextlib.suppress(OSError):
            os.close(_descriptors.pop())


os.register_at_fork(after_in_child=_close_in_child)
