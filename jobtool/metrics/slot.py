"""Slots: a number on a host that one running worker has, so that names of files stay few.

A worker has a slot as long as it holds the kernel lock of the slot's file. The kernel frees it
however the worker ends, and the next worker takes the lowest one that is free.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time

from jobtool.names import filename_of

#: More workers of one host than this don't write textfiles.
MOST_SLOTS = 1024

#: How long the file of a worker that has ended is kept.
KEEP_SECONDS = 86400.0

_FILE = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK

#: How often in a row a file may come and go before a slot is passed over.
_TRIES = 3


class Slot:
    """A slot that this process holds. ``path`` is the textfile that belongs to it."""

    def __init__(self, folder: str, host: str, number: int, descriptor: int) -> None:
        self.number = number
        self.path = textfile_of(folder, host, number)
        self._descriptor = descriptor

    def release(self) -> None:
        """Free the slot. Its textfile stays."""
        os.close(self._descriptor)


def textfile_of(folder: str, host: str, number: int) -> str:
    """Return the path of a slot's textfile."""
    return os.path.join(folder, f"jobtool-{filename_of(host)}-{number}.prom")


def take_slot(folder: str, host: str) -> Slot:
    """Take the lowest free slot of this host in a collector's folder; raises ``OSError``.

    A slot whose textfile belongs to another user is left to that user. Textfiles of ended workers
    on this host that are a day old are removed.
    """
    taken: Slot | None = None
    for number in range(MOST_SLOTS):
        path = textfile_of(folder, host, number)
        if taken is not None and not os.path.lexists(path):
            break  # higher ones aren't looked at
        descriptor = _locked(lock_of(path))
        if descriptor is None:
            continue
        if not _may_replace(path):
            os.close(descriptor)
        elif taken is None:
            taken = Slot(folder, host, number, descriptor)
        else:
            with contextlib.suppress(OSError):
                _remove_if_old(path)
            os.close(descriptor)
    if taken is None:
        raise OSError(f"{MOST_SLOTS} workers write their metrics there already")
    return taken


def lock_of(path: str) -> str:
    """Return the path of the file that the holder of a textfile's slot locks."""
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}.lock")


def _locked(path: str) -> int | None:
    """Return the descriptor of a locked file; None if another process or user has it."""
    descriptor = _opened(path)
    if descriptor is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _opened(path: str) -> int | None:
    """Open or make a file; return None if it is another user's.

    A file that exists is opened without O_CREAT, which the kernel refuses for other users' files
    in a folder that all may write to (fs.protected_regular).
    """
    for _ in range(_TRIES):
        try:
            return os.open(path, _FILE)
        except PermissionError:
            return None
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):
                return os.open(path, _FILE | os.O_CREAT | os.O_EXCL, 0o644)
    return None


def _may_replace(path: str) -> bool:
    try:
        return os.lstat(path).st_uid == os.geteuid()
    except FileNotFoundError:
        return True


def _remove_if_old(path: str) -> None:
    if time.time() - os.lstat(path).st_mtime > KEEP_SECONDS:
        os.unlink(path)
