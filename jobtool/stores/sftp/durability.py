"""Durability: the files written since the last sync are brought to their media.

By ``sync -f`` of their folders where the server runs commands, else by OpenSSH's extension
fsync@openssh.com for each file. Other servers decide themselves when they write.
"""

from __future__ import annotations

import asyncio
import os
import threading

import asyncssh

from jobtool.errors import StoreUnavailableError
from jobtool.names import quote
from jobtool.stores.sftp.connection import Link, Session
from jobtool.stores.sftp.errors import LOST, NoCommandsError
from jobtool.stores.sftp.files import open_remote
from jobtool.stores.sftp.tree import MISSING

#: How many files are opened at once.
_MOST_OPEN = 16


class Durability:
    """Remembers what was published on one server, and syncs it."""

    def __init__(self, link: Link, url: str) -> None:
        self._link = link
        self._url = url
        self._lock = threading.Lock()
        self._written: set[bytes] = set()
        self._has_fsync = True

    def note(self, full: bytes) -> None:
        """Record a published file."""
        with self._lock:
            self._written.add(full)

    def sync(self) -> None:
        """Sync what was published since the last sync.

        Raises ``StoreUnavailableError`` if something didn't reach its medium. It stays recorded.
        """
        with self._lock:
            taken, self._written = self._written, set()
        if not taken:
            return
        try:
            self._link.run(lambda session: self._sync(session, taken), again=True)
        except BaseException:
            with self._lock:
                self._written |= taken
            raise

    async def _sync(self, session: Session, taken: set[bytes]) -> None:
        shell = await session.shell()
        if shell is not None:
            try:
                await shell.sync(sorted({os.path.dirname(full) for full in taken}))
                return
            except NoCommandsError:
                pass
        free = asyncio.Semaphore(_MOST_OPEN)
        await asyncio.gather(*(self._sync_file(session, full, free) for full in taken))

    async def _sync_file(self, session: Session, full: bytes, free: asyncio.Semaphore) -> None:
        async with free:
            if not self._has_fsync:
                return
            try:
                async with await open_remote(session, full) as file:
                    await file.fsync()
            except LOST:
                raise
            except asyncssh.SFTPOpUnsupported:
                self._has_fsync = False
            except (*MISSING, asyncssh.SFTPPermissionDenied):
                return  # it is gone again, or may not be read
            except asyncssh.SFTPError as error:
                raise StoreUnavailableError(
                    f"not all that was written has reached the medium of {quote(self._url)}: "
                    f"{error.reason or error.code}. Files without a receipt are read again by the "
                    "next attempt."
                ) from None
