"""Rename a temporary file to its target, with or without replacing an existing file.

Version 3 of SFTP has no rename that replaces: "it is an error if there already exists a file with
the name specified by newpath" (draft-ietf-secsh-filexfer-02, section 6.5). OpenSSH's extensions
posix-rename@openssh.com and hardlink@openssh.com are those of POSIX (its PROTOCOL, section 4).
"""

from __future__ import annotations

import contextlib
import stat

import asyncssh

from jobtool.errors import FileError
from jobtool.names import quote
from jobtool.stores.sftp.connection import Session
from jobtool.stores.sftp.errors import LOST
from jobtool.stores.sftp.tree import MISSING, mode_of
from jobtool.stores.store import Note

_NOT_ATOMIC = Note(
    "replacement in one step", "the server has no rename that replaces: the old file was removed"
)


class ExistsError(FileError):
    """A file exists and must not be replaced, or a folder is in its place."""


async def publish(
    session: Session, temporary: bytes, target: bytes, url: str, *, may_replace: bool
) -> tuple[Note, ...]:
    """Rename a file in its folder. ``url`` is that of the target.

    Readers see the old file or the new one. If the server can't do that, the old file is removed
    first, and a note says so. Without ``may_replace`` an existing file is kept and ``ExistsError``
    is raised. Raises the client's errors.
    """
    try:
        if may_replace:
            return await _replace(session, temporary, target)
        await _link(session, temporary, target)
    except LOST:
        raise
    except asyncssh.SFTPError:
        mode = await mode_of(session, target)
        if mode is not None and stat.S_ISDIR(mode):
            raise ExistsError(
                f"can't write {quote(url)}: there is a folder where a file is needed"
            ) from None
        if mode is not None and not may_replace:
            raise ExistsError(f"{quote(url)} exists already, and is not to be replaced") from None
        raise
    return ()


async def _replace(session: Session, temporary: bytes, target: bytes) -> tuple[Note, ...]:
    try:
        await session.sftp.posix_rename(temporary, target)
        return ()
    except asyncssh.SFTPOpUnsupported:
        pass
    try:
        await session.sftp.rename(temporary, target)
        return ()
    except LOST:
        raise
    except asyncssh.SFTPError:
        mode = await mode_of(session, target)
        if mode is None or stat.S_ISDIR(mode):
            raise
    with contextlib.suppress(*MISSING):
        await session.sftp.remove(target)
    await session.sftp.rename(temporary, target)
    return (_NOT_ATOMIC,)


async def _link(session: Session, temporary: bytes, target: bytes) -> None:
    """Give a file its name only if there is none. Some servers' rename replaces, a link never."""
    try:
        await session.sftp.link(temporary, target)
    except LOST:
        raise
    except asyncssh.SFTPError:  # no such extension, or a filesystem without hard links
        if await mode_of(session, target) is not None:
            raise
        await session.sftp.rename(temporary, target)
        return
    with contextlib.suppress(asyncssh.SFTPError):  # it is published: a second name is harmless
        await session.sftp.remove(temporary)
