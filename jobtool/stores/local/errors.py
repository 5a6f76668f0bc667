"""What the system's errors mean: for reading and for writing."""

from __future__ import annotations

import errno
import os
import stat

from jobtool.errors import (
    FileError,
    JobtoolError,
    NotFoundError,
    SourceError,
    StoreError,
    StoreUnavailableError,
)
from jobtool.names import quote

_WORLD = {
    errno.EACCES: "check its owner and mode",
    errno.EPERM: "check its owner, mode and attributes",
    errno.EROFS: "mount it writable",
    errno.ENOSPC: "free space on it",
    errno.EDQUOT: "free space in the quota",
    errno.EEXIST: "a file stands where a folder is needed",
    errno.ENOTDIR: "a file stands where a folder is needed",
    errno.ENOENT: "is its filesystem mounted?",
    errno.ENODEV: "is its filesystem mounted?",
    errno.ESTALE: "is its server up?",
}
_THIS_FILE = (errno.ENAMETOOLONG, errno.EISDIR, errno.EINVAL, errno.EILSEQ, errno.EFBIG)


def read_error(error: OSError, path: str) -> JobtoolError:
    """Return our error for one that the system gave where ``path`` was read."""
    reason = error.strerror or str(error)
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return NotFoundError(f"expected something at {quote(path)}; found nothing")
    if error.errno in (errno.EIO, errno.ESTALE, errno.EAGAIN, errno.ETIMEDOUT, errno.EINTR):
        return StoreError(f"can't read {quote(path)}: {reason}")
    return SourceError(f"can't read {quote(path)}: {reason}")


def write_error(error: OSError, target: str, root: str) -> JobtoolError:
    """Return our error for one that the system gave where ``target`` below ``root`` was written."""
    reason = error.strerror or str(error)
    hint = _WORLD.get(error.errno or 0)
    if os.path.isdir(root):
        if error.errno in (errno.EEXIST, errno.ENOTDIR):
            return FileError(f"can't write {quote(target)}: {reason} ({hint})")
        if error.errno == errno.ENOENT:
            return StoreError(f"can't write {quote(target)}: its folder was removed meanwhile")
    if error.errno in _THIS_FILE:
        return FileError(f"can't write {quote(target)}: {reason}")
    if hint is not None:
        named = isinstance(error.filename, str) and error.filename.startswith("/")
        where = quote(error.filename if named else target)
        return StoreUnavailableError(f"can't write to {where}: {reason} ({hint})")
    return StoreError(f"can't write {quote(target)}: {reason}")


def not_a_file(path: str, mode: int) -> SourceError:
    """Return the error for what stands where a regular file was expected."""
    if stat.S_ISLNK(mode):
        found = "a link, and no link is followed here"
    else:
        found = "a folder" if stat.S_ISDIR(mode) else "a device, socket or pipe"
    return SourceError(f"expected a regular file at {quote(path)}; found {found}")
