"""An open file on a server, as bytes. Long ranges are requests that are sent together."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any

import asyncssh

from jobtool.stores.sftp.connection import Session

_LONG_BYTES = 1024 * 1024


class RemoteFile:
    """An open file of a session. Its methods raise the client's errors."""

    def __init__(self, file: asyncssh.SFTPClientFile, session: Session) -> None:
        self._file: Any = file
        self._session = session

    async def __aenter__(self) -> RemoteFile:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def read(self, length: int, offset: int) -> bytes:
        """Return ``length`` bytes from ``offset``, or fewer at the file's end."""
        data: bytes = await self._file.read(length, offset) if length else b""
        return data

    async def write(self, data: bytes | memoryview, offset: int) -> None:
        """Write all of ``data`` at ``offset``. Long ranges wait for each other: see ``writers``."""
        if len(data) > _LONG_BYTES:
            async with self._session.writers:
                await self._file.write(data, offset)
        elif data:
            await self._file.write(data, offset)

    async def stat(self) -> asyncssh.SFTPAttrs:
        """Return the attributes of the file."""
        found: asyncssh.SFTPAttrs = await self._file.stat()
        return found

    async def setstat(self, wanted: asyncssh.SFTPAttrs) -> None:
        """Set attributes of the file."""
        await self._file.setstat(wanted)

    async def fsync(self) -> None:
        """Write the file to its medium (fsync@openssh.com)."""
        await self._file.fsync()

    async def close(self) -> None:
        """Close the file. Some filesystems tell only then that they couldn't write."""
        await self._file.close()

    def close_later(self) -> None:
        """Close a file that was only read, without waiting for the answer."""
        closing = asyncio.ensure_future(self._file.close())
        closing.add_done_callback(lambda done: done.cancelled() or done.exception())


async def open_remote(
    session: Session, full: bytes, flags: int = asyncssh.FXF_READ, mode: int | None = None
) -> RemoteFile:
    """Open a file on a server. ``mode`` is that of a new file. Raises the client's errors."""
    wanted = asyncssh.SFTPAttrs() if mode is None else asyncssh.SFTPAttrs(permissions=mode)
    return RemoteFile(await session.sftp.open(full, flags, wanted, encoding=None), session)
