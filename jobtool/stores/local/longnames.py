"""Names that are too long for a filesystem: the kernel's refusal, known before anything is written.

Source: pathconf(3). Folders are opened one after the other, so whole paths have no limit.
"""

from __future__ import annotations

import errno
import os
from functools import cached_property

from jobtool.stores.local.errors import write_error
from jobtool.stores.local.room import existing_folder
from jobtool.stores.local.tree import Tree
from jobtool.stores.store import check_path

#: The longest name of most filesystems.
_NAME_BYTES = 255


class NameLimits:
    """What the filesystem of a tree's root holds, or of the folder above it that is there."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    def require(self, path: str) -> None:
        """Raise ``FileError`` for a path with a name that the kernel would refuse as too long."""
        target = self._tree.full(check_path(path))
        longest = max(map(len, os.fsencode(path).split(b"/")))
        if longest > self._name_bytes:
            error = OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
            raise write_error(error, target, self._tree.root)

    @cached_property
    def _name_bytes(self) -> int:
        try:
            return os.pathconf(existing_folder(self._tree.root), "PC_NAME_MAX")
        except OSError:
            return _NAME_BYTES
