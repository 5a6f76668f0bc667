"""Durability: a sync of written bytes that reports those that didn't reach their medium."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import threading
import weakref
from functools import cache
from itertools import count

from jobtool.errors import StoreUnavailableError
from jobtool.names import quote

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Durability:
    """Syncs the filesystems that were written to since the last sync.

    The kernel reports a failed write-back once, and only to descriptors that were open before
    (``syncfs(2)``, since Linux 5.8). So each filesystem is held open from before the first write to
    it until this object is deleted. A failure is permanent: the next attempt proves everything
    written since the last successful sync from its medium.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[int, tuple[int, str]] = {}  # device: a descriptor on it, its path
        self._writes = count()  # each write gets a number when it ends
        self._last_write = self._last_synced = -1
        self._lost: str | None = None
        weakref.finalize(self, _close_all, self._held)

    def hold(self, folder: int, shown: str, *, file: int | None = None) -> None:
        """Hold the filesystem of an open folder before anything is written in it.

        ``shown`` is the folder's path, for messages. ``file`` is an open file in it, used instead
        of a folder that may be written but not read.
        """
        device = os.fstat(folder).st_dev
        if device in self._held:
            return
        with self._lock:
            if device in self._held:
                return
            try:
                held = os.open(".", _OPEN, dir_fd=folder)
            except PermissionError:
                if file is None:
                    raise
                held = os.dup(file)
            self._held[device] = (held, shown)

    def note_write(self) -> None:
        """Record that a write has ended."""
        self._last_write = next(self._writes)

    def sync(self) -> None:
        """Sync the filesystems that were written to: one call for all files.

        Does nothing if nothing was written since the last sync. Raises ``StoreUnavailableError`` if
        something didn't reach its medium, and at each later call.
        """
        if self._lost is not None:
            raise StoreUnavailableError(self._lost)
        last_write = self._last_write
        if last_write == self._last_synced:
            return
        for descriptor, shown in tuple(self._held.values()):
            try:
                _syncfs(descriptor)
            except OSError as error:
                self._lost = (
                    f"not all that was written has reached the medium of {quote(shown)}: "
                    f"{error.strerror}. Files without a receipt are read again by the next attempt"
                )
                raise StoreUnavailableError(self._lost) from None
        self._last_synced = last_write


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _syncfs(descriptor: int) -> None:
    while _libc().syncfs(descriptor) != 0:
        number = ctypes.get_errno()
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))


def _close_all(held: dict[int, tuple[int, str]]) -> None:
    for descriptor, _ in held.values():
        with contextlib.suppress(OSError):
            os.close(descriptor)
