"""Connections to one FTP server: kept for the next call, one for each call at a time.

FTP runs one command at a time on a connection, so each thread takes one of its own.
"""

from __future__ import annotations

import contextlib
import ftplib
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from jobtool.errors import StoreSettingsError
from jobtool.names import quote
from jobtool.stores.ftp.errors import CLIENT_ERRORS, of_failure
from jobtool.stores.logins import Login, login_for
from jobtool.stores.webaddress import host_and_port

_ANONYMOUS = Login("anonymous", "anonymous@")


class Connections:
    """The connections to the server of a root, ``ftp://HOST`` or ``ftps://HOST``.

    ``ftps://`` encrypts commands and data after the command AUTH TLS (RFC 4217). Logs in by
    ``~/.netrc``, else as ``anonymous``.
    """

    def __init__(
        self, root: str, *, ca_bundle: str | None, passive: bool, timeout_seconds: float
    ) -> None:
        scheme, _, name = root.partition("://")
        self._root = root
        self._host, self._port = host_and_port(name)
        self._timeout = timeout_seconds
        self._passive = passive
        self._tls = _trusting(ca_bundle) if scheme == "ftps" else None
        self._changed = threading.Condition()
        self._idle: list[ftplib.FTP] = []
        self._in_use = 0
        self._most: int | None = None  # once the server has refused one more
        self.home = ""

    @contextmanager
    def one(self, url: str) -> Iterator[ftplib.FTP]:
        """Yield a connection for one call at ``url``; keep it if the server is in step.

        Then ``home`` is the folder that the server puts a reader in, without a slash at its end.
        Errors of the client are translated by ``errors.of_failure``.
        """
        connection = self._take(url)
        is_kept = False
        try:
            yield connection
            is_kept = True
        except CLIENT_ERRORS as error:
            is_kept = isinstance(error, (ftplib.error_perm, ftplib.error_temp))
            raise of_failure(error, url, self._root) from None
        finally:
            if not is_kept:
                connection.close()
            self._give_back(connection if is_kept else None)

    def _take(self, url: str) -> ftplib.FTP:
        """Return an idle connection, or a new one. Waits if the server allows no more."""
        while True:
            with self._changed:
                while not self._idle and self._most is not None and self._in_use >= self._most:
                    self._changed.wait()
                found = self._idle.pop() if self._idle else None
                self._in_use += 1
            if found is None:
                try:
                    return self._connect(url)
                except ftplib.error_temp as error:
                    with self._changed:
                        self._in_use -= 1
                        if self._in_use:
                            self._most = self._in_use
                            continue
                    raise of_failure(error, url, self._root, connecting=True) from None
                except BaseException:
                    self._give_back(None)
                    raise
            try:
                found.voidcmd("NOOP")  # the server closes connections that wait too long
                return found
            except CLIENT_ERRORS:
                found.close()
                self._give_back(None)

    def _give_back(self, connection: ftplib.FTP | None) -> None:
        with self._changed:
            self._in_use -= 1
            if connection is not None:
                self._idle.append(connection)
            self._changed.notify()

    def _connect(self, url: str) -> ftplib.FTP:
        """Connect and log in. Raises ``ftplib.error_temp`` if the server is busy."""
        login = login_for(self._host) or _ANONYMOUS
        # Every byte is a character of Latin-1: names are passed on as their bytes.
        made: ftplib.FTP
        if self._tls is None:
            made = ftplib.FTP(timeout=self._timeout, encoding="latin-1")  # noqa: S321 - as asked
        else:
            made = _Encrypted(context=self._tls, timeout=self._timeout, encoding="latin-1")
        try:
            made.connect(self._host, self._port or 0)
            made.login(as_sent(login.name), as_sent(login.password))
            if isinstance(made, _Encrypted):
                made.prot_p()
            made.set_pasv(self._passive)
            made.voidcmd("TYPE I")
            with contextlib.suppress(ftplib.error_perm):
                made.sendcmd("OPTS UTF8 ON")
            self.home = as_named(made.pwd().rstrip("/"))
        except ftplib.error_temp:
            made.close()
            raise
        except CLIENT_ERRORS as error:
            made.close()
            raise of_failure(error, url, self._root, connecting=True) from None
        return made


def as_sent(name: str) -> str:
    """Return a name as a connection sends it."""
    return name.encode("utf-8", "surrogateescape").decode("latin-1")


def as_named(text: str) -> str:
    """Return the name for a text that a connection received."""
    return text.encode("latin-1").decode("utf-8", "surrogateescape")


class _Encrypted(ftplib.FTP_TLS):
    """FTP over TLS whose data connections go on with the TLS session of the commands.

    Many servers demand it (vsftpd's ``require_ssl_reuse``), and ftplib doesn't do it.
    """

    def ntransfercmd(
        self, cmd: str, rest: int | str | None = None
    ) -> tuple[socket.socket, int | None]:
        """Begin a transfer. Return its connection, and the size if the server tells it."""
        connection, size = ftplib.FTP.ntransfercmd(self, cmd, rest)  # noqa: S321 - TLS follows
        session = self.sock.session if isinstance(self.sock, ssl.SSLSocket) else None
        wrapped = self.context.wrap_socket(connection, server_hostname=self.host, session=session)
        return wrapped, size


def _trusting(ca_bundle: str | None) -> ssl.SSLContext:
    path = ca_bundle or os.environ.get("SSL_CERT_FILE")
    try:
        return ssl.create_default_context(cafile=path)
    except OSError as error:  # ssl.SSLError is one
        named = "[ftps] ca_bundle" if ca_bundle else "SSL_CERT_FILE"
        raise StoreSettingsError(
            f"{named}: expected a file of certificates in PEM at {quote(str(path))}; "
            f"{error.strerror}"
        ) from None
