"""Commands on a server: one ``sh`` for each connection, which runs them side by side.

Starting a session takes a login shell, so one session serves all commands. Each is a line of its
input, is run in the background, and answers in a line that begins with the command's number.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import shlex
from collections.abc import Sequence

import asyncssh

from jobtool.stores.sftp.errors import LOST, NoCommandsError
from jobtool.stores.store import Part

#: A server that doesn't run commands may keep silent.
_START_SECONDS = 20

_MD5 = re.compile(rb"([0-9a-f]{32})  ?\*?-")

#: How many parts are asked for at once: an answer of at most 4,096 bytes (``PIPE_BUF``) is whole.
_MOST_PARTS = 64

#: How many folders are synced by one command: a line stays below the limits of servers.
_MOST_FOLDERS = 100

#: A table of Linux that is the same for two processes only if they see the same files by the same
#: names (``proc(5)``). The SFTP of a user may be confined to a folder that commands aren't in.
VIEW = b"/proc/self/mountinfo"
_VIEW_BYTES, _VIEW_BLOCK = 4 * 1024 * 1024, 32 * 1024


class Shell:
    """A shell on a server. Its methods raise ``NoCommandsError`` if a command has no result."""

    def __init__(self, process: asyncssh.SSHClientProcess[bytes]) -> None:
        self._process = process
        self._answers: dict[int, asyncio.Future[bytes]] = {}
        self._number = 0
        self._is_over = False
        self._reader = asyncio.ensure_future(self._read())

    async def md5(self, path: bytes) -> str:
        """Return the MD5 of a file in hex."""
        (found,) = await self._md5s(b"md5sum < " + _quoted(path), 1)
        return found

    async def md5s_of_parts(self, path: bytes, parts: Sequence[Part]) -> dict[int, str]:
        """Return the MD5s of parts of a file by their numbers, of those at multiples of their size.

        ``dd`` reads a range of another offset only byte by byte or block by block.
        """
        found: dict[int, str] = {}
        fitting = [part for part in parts if part.size and not part.offset % part.size]
        for size in {part.size for part in fitting}:
            some = [part for part in fitting if part.size == size]
            md5s = await self._part_md5s(path, size, [part.offset // size for part in some])
            found.update((part.number, md5) for part, md5 in zip(some, md5s, strict=True))
        return found

    async def _part_md5s(self, path: bytes, size: int, numbers: Sequence[int]) -> list[str]:
        found: list[str] = []
        for start in range(0, len(numbers), _MOST_PARTS):
            some = numbers[start : start + _MOST_PARTS]
            loop = b"for n in %b; do dd if=%b bs=%d skip=$n count=1 2> /dev/null | md5sum; done"
            words = b" ".join(b"%d" % number for number in some)
            found += await self._md5s(loop % (words, _quoted(path), size), len(some))
        return found

    async def sync(self, folders: Sequence[bytes]) -> None:
        """Write what was written to the filesystems of folders to their media."""
        for start in range(0, len(folders), _MOST_FOLDERS):
            names = b" ".join(map(_quoted, folders[start : start + _MOST_FOLDERS]))
            if await self._run(b"sync -f -- %b 2> /dev/null && echo synced" % names) != b"synced":
                raise NoCommandsError

    async def _md5s(self, script: bytes, count: int) -> list[str]:
        found = [match.decode() for match in _MD5.findall(await self._run(script))]
        if len(found) != count:
            raise NoCommandsError
        return found

    async def _run(self, script: bytes) -> bytes:
        if self._is_over:
            raise NoCommandsError
        self._number += 1
        number = self._number
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        line = b"{ r=$(%b); echo jobtool %d $r; } < /dev/null &\n" % (script, number)
        try:
            self._process.stdin.write(line)
            return await answer
        except (*LOST, OSError):
            raise NoCommandsError from None
        finally:
            self._answers.pop(number, None)

    async def _read(self) -> None:
        try:
            while line := await self._process.stdout.readline():
                word, _, rest = line.strip().partition(b" ")
                number, _, said = rest.partition(b" ")
                if word == b"jobtool" and number.isdigit() and int(number) in self._answers:
                    self._answers.pop(int(number)).set_result(said)
        except (asyncssh.Error, OSError):
            pass
        finally:
            self._is_over = True
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(NoCommandsError())

    def close(self) -> None:
        """End the shell."""
        self._reader.cancel()
        self._process.close()


async def start_shell(
    connection: asyncssh.SSHClientConnection, sftp: asyncssh.SFTPClient
) -> Shell | None:
    """Return a shell, or None if commands aren't allowed or see other files than SFTP does."""
    try:
        process = await connection.create_process(
            b"exec sh", encoding=None, stderr=asyncssh.DEVNULL, request_pty=False
        )
    except asyncssh.ChannelOpenError:
        return None
    shell = Shell(process)
    try:
        process.stdin.write(b"LC_ALL=C; export LC_ALL\n")
        async with asyncio.timeout(_START_SECONDS):
            seen, view = await asyncio.gather(shell.md5(VIEW), _view_md5(sftp))
        if seen == view:
            return shell
    except (NoCommandsError, TimeoutError, asyncssh.SFTPError):
        pass
    except BrokenPipeError:  # the server has closed the command's channel, not the connection
        pass
    shell.close()
    return None


async def _view_md5(sftp: asyncssh.SFTPClient) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    async with await sftp.open(VIEW, asyncssh.FXF_READ, encoding=None) as file:
        offset = 0
        while offset < _VIEW_BYTES and (data := await file.read(_VIEW_BLOCK, offset)):
            digest.update(data)  # type: ignore[arg-type] # bytes, without an encoding
            offset += len(data)
    return digest.hexdigest()


def _quoted(path: bytes) -> bytes:
    """Return a path as one word for ``sh``. Bytes that aren't UTF-8 stay what they are."""
    with contextlib.suppress(UnicodeDecodeError):
        return shlex.quote(path.decode("ascii")).encode("ascii")
    return b"'" + path.replace(b"'", b"'\"'\"'") + b"'"
