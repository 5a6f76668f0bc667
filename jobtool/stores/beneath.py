"""Open folders below a root without following a symbolic link below it.

Anyone who may write to a destination may put a link there, even between two of our calls. So no
path below a root is trusted: a folder's descriptor is held while a file is made in it, and is
checked to be where its path says. The root itself and the folders above it may be links: the user
chose them.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable

from jobtool.errors import FileError
from jobtool.names import quote

#: The mode of folders for which the umask is to decide.
OPEN_FOLDER = 0o777

_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_TRIES = 3


class LinkInTheWayError(FileError):
    """A folder below a root is a link."""


class Beneath:
    """Opens folders below ``root``, an absolute path. Keeps nothing open.

    With the root ``/`` every path is absolute and its folders are the user's choice: links among
    them are followed. ``folder_mode`` is the mode of new folders, and ``mode_above`` returns the
    mode of a new folder above the root. The umask is removed from both.
    """

    def __init__(
        self,
        root: str,
        *,
        folder_mode: int = OPEN_FOLDER,
        mode_above: Callable[[str], int] = lambda path: OPEN_FOLDER,
    ) -> None:
        self.root = root
        self._folder_mode = folder_mode
        self._mode_above = mode_above
        self._inside = root.rstrip("/") + "/"
        self._real_inside: str | None = None

    def folder(self, path: str, *, make: bool = False) -> _Folder:
        """Hold a descriptor of the folder ``path`` in a ``with`` block, for use as ``dir_fd`` only.

        With ``make``, the folder and its missing parents are made. Raises ``OSError`` that names
        the whole path, and ``LinkInTheWayError``.
        """
        return _Folder(self, path, make)

    def open(self, path: str, *, make: bool = False) -> int:
        """Return a descriptor as ``folder`` does. The caller closes it."""
        if not path:
            return self._open_root(make=make)
        try:
            descriptor = os.open(self._inside + path, _FOLDER)
        except OSError:
            return self._walk(path, make=make)  # makes it, or raises what is in the way
        try:
            if self.root == "/" or path_of(descriptor) == self._real(path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return self._walk(path, make=make)

    def open_root(self) -> int:
        """Return a descriptor of the root, and keep where it is. The caller closes it.

        Raises ``OSError``.
        """
        descriptor = os.open(self.root, _FOLDER)
        try:
            if self._real_inside is None:
                self._real_inside = path_of(descriptor).rstrip("/") + "/"
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def holds(self, descriptor: int) -> bool:
        """Return True if an open file or folder lies below the root, however it was reached."""
        if f"{path_of(descriptor)}/".startswith(self.inside):
            return True
        # The root may have been moved.
        return f"{path_of(descriptor)}/".startswith(self._real("", anew=True))

    @property
    def inside(self) -> str:
        """What ``path_of`` each open file below the root begins with, unless that was moved."""
        return "" if self.root == "/" else self._real("")

    def _real(self, path: str, *, anew: bool = False) -> str:
        """Return the path below the root as the kernel reports it for a descriptor."""
        inside = None if anew else self._real_inside  # read once: other threads may set it
        if inside is None:
            descriptor = os.open(self.root, _FOLDER)
            try:
                inside = path_of(descriptor).rstrip("/") + "/"
            finally:
                os.close(descriptor)
            self._real_inside = inside
        return inside + path

    def _walk(self, path: str, *, make: bool) -> int:
        """Go down from the root, folder by folder."""
        if self.root == "/" and make:
            os.makedirs(self._inside + path, exist_ok=True)
        here = self._open_root(make=make)
        walked = self._inside
        try:
            for name in path.split("/"):
                if name in ("", ".", ".."):
                    raise FileError(f"{quote(path)}: expected a path below {quote(self.root)}")
                below = self._step(here, name, walked + name, make=make)
                os.close(here)
                here = below
                walked += f"{name}/"
        except BaseException:
            os.close(here)
            raise
        return here

    def _open_root(self, *, make: bool) -> int:
        for tries_left in reversed(range(_TRIES)):
            try:
                return os.open(self.root, _FOLDER)
            except FileNotFoundError:
                if not make or not tries_left:
                    raise
            # Another process may remove or make them meanwhile.
            with contextlib.suppress(FileNotFoundError, FileExistsError):
                self._make_above(os.path.dirname(self.root))
                os.mkdir(self.root, self._folder_mode)
        raise AssertionError("unreachable")

    def _make_above(self, folder: str) -> None:
        missing = []
        while not os.path.isdir(folder):
            missing.append(folder)
            folder = os.path.dirname(folder)
        for path in reversed(missing):
            with contextlib.suppress(FileExistsError):
                os.mkdir(path, self._mode_above(path))

    def _step(self, here: int, name: str, shown: str, *, make: bool) -> int:
        flags = _FOLDER if self.root == "/" else _FOLDER | os.O_NOFOLLOW
        for tries_left in reversed(range(_TRIES)):
            try:
                return os.open(name, flags, dir_fd=here)
            except FileNotFoundError:
                if not make or not tries_left:
                    raise _named(errno.ENOENT, shown) from None
            except OSError as error:
                if error.errno in (errno.ENOTDIR, errno.ELOOP):
                    _refuse_link(here, name, shown)
                raise _named(error.errno, shown) from None
            try:
                os.mkdir(name, self._folder_mode, dir_fd=here)
            except FileExistsError:
                pass  # by another thread or worker
            except OSError as error:
                raise _named(error.errno, shown) from None
        raise AssertionError("unreachable")


class _Folder:
    __slots__ = ("_beneath", "_descriptor", "_make", "_path")

    def __init__(self, beneath: Beneath, path: str, make: bool) -> None:
        self._beneath, self._path, self._make = beneath, path, make

    def __enter__(self) -> int:
        self._descriptor = self._beneath.open(self._path, make=self._make)
        return self._descriptor

    def __exit__(self, *raised: object) -> None:
        os.close(self._descriptor)


def path_of(descriptor: int) -> str:
    """Return the path of a descriptor, links resolved, as the kernel reports it (Linux, /proc)."""
    return os.readlink(f"/proc/self/fd/{descriptor}")


def _refuse_link(here: int, name: str, shown: str) -> None:
    try:
        target = os.readlink(name, dir_fd=here)
    except OSError:
        return
    raise LinkInTheWayError(
        f"expected a folder at {quote(shown)}; found a link to {quote(target)}. Links below a "
        f"destination aren't followed. Remove the link, or name {quote(target)} as destination."
    )


def _named(number: int | None, path: str) -> OSError:
    return OSError(number or errno.EIO, os.strerror(number or errno.EIO), path)
