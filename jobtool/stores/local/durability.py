"""Bringing what was written to its medium."""

from __future__ import annotations

import ctypes
import os
from itertools import count

from jobtool.stores.beneath import LinkInTheWayError
from jobtool.stores.local.errors import write_error
from jobtool.stores.local.tree import Tree


class Durability:
    """Knows which filesystems were written to since they were last synced."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._devices: dict[int, str] = {}  # a folder we wrote to, for each filesystem
        self._writes = count()  # each write gets a number when it is over
        self._last_write = self._last_synced = -1

    def note_folder(self, descriptor: int, folder: str) -> None:
        """Note the filesystem of something open that is written in ``folder``."""
        self._devices.setdefault(os.fstat(descriptor).st_dev, folder)

    def note_write(self) -> None:
        """Note that a write is over."""
        self._last_write = next(self._writes)

    def sync(self) -> None:
        """Bring the filesystems that were written to their media: one call for all files.

        Does nothing if nothing was written since the last.
        """
        last_write = self._last_write
        if last_write == self._last_synced:
            return
        for folder in tuple(self._devices.values()):
            try:
                descriptor = self._open_existing(folder)
                try:
                    if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
                        number = ctypes.get_errno()
                        raise OSError(number, os.strerror(number), folder)
                finally:
                    os.close(descriptor)
            except OSError as error:
                raise write_error(error, self._tree.full(folder), self._tree.root) from None
        self._last_synced = last_write

    def _open_existing(self, folder: str) -> int:
        """Open a folder, or the next above that is still there."""
        try:
            with self._tree.beneath.folder(folder) as held:
                return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=held)
        except (FileNotFoundError, NotADirectoryError, LinkInTheWayError):
            if not folder:
                raise
            return self._open_existing(os.path.dirname(folder))
