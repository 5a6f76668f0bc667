"""The folder tree of a local store, whose files are opened without leaving it."""

from __future__ import annotations

import errno
import os
import stat
from functools import partial

from jobtool.errors import SourceError
from jobtool.names import quote
from jobtool.stores.beneath import Beneath
from jobtool.stores.local.attributes import CLOSED_FOLDER, mode_like
from jobtool.stores.local.errors import not_a_file
from jobtool.stores.local.links import LinkPolicy
from jobtool.stores.preserve import KEEP_BY_DEFAULT, Kept

_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
#: Flags to open a path that may be anything by now: opening a named pipe would wait otherwise.
OPEN = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Tree:
    """Paths and descriptors below a root.

    Files and folders opened for reading lie inside the root, and are reached through links only if
    the policy is to follow them. ``keep`` are the attributes to keep. Folders made for a tree that
    ``mirrors`` another are closed to other users.
    """

    def __init__(
        self,
        root: str,
        links: LinkPolicy,
        *,
        keep: frozenset[Kept] = KEEP_BY_DEFAULT,
        mirrors: str | None = None,
    ) -> None:
        self.root = "/" + os.path.abspath(root).lstrip("/")
        self.links = links
        self.keep = keep
        self.beneath = Beneath(self.root)
        if mirrors is not None:
            mode_above = partial(mode_like, root=self.root, mirrored=mirrors)
            self.beneath = Beneath(self.root, folder_mode=CLOSED_FOLDER, mode_above=mode_above)
        self._inside = self.root.rstrip("/") + "/"

    def full(self, path: str) -> str:
        """Return the absolute path of ``path``."""
        return self._inside + path if path else self.root

    def open_folder(self, path: str) -> int:
        """Open a folder of the tree for listing."""
        if self.links != "follow":
            return self.beneath.open(path)
        if not path:
            return self.beneath.open_root()
        return self._require_inside(os.open(self.full(path), _FOLDER), path)

    def open_file(self, path: str, flags: int = os.O_RDONLY) -> int:
        """Open a file for reading, even if it or its folders have changed since it was listed.

        Raises ``OSError``, and ``SourceError`` for a link or a path outside the root.
        """
        if self.links == "follow":
            flags |= os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = self._require_inside(os.open(self.full(path), flags), path)
        else:
            folder, name = os.path.split(path)
            with self.beneath.folder(folder) as held:
                try:
                    descriptor = os.open(name, flags | OPEN, dir_fd=held)
                except OSError as error:
                    if error.errno == errno.ELOOP:
                        raise not_a_file(self.full(path), stat.S_IFLNK) from None
                    raise
        if not flags & os.O_PATH:
            os.set_blocking(descriptor, True)  # wait for a file on tape
        return descriptor

    def _require_inside(self, descriptor: int, path: str) -> int:
        try:
            if self.beneath.holds(descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        raise SourceError(
            f"{quote(self.full(path))} leads through a link to a place outside "
            f"{quote(self.root)}. Remove the link, or use --links skip or --links keep."
        )
