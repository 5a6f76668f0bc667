"""Connections to SSH servers, used from many threads.

One thread runs the event loop of all connections. Other threads pass it coroutines and wait. A
server has one connection, with one SFTP session, whose requests are pipelined, and one shell.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

import asyncssh

from jobtool.stores.sftp.errors import LOST, connect_error, lost
from jobtool.stores.sftp.login import LOGIN_SECONDS, log_in
from jobtool.stores.sftp.place import Place
from jobtool.stores.sftp.settings import SftpSettings
from jobtool.stores.sftp.shell import Shell, start_shell

T = TypeVar("T")

#: asyncssh holds a second copy of up to 4 MiB of each range that is being written, and the server
#: takes 2 MiB at a time, as OpenSSH does.
_WRITERS = 4


class Session:
    """A connection on which the user is logged in, its SFTP session and its shell."""

    def __init__(
        self,
        connection: asyncssh.SSHClientConnection,
        sftp: asyncssh.SFTPClient,
        *,
        has_commands: bool,
    ) -> None:
        self.sftp = sftp
        #: Limits how many long ranges are written at once; see ``RemoteFile.write``.
        self.writers = asyncio.Semaphore(_WRITERS)
        self._connection = connection
        self._shell: asyncio.Task[Shell | None] | None = None
        self._has_commands = has_commands

    async def shell(self) -> Shell | None:
        """Return the shell, or None if the server runs no commands. It is started once."""
        if not self._has_commands:
            return None
        if self._shell is None:
            self._shell = asyncio.ensure_future(start_shell(self._connection, self.sftp))
        return await asyncio.shield(self._shell)

    @property
    def is_closed(self) -> bool:
        """Whether the connection is known to be gone."""
        return self._connection.is_closed()

    def abort(self) -> None:
        """End the connection at once."""
        self._connection.abort()


Work = Callable[[Session], Awaitable[T]]


class Link:
    """The connection to one server, made when it is first needed and again after a loss."""

    def __init__(
        self, loop: _Loop, place: Place, settings: SftpSettings, *, password: str | None = None
    ) -> None:
        self.place = place
        self._settings = settings
        self._password = password
        self._loop = loop
        self._session: Session | None = None
        self._lock: asyncio.Lock | None = None

    def run(self, work: Work[T], *, again: bool = False) -> T:
        """Run ``work`` with the session and return its result.

        With ``again`` it is run once more on a new connection if the old one is lost, so it must
        change nothing. Otherwise a loss is a ``StoreError``. Raises the errors of ``log_in``.
        """
        return self.start(work, again=again).result()

    @property
    def settings(self) -> SftpSettings:
        """The settings of the connection."""
        return self._settings

    @property
    def has_password(self) -> bool:
        """Whether it logs in by a password that was given in Python."""
        return self._password is not None

    def start(self, work: Work[T], *, again: bool = False) -> Future[T]:
        """Begin ``work`` as ``run`` does, and return at once."""
        return self._loop.submit(self._perform(work, again=again))

    async def _perform(self, work: Work[T], *, again: bool) -> T:
        session = await self._connected()
        try:
            return await work(session)
        except LOST as error:
            self._drop(session)
            if not again:
                raise lost(error, self.place) from None
        return await self._perform(work, again=False)

    async def _connected(self) -> Session:
        if self._lock is None:
            self._lock = asyncio.Lock()
        async with self._lock:
            if self._session is not None and self._session.is_closed:
                self._session = None
            if self._session is None:
                self._session = await self._new_session()
            return self._session

    async def _new_session(self) -> Session:
        connection = await log_in(self.place, self._settings, password=self._password)
        try:
            async with asyncio.timeout(LOGIN_SECONDS):  # all threads wait for it
                sftp = await connection.start_sftp_client()
        except (asyncssh.Error, OSError, EOFError) as error:
            connection.abort()
            raise connect_error(error, self.place) from None
        return Session(connection, sftp, has_commands=self._settings.commands == "auto")

    def _drop(self, session: Session) -> None:
        if self._session is session:
            self._session = None
        session.abort()

    def close(self) -> None:
        """End the connection. The next use makes another."""
        self._loop.submit(self._close()).result()

    async def _close(self) -> None:
        if self._session is not None:
            self._drop(self._session)


class Connections:
    """The links of a run: stores with the same server and settings share one."""

    def __init__(self) -> None:
        self._links: dict[tuple[Place, SftpSettings, str | None], Link] = {}
        self._lock = threading.Lock()
        self._loop: _Loop | None = None

    def link(self, place: Place, settings: SftpSettings, *, password: str | None = None) -> Link:
        """Return the link to a server. Contacts no server.

        ``password`` is one that was given in Python; by default none is sent.
        """
        with self._lock:
            if self._loop is None:
                self._loop = _Loop()
            key = place, settings, password
            if key not in self._links:
                self._links[key] = Link(self._loop, place, settings, password=password)
            return self._links[key]


class _Loop:
    """An event loop in a thread of its own, from the first coroutine until no link uses it."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(coroutine, self._running())

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            with self._lock:
                if self._loop is None:
                    loop = asyncio.new_event_loop()
                    # Failures of requests are raised where they are awaited.
                    loop.set_exception_handler(lambda loop, context: None)
                    threading.Thread(target=loop.run_forever, name="sftp", daemon=True).start()
                    weakref.finalize(self, _stop, loop)
                    self._loop = loop
        return self._loop


def _stop(loop: asyncio.AbstractEventLoop) -> None:
    with contextlib.suppress(RuntimeError):  # it has ended already
        loop.call_soon_threadsafe(loop.stop)
