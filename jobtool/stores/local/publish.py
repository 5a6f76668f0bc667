"""Rename a temporary file to its target, with or without replacing an existing file."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os

from jobtool.errors import FileError
from jobtool.names import quote

#: The errors of filesystems that can't rename without replacing, such as NFS (``renameat2(2)``).
_CAN_NOT_RENAME_SO = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
_RENAME_NOREPLACE = 1  # linux/fs.h


class ExistsError(FileError):
    """A file exists and must not be replaced."""


def publish(held: int, temporary: str, name: str, target: str, *, may_replace: bool) -> None:
    """Rename a file in an open folder. ``target`` is its new path.

    Readers see the old file or the new one. Without ``may_replace`` an existing file is kept and
    ``ExistsError`` is raised. Raises ``OSError``.
    """
    if may_replace:
        os.rename(temporary, name, src_dir_fd=held, dst_dir_fd=held)
        return
    try:
        _rename_without_replacing(held, temporary, name)
    except FileExistsError:
        raise _exists(target) from None
    except OSError as error:
        if error.errno not in _CAN_NOT_RENAME_SO:
            raise
        _link_without_replacing(held, temporary, name, target)


def _rename_without_replacing(held: int, old: str, new: str) -> None:
    names = (os.fsencode(old), os.fsencode(new))
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:  # glibc has it since 2.28
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if rename(held, names[0], held, names[1], _RENAME_NOREPLACE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _link_without_replacing(held: int, temporary: str, name: str, target: str) -> None:
    try:
        os.link(temporary, name, src_dir_fd=held, dst_dir_fd=held, follow_symlinks=False)
    except FileExistsError:
        # A network filesystem may link the file, lose the answer and repeat the request.
        if not _are_same(held, temporary, name):
            raise _exists(target) from None
    with contextlib.suppress(OSError):  # the file is published: a leftover second name is harmless
        os.unlink(temporary, dir_fd=held)


def _exists(target: str) -> ExistsError:
    return ExistsError(f"{quote(target)} exists already, and is not to be replaced")


def _are_same(held: int, one: str, other: str) -> bool:
    found = [os.stat(name, dir_fd=held, follow_symlinks=False) for name in (one, other)]
    return os.path.samestat(*found)
