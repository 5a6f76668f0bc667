"""Connections to one FTP server: kept for the next call, one for each call at a time.

FTP runs one command at a time on a connection, so each thread takes one of its own.
"""

from __future__ import annotations

import contextlib
import ftplib
import os
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
        self._lock = threading.Lock()
        self._idle: list[ftplib.FTP] = []
        self._home: str | None = None

    @contextmanager
    def one(self, url: str) -> Iterator[ftplib.FTP]:
        """Yield a connection for one call at ``url``; keep it if the call succeeds.

        An error of the client is translated by ``errors.of_failure``.
        """
        connection = self._take(url)
        try:
            yield connection
        except CLIENT_ERRORS as error:
            if isinstance(error, (ftplib.error_perm, ftplib.error_temp)):
                self._keep(connection)  # the server has answered, so the two are in step
            else:
                connection.close()
            raise of_failure(error, url, self._root) from None
        except BaseException:
            connection.close()
            raise
        self._keep(connection)

    @property
    def home(self) -> str:
        """The folder that the server puts a reader in, without a slash at its end."""
        return self._home or ""

    def _take(self, url: str) -> ftplib.FTP:
        while True:
            with self._lock:
                if not self._idle:
                    break
                connection = self._idle.pop()
            try:
                connection.voidcmd("NOOP")  # the server closes connections that wait too long
            except CLIENT_ERRORS:
                connection.close()
            else:
                return connection
        return self._connect(url)

    def _keep(self, connection: ftplib.FTP) -> None:
        with self._lock:
            self._idle.append(connection)

    def _connect(self, url: str) -> ftplib.FTP:
        login = login_for(self._host) or _ANONYMOUS
        options = {"timeout": self._timeout, "encoding": "utf-8"}
        made = (
            ftplib.FTP(**options)  # type: ignore[arg-type]  # noqa: S321 - the user's own choice
            if self._tls is None
            else _Encrypted(context=self._tls, **options)  # type: ignore[arg-type]
        )
        try:
            made.connect(self._host, self._port or 0)
            made.file.close()
            made.file = made.sock.makefile("r", encoding="utf-8", errors="surrogateescape")
            if isinstance(made, _Encrypted):
                made.auth()
            made.login(login.name, login.password)
            if isinstance(made, _Encrypted):
                made.prot_p()
            made.set_pasv(self._passive)
            made.voidcmd("TYPE I")
            with contextlib.suppress(ftplib.error_perm):
                made.voidcmd("OPTS UTF8 ON")
            home = made.pwd().rstrip("/")
        except CLIENT_ERRORS as error:
            made.close()
            raise of_failure(error, url, self._root, connecting=True) from None
        self._home = home
        return made


class _Bytes:
    """Sends names that aren't UTF-8 as their bytes."""


class _Encrypted(ftplib.FTP_TLS):
    """FTP over TLS whose data connections go on with the session of the commands.

    Many servers demand it (vsftpd's ``require_ssl_reuse``), and ftplib doesn't do it.
    """

    def ntransfercmd(self, cmd: str, rest: int | str | None = None) -> tuple[object, int | None]:  # type: ignore[override]
        """Begin a transfer; return its connection and the size that the server tells."""
        connection, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
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
