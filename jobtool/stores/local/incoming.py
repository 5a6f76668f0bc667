"""The folder into which programs put files, and how these get their names."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat

from jobtool.errors import FileError
from jobtool.names import quote
from jobtool.stores.beneath import LinkInTheWayError
from jobtool.stores.local.errors import write_error
from jobtool.stores.local.temporaries import Temporaries
from jobtool.stores.local.tree import Tree

_FOLDER_MODE = 0o700


class Incoming:
    """The methods of ``TakesFiles`` for a local tree."""

    def __init__(self, tree: Tree, temporaries: Temporaries) -> None:
        self._tree = tree
        self._name = temporaries.incoming

    def folder_for(self, path: str) -> str:
        """Return the path of the folder for a target."""
        above = os.path.dirname(path) if self._tree.root == "/" else ""
        return os.path.join(above, self._name)

    def make(self, folder: str) -> None:
        """Make the folder, or keep it."""
        above, name = os.path.split(folder)
        full = self._tree.full(folder)
        try:
            with self._tree.beneath.folder(above, make=True) as held:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, _FOLDER_MODE, dir_fd=held)
                found = os.stat(name, dir_fd=held, follow_symlinks=False)
        except OSError as error:
            raise write_error(error, full, self._tree.root) from None
        mode, own = stat.S_IMODE(found.st_mode), os.geteuid()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != own or mode & 0o077:
            kind = "a folder" if stat.S_ISDIR(found.st_mode) else "something else"
            raise FileError(
                f"expected {quote(full)} to be a folder that only this user may enter (user {own}, "
                f"mode {_FOLDER_MODE:04o}); found {kind} of user {found.st_uid}, mode {mode:04o}. "
                "Look who made it, and remove it. If it comes back like that, the filesystem keeps "
                "no owners or modes: use another method there."
            )

    def take(self, path: str, target: str, size: int) -> bool:
        """Rename a file to its target; return False if it isn't complete."""
        (folder, name), (target_folder, target_name) = os.path.split(path), os.path.split(target)
        try:
            with self._tree.beneath.folder(folder) as held:
                try:
                    found = os.stat(name, dir_fd=held, follow_symlinks=False)
                except FileNotFoundError:
                    return False
                if not stat.S_ISREG(found.st_mode) or found.st_size != size:
                    return False
                with self._tree.beneath.folder(target_folder, make=True) as there:
                    os.rename(name, target_name, src_dir_fd=held, dst_dir_fd=there)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise write_error(error, self._tree.full(target), self._tree.root) from None
        return True

    def remove(self, folder: str) -> None:
        """Remove the folder with all that is in it."""
        above, name = os.path.split(folder)
        try:
            with (
                contextlib.suppress(FileNotFoundError, NotADirectoryError, LinkInTheWayError),
                self._tree.beneath.folder(above) as held,
            ):
                shutil.rmtree(name, dir_fd=held)
        except OSError as error:
            raise write_error(error, self._tree.full(folder), self._tree.root) from None
