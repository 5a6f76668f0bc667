"""The meanings of system errors: tables for reading or writing, each with a default."""

from __future__ import annotations

import errno
import os
import stat

from jobtool.errors import (
    ExhaustedError,
    FileError,
    JobtoolError,
    NotFoundError,
    RefusedError,
    ServerError,
    SourceError,
    StoreError,
    StoreUnavailableError,
    UnreachableError,
)
from jobtool.names import quote
from jobtool.stores.verdict import Verdict


def _verdict(code: str, error: type[JobtoolError], hint: str = "") -> Verdict:
    text = os.strerror(getattr(errno, code))
    return Verdict(code=code, error=error, meaning=f"{text}: {hint}" if hint else text)


# Errors that mean the same for reading and writing.
_BOTH = (
    _verdict("EACCES", RefusedError, "check its owner and mode"),
    _verdict("EPERM", RefusedError, "check its owner, mode and attributes"),
    _verdict("ENOKEY", RefusedError, "renew the ticket or key that its filesystem needs"),
    _verdict("EKEYEXPIRED", RefusedError, "renew the ticket or key that its filesystem needs"),
    _verdict("EKEYREVOKED", RefusedError, "renew the ticket or key that its filesystem needs"),
    _verdict("EIO", StoreError, "its medium or server has failed"),
    _verdict("ESTALE", ServerError, "is its server up?"),
    _verdict("ETIMEDOUT", ServerError, "is its server up?"),
    _verdict("EAGAIN", StoreError),
    _verdict("EINTR", StoreError),
    _verdict("EBUSY", StoreError),
    _verdict("EDEADLK", StoreError),
    _verdict("ENOLCK", StoreError),
    _verdict("EMFILE", ExhaustedError, "raise the limit on open files, or use fewer threads"),
    _verdict("ENFILE", ExhaustedError, "this machine has no more files to open"),
    _verdict("ENOMEM", ExhaustedError, "use fewer threads"),
    _verdict("ENODEV", StoreUnavailableError, "is its filesystem mounted?"),
    _verdict("ENOMEDIUM", StoreUnavailableError, "is its filesystem mounted?"),
    _verdict("ENOTCONN", UnreachableError, "is its filesystem mounted?"),
    _verdict("ESHUTDOWN", UnreachableError, "is its filesystem mounted?"),
    *(
        _verdict(code, UnreachableError, "is its server up?")
        for code in (
            "ECOMM",
            "ECONNABORTED",
            "ECONNREFUSED",
            "ECONNRESET",
            "EHOSTDOWN",
            "EHOSTUNREACH",
            "ENETDOWN",
            "ENETUNREACH",
            "ENOLINK",
            "EREMOTEIO",
        )
    ),
)

#: The meanings of errors when a file or folder is read.
READING = (
    *_BOTH,
    _verdict("ENOENT", NotFoundError),
    _verdict("ENOTDIR", NotFoundError),
    *(
        _verdict(code, SourceError)
        for code in ("EILSEQ", "EINVAL", "EISDIR", "ENAMETOOLONG", "ENXIO", "EOVERFLOW", "ESPIPE")
    ),
    _verdict("ELOOP", SourceError, "a link loops"),
    _verdict("EBADMSG", SourceError, "its filesystem is damaged"),
    _verdict("EUCLEAN", SourceError, "its filesystem is damaged"),
)

#: The meanings of errors when a file, folder or link is written.
WRITING = (
    *_BOTH,
    _verdict("ENOSPC", StoreUnavailableError, "free space on it"),
    _verdict("EDQUOT", StoreUnavailableError, "free space in the quota"),
    _verdict("EROFS", StoreUnavailableError, "mount it writable"),
    _verdict("ENOENT", StoreError, "its folder was removed meanwhile"),
    _verdict("EEXIST", FileError, "there is a file where a folder is needed"),
    _verdict("ENOTDIR", FileError, "there is a file where a folder is needed"),
    _verdict("EISDIR", FileError, "there is a folder where a file is needed"),
    _verdict("ENOTEMPTY", FileError, "there is a folder where a file is needed"),
    *(
        _verdict(code, FileError)
        for code in ("EILSEQ", "EINVAL", "ELOOP", "EMLINK", "ENAMETOOLONG", "EOPNOTSUPP")
    ),
    _verdict("EFBIG", FileError, "its filesystem holds no file of that size"),
    _verdict("EBADMSG", FileError, "its filesystem is damaged"),
    _verdict("EUCLEAN", FileError, "its filesystem is damaged"),
)

#: Their meanings when the store's root isn't a folder: one job's root, or that of all jobs.
WITHOUT_ROOT = (
    _verdict("ENOENT", StoreUnavailableError, "is its filesystem mounted?"),
    _verdict("EEXIST", RefusedError, "there is a file where a folder is needed"),
    _verdict("ENOTDIR", RefusedError, "there is a file where a folder is needed"),
)

_READING, _WRITING, _WITHOUT_ROOT = (
    {getattr(errno, verdict.code): verdict for verdict in table}
    for table in (READING, WRITING, WITHOUT_ROOT)
)


def read_error(error: OSError, path: str) -> JobtoolError:
    """Return jobtool's error for a system error while ``path`` was read.

    An error that isn't in the table is this file's, and may pass.
    """
    verdict = _READING.get(error.errno or 0)
    if verdict is None:
        return StoreError(f"can't read {quote(path)}: {error.strerror or error}")
    if verdict.error is NotFoundError:
        return NotFoundError(f"expected something at {quote(path)}; found nothing")
    return verdict.error(f"can't read {quote(path)}: {verdict.meaning}")


def write_error(error: OSError, target: str, root: str) -> JobtoolError:
    """Return jobtool's error for a system error while ``target`` below ``root`` was written.

    An error that isn't in the table is this file's, and may pass.
    """
    number = error.errno or 0
    verdict = _WRITING.get(number)
    if number in _WITHOUT_ROOT and _is_no_folder(root):
        verdict = _WITHOUT_ROOT[number]
    if verdict is None:
        return StoreError(f"can't write {quote(target)}: {error.strerror or error}")
    named = isinstance(error.filename, str) and error.filename.startswith("/")
    where = quote(error.filename if named else target)
    return verdict.error(f"can't write {where}: {verdict.meaning}")


def not_a_file(path: str, mode: int) -> SourceError:
    """Return the error for a path that isn't a regular file."""
    if stat.S_ISLNK(mode):
        found = "a link, and links aren't followed here"
    else:
        found = "a folder" if stat.S_ISDIR(mode) else "a device, socket or pipe"
    return SourceError(f"expected a regular file at {quote(path)}; found {found}")


def _is_no_folder(path: str) -> bool:
    """Return True if a path surely isn't a folder. One that can't be examined may be."""
    try:
        return not stat.S_ISDIR(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
