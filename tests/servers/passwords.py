"""An SSH server on loopback that takes a password: asyncssh's, with the files of a folder."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncssh

USER = "user"
PASSWORD = "pass"


@dataclass(frozen=True, kw_only=True)
class PasswordServer:
    """A running server. ``folder`` is what its users see as ``/``."""

    port: int
    folder: Path
    known_hosts: Path


class _Server(asyncssh.SSHServer):
    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == (USER, PASSWORD)


@contextlib.contextmanager
def password_server(folder: Path) -> Iterator[PasswordServer]:
    """Run the server in a thread of this process. Its files are in ``folder``/``files``."""
    files = folder / "files"
    files.mkdir()
    key = asyncssh.generate_private_key("ssh-ed25519")
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="password server")
    thread.start()

    async def listening() -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=_Server,
            server_host_keys=[key],
            sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=bytes(files)),
        )

    try:
        server = asyncio.run_coroutine_threadsafe(listening(), loop).result(30)
        port = server.get_port()
        known_hosts = folder / "known_hosts"
        public = key.export_public_key().decode().strip()
        known_hosts.write_text(f"[127.0.0.1]:{port} {public}\n")
        yield PasswordServer(port=port, folder=files, known_hosts=known_hosts)

        async def close() -> None:
            server.close()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()

        asyncio.run_coroutine_threadsafe(close(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
