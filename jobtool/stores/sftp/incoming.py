"""The folder into which programs put files on a server, and how these get their names."""

from __future__ import annotations

import contextlib
import posixpath
import stat

import asyncssh

from jobtool.errors import FileError
from jobtool.names import quote
from jobtool.stores.beneath import LinkInTheWayError
from jobtool.stores.local.temporaries import Temporaries
from jobtool.stores.sftp.connection import Link, Session
from jobtool.stores.sftp.errors import LOST
from jobtool.stores.sftp.failures import writing
from jobtool.stores.sftp.publish import publish
from jobtool.stores.sftp.tree import MISSING, Tree, mode_of

_FOLDER_MODE = 0o700


class Incoming:
    """The methods of ``TakesFiles`` for a tree on a server."""

    def __init__(self, link: Link, tree: Tree, temporaries: Temporaries) -> None:
        self._link = link
        self._tree = tree
        self._name = temporaries.incoming

    def folder_for(self, path: str) -> str:
        """Return the path of the folder for a target."""
        above = posixpath.dirname(path) if self._tree.root == b"/" else ""
        return posixpath.join(above, self._name)

    def make(self, folder: str) -> None:
        """Make the folder, or keep it."""

        async def made(session: Session) -> None:
            async with self._writing(session, folder):
                await self._make(session, folder)

        self._link.run(made, again=True)

    async def _make(self, session: Session, folder: str) -> None:
        full, above = self._tree.full(folder), posixpath.dirname(folder)
        await self._tree.make_folders(session, above)
        try:
            await session.sftp.mkdir(full, asyncssh.SFTPAttrs(permissions=_FOLDER_MODE))
        except LOST:
            raise
        except asyncssh.SFTPError:
            mode = await mode_of(session, full)
            if mode is None:
                raise
            if not stat.S_ISDIR(mode) or mode & 0o077:
                raise FileError(
                    f"expected {quote(self._tree.url_of(folder))} to be a folder that only this "
                    "user may enter; found something else. Look who made it, and remove it."
                ) from None
            # Only the owner may do this.
            await session.sftp.setstat(full, asyncssh.SFTPAttrs(permissions=_FOLDER_MODE))

    def take(self, path: str, target: str, size: int) -> bool:
        """Rename a file to its target; return False if it isn't complete."""

        async def taken(session: Session) -> bool:
            full, url = self._tree.full(path), self._tree.url_of(target)
            async with writing(session, self._tree.full(target), url):
                try:
                    found = await session.sftp.lstat(full)
                except MISSING:
                    return False
                if not stat.S_ISREG(found.permissions or 0) or found.size != size:
                    return False
                await self._publish(session, full, target)
            return True

        return self._link.run(taken)

    async def _publish(self, session: Session, full: bytes, target: str) -> None:
        folder, url = posixpath.dirname(target), self._tree.url_of(target)
        with contextlib.suppress(*MISSING):
            await self._tree.require_inside(session, folder)
            await publish(session, full, self._tree.full(target), url, may_replace=True)
            return
        self._tree.forget(folder)
        await self._tree.make_folders(session, folder)
        await publish(session, full, self._tree.full(target), url, may_replace=True)

    def remove(self, folder: str) -> None:
        """Remove the folder with all that is in it."""

        async def removed(session: Session) -> None:
            full = self._tree.full(folder)
            async with self._writing(session, folder):
                with contextlib.suppress(*MISSING, LinkInTheWayError):
                    await self._tree.require_inside(session, posixpath.dirname(folder))
                    mode = await mode_of(session, full)
                    if mode is not None and stat.S_ISDIR(mode):
                        await _remove_tree(session, full)

        self._link.run(removed, again=True)

    def _writing(self, session: Session, path: str) -> contextlib.AbstractAsyncContextManager[None]:
        return writing(session, self._tree.full(path), self._tree.url_of(path))


async def _remove_tree(session: Session, full: bytes) -> None:
    """Remove a folder. asyncssh's own ``rmtree`` refuses names with a backslash."""
    async for entry in session.sftp.scandir(full):
        name = entry.filename
        assert isinstance(name, bytes)
        if name in (b".", b".."):
            continue
        below = posixpath.join(full, name)
        with contextlib.suppress(*MISSING):
            if stat.S_ISDIR(entry.attrs.permissions or 0):
                await _remove_tree(session, below)
            else:
                await session.sftp.remove(below)
    with contextlib.suppress(*MISSING):
        await session.sftp.rmdir(full)
