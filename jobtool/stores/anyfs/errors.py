"""Translate what filesystems of fsspec raise into jobtool's errors.

They are of many authors, and have no errors in common but those of Python. What isn't known may
pass, so it is tried again.
"""

from __future__ import annotations

import errno

from jobtool.errors import (
    FileError,
    JobtoolError,
    NotFoundError,
    RefusedError,
    ServerError,
    StoreError,
    StoreUnavailableError,
    UnreachableError,
)
from jobtool.names import in_one_line, quote
from jobtool.redact import redact

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
_UNFIT = frozenset({errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.ELOOP})


def of_failure(error: Exception, url: str) -> JobtoolError:
    """Return the error for a call about ``url`` that raised ``error``."""
    said = in_one_line(redact(str(error)), most=300)  # another package may repeat an option
    line = f"{type(error).__name__}: {said}" if said else type(error).__name__
    where = quote(url)
    if isinstance(error, FileNotFoundError):
        return NotFoundError(f"expected something at {where}; found nothing")
    if isinstance(error, PermissionError):
        return RefusedError(f"{where}: the filesystem refuses access ({line})")
    if isinstance(error, (IsADirectoryError, NotADirectoryError, FileExistsError)):
        return FileError(f"{where}: something else is in its place ({line})")
    if isinstance(error, (NotImplementedError, ImportError)):
        return StoreUnavailableError(f"{where}: this filesystem can't do that here ({line})")
    if isinstance(error, UnicodeError):
        return FileError(
            f"{where}: this filesystem's names are text, but this name isn't. Rename the file."
        )
    if isinstance(error, OSError) and error.errno in _FULL:
        return StoreUnavailableError(f"{where}: the filesystem is full or read-only ({line})")
    if isinstance(error, OSError) and error.errno in _UNFIT:
        return FileError(f"{where}: this filesystem can't hold such a name ({line})")
    if isinstance(error, (TimeoutError, ConnectionError)):
        return UnreachableError(f"can't reach {where}: {line}. Is its server right and up?")
    if isinstance(error, OSError):
        return ServerError(f"{where}: the filesystem fails ({line})")
    return StoreError(f"{where}: the filesystem fails ({line})")
