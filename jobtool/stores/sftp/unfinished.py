"""Temporary files on a server: made in a folder, and removed if what was to fill them fails."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import asyncssh

from jobtool.stores.sftp.connection import Session
from jobtool.stores.sftp.failures import writing
from jobtool.stores.sftp.files import RemoteFile, open_remote
from jobtool.stores.sftp.tree import MISSING, Tree, mode_of

#: Never opens what is there already, so never a link either.
_CREATE = asyncssh.FXF_READ | asyncssh.FXF_WRITE | asyncssh.FXF_CREAT | asyncssh.FXF_EXCL


async def create(
    session: Session, tree: Tree, path: str, *, target_url: str, mode: int | None
) -> RemoteFile:
    """Make a temporary file, and its folder if that is missing.

    ``mode`` is that of its source, if it is known: users who may not read the source may not read
    the unfinished file either. Errors name ``target_url``.
    """
    full, folder = tree.full(path), path.rpartition("/")[0]
    mode = 0o666 if mode is None else mode & 0o666 | 0o600
    async with writing(session, full, target_url):
        with contextlib.suppress(*MISSING):
            await tree.require_inside(session, folder)
            return await open_remote(session, full, _CREATE, mode)
        tree.forget(folder)
        await tree.make_folders(session, folder)
        return await open_remote(session, full, _CREATE, mode)


@contextlib.asynccontextmanager
async def removed_on_failure(
    session: Session, full: bytes, file: RemoteFile
) -> AsyncIterator[None]:
    """Close and remove a file if the block raises."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(asyncssh.Error, OSError, ValueError):  # it may be closed
            await file.close()
        with contextlib.suppress(asyncssh.Error, OSError):
            await session.sftp.remove(full)
        raise


async def check_writable(session: Session, tree: Tree, name: str) -> None:
    """Make and remove a file in the root, or in the next existing folder above it."""
    folder = tree.root
    while folder != b"/" and await mode_of(session, folder, follow=True) is None:
        folder = folder.rpartition(b"/")[0] or b"/"
    full = folder.rstrip(b"/") + b"/" + name.encode()
    async with writing(session, full, tree.url):
        file = await open_remote(session, full, _CREATE, 0o600)
        async with removed_on_failure(session, full, file):
            await file.write(b"1", 0)  # a quota may allow names but no bytes
            await file.close()
        await session.sftp.remove(full)
