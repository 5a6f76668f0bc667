"""What a server's FAILURE means while a file is written: version 3 of SFTP doesn't say why."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import asyncssh

from jobtool.errors import JobtoolError, StoreUnavailableError
from jobtool.names import quote
from jobtool.stores.sftp.connection import Session
from jobtool.stores.sftp.errors import LOST, write_error
from jobtool.stores.sftp.tree import MISSING

#: A filesystem is full if it has less than this: a request writes up to 256 KiB.
_NEARLY_NOTHING_BYTES = 1024 * 1024

#: The flag of a read-only filesystem (statvfs@openssh.com in OpenSSH's PROTOCOL, section 4.4).
_READ_ONLY = 1


@contextlib.asynccontextmanager
async def writing(session: Session, full: bytes, url: str) -> AsyncIterator[None]:
    """Turn a status of the server into jobtool's error. A lost connection is left as it is.

    ``full`` is the path that is written, ``url`` what messages call it.
    """
    try:
        yield
    except LOST:
        raise
    except asyncssh.SFTPFailure as error:
        known = await _reason(session, full, url)
        raise known or write_error(error, url) from None
    except asyncssh.SFTPError as error:
        raise write_error(error, url) from None


async def _reason(session: Session, full: bytes, url: str) -> JobtoolError | None:
    """Return the error for a filesystem that is full or read-only, by statvfs@openssh.com."""
    found = await filesystem_of(session, full.rpartition(b"/")[0] or b"/")
    if found is None:
        return None
    what = ""
    if found.flags & _READ_ONLY:
        what = "its filesystem is read-only"
    elif found.bavail * found.frsize < _NEARLY_NOTHING_BYTES:
        what = "no space left on its filesystem: free space on it"
    elif found.files and not found.favail:
        what = "its filesystem can hold no more files"
    return StoreUnavailableError(f"can't write {quote(url)}: {what}") if what else None


async def filesystem_of(session: Session, folder: bytes) -> asyncssh.SFTPVFSAttrs | None:
    """Return the filesystem of a folder, or of the innermost above it that is there.

    None if the server doesn't tell. Raises the errors of a lost connection.
    """
    while True:
        try:
            return await session.sftp.statvfs(folder)
        except MISSING:
            if folder == b"/":
                return None
            folder = folder.rpartition(b"/")[0] or b"/"
        except LOST:
            raise
        except asyncssh.SFTPError:
            return None
