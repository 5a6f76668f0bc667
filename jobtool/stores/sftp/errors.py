"""The meanings of SFTP's status codes and of failures to connect.

Version 3 of SFTP, the one that OpenSSH speaks, has few codes
(draft-ietf-secsh-filexfer-02, section 7). OpenSSH answers FAILURE for a full disk, an exceeded
quota, a read-only filesystem, an input or output error and an existing file alike, BAD_MESSAGE for
a name that the filesystem can't hold, and NO_SUCH_FILE also for a file in place of a folder
(``errno_to_portable`` in its sftp-server.c). Codes of later versions are in the tables for servers
that send them all the same.
"""

from __future__ import annotations

import asyncio
import errno
import socket

import asyncssh

from jobtool.errors import (
    CredentialsError,
    ExhaustedError,
    FileError,
    JobtoolError,
    NotFoundError,
    RefusedError,
    ServerError,
    SourceError,
    StoreError,
    StoreSettingsError,
    StoreUnavailableError,
    UnreachableError,
    reason_of,
)
from jobtool.names import in_one_line, quote
from jobtool.stores.sftp.place import Place
from jobtool.stores.verdict import Verdict

#: What the client raises when a connection is gone.
LOST = (
    asyncssh.SFTPConnectionLost,
    asyncssh.SFTPNoConnection,
    asyncssh.DisconnectError,
    asyncssh.ChannelOpenError,
    ConnectionError,
    EOFError,
)


#: What the client raises when a server ends a connection before the login is done.
_NO_ANSWER = (ConnectionError, asyncssh.DisconnectError, asyncssh.SFTPError, EOFError)


class NoCommandsError(Exception):
    """The server runs no commands, or sees other files in them than by SFTP."""


def _verdict(code: str, error: type[JobtoolError], meaning: str) -> Verdict:
    return Verdict(code=code, error=error, meaning=meaning)


_BOTH = (
    _verdict("PERMISSION_DENIED", RefusedError, "permission denied: check its owner and mode"),
    _verdict("OP_UNSUPPORTED", FileError, "the server doesn't support this operation"),
    _verdict("NO_MEDIA", StoreUnavailableError, "there is no medium: is its filesystem mounted?"),
    _verdict("LINK_LOOP", FileError, "a link loops"),
)

#: The meanings of codes when a file or folder is read.
READING = (
    *_BOTH,
    _verdict("NO_SUCH_FILE", NotFoundError, "it doesn't exist"),
    _verdict("NO_SUCH_PATH", NotFoundError, "it doesn't exist"),
    _verdict("NOT_A_DIRECTORY", NotFoundError, "it doesn't exist"),
    _verdict("FAILURE", ServerError, "the server doesn't say why"),
    _verdict("BAD_MESSAGE", SourceError, "the server's filesystem has no such name"),
    _verdict("INVALID_FILENAME", SourceError, "the server's filesystem has no such name"),
    _verdict("FILE_CORRUPT", SourceError, "its filesystem is damaged"),
    _verdict("FILE_IS_A_DIRECTORY", SourceError, "it is a folder"),
)

#: The meanings of codes when a file, folder or link is written.
WRITING = (
    *_BOTH,
    _verdict("NO_SUCH_FILE", StoreError, "its folder was removed meanwhile"),
    _verdict("NO_SUCH_PATH", StoreError, "its folder was removed meanwhile"),
    _verdict(
        "FAILURE",
        ServerError,
        "SFTP doesn't say why: a full disk, a quota, a read-only filesystem or a broken one",
    ),
    _verdict("BAD_MESSAGE", FileError, "the server's filesystem can't hold such a name or value"),
    _verdict("INVALID_FILENAME", FileError, "the server's filesystem can't hold such a name"),
    _verdict("INVALID_PARAMETER", FileError, "the server's filesystem can't hold such a value"),
    _verdict("NO_SPACE_ON_FILESYSTEM", StoreUnavailableError, "its disk is full: free space on it"),
    _verdict("QUOTA_EXCEEDED", StoreUnavailableError, "the quota is used up: free space in it"),
    _verdict("WRITE_PROTECT", StoreUnavailableError, "its filesystem is read-only"),
    _verdict("FILE_ALREADY_EXISTS", FileError, "something else is there"),
    _verdict("FILE_IS_A_DIRECTORY", FileError, "there is a folder where a file is needed"),
    _verdict("NOT_A_DIRECTORY", FileError, "there is a file where a folder is needed"),
)

_READING, _WRITING = (
    {getattr(asyncssh, f"FX_{verdict.code}"): verdict for verdict in table}
    for table in (READING, WRITING)
)


def read_error(error: asyncssh.SFTPError, url: str) -> JobtoolError:
    """Return jobtool's error for a status while ``url`` was read. An unknown one may pass."""
    verdict = _READING.get(error.code)
    if verdict is not None and verdict.error is NotFoundError:
        return NotFoundError(f"expected something at {quote(url)}; found nothing")
    return _translated(verdict, error, f"can't read {quote(url)}")


def write_error(error: asyncssh.SFTPError, url: str) -> JobtoolError:
    """Return jobtool's error for a status while ``url`` was written. An unknown one may pass."""
    return _translated(_WRITING.get(error.code), error, f"can't write {quote(url)}")


def _translated(verdict: Verdict | None, error: asyncssh.SFTPError, what: str) -> JobtoolError:
    says = in_one_line(error.reason, most=200)
    if verdict is None:
        return StoreError(f"{what}: the server answers {says or error.code}")
    return verdict.error(f"{what}: {verdict.meaning} (the server answers {says or verdict.code})")


def lost(error: BaseException, place: Place) -> StoreError:
    """Return the error for a connection that ended during a request."""
    return StoreError(f"the connection to {place.shown} ended: {_brief(error)}")


def not_a_file(url: str, what: str) -> SourceError:
    """Return the error for a path that isn't a regular file."""
    return SourceError(f"expected a regular file at {quote(url)}; found {what}")


def connect_error(error: Exception, place: Place) -> JobtoolError:
    """Return jobtool's error for a failure to connect to a server or to log in."""
    host, brief = place.shown, _brief(error)
    if isinstance(error, JobtoolError):
        return error
    if isinstance(error, asyncssh.PermissionDenied):
        return CredentialsError(
            f"{host} accepts none of the keys that this process has ({brief}). Name the user in "
            "the URL or by [sftp] user, the key by [sftp] identity_file or IdentityFile of an "
            "ssh_config, or load it into an agent. Look at it with: ssh -v -o BatchMode=yes "
            f"{_ssh_target(place)}"
        )
    if isinstance(error, asyncssh.KeyEncryptionError):
        return CredentialsError(f"{host}: a private key has a passphrase: load it into an agent")
    if isinstance(error, asyncssh.KeyExchangeFailed):
        return StoreUnavailableError(f"{host}: no algorithm in common with the server: {brief}")
    if isinstance(error, asyncssh.ChannelOpenError):
        return StoreUnavailableError(
            f"{host}: the server offers no SFTP to this user, or no more sessions ({brief})"
        )
    if isinstance(error, asyncssh.ProtocolNotSupported | asyncssh.ProtocolError):
        return StoreUnavailableError(f"{host}: no SSH server answers there: is the port right?")
    if isinstance(error, socket.gaierror):
        kind = UnreachableError if error.errno == socket.EAI_AGAIN else StoreUnavailableError
        return kind(f"{host}: no such host is known ({brief}). Correct the URL or the ssh_config.")
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return UnreachableError(f"can't reach {host}: no SSH server answers in time")
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
        return ExhaustedError(f"can't connect to {host}: {brief}")
    if isinstance(
        error, ConnectionError | asyncssh.DisconnectError | asyncssh.SFTPError | EOFError
    ):
        return UnreachableError(f"can't reach {host}: {brief}. Is its sshd up, and the port right?")
    if isinstance(error, OSError) and error.filename is None:
        return UnreachableError(f"can't reach {host}: {brief}. Is its sshd up, and the port right?")
    # What is left are files and values: an ssh_config, a key, a name of an algorithm.
    named = f" {quote(str(error.filename))}" if isinstance(error, OSError) else ""
    return StoreSettingsError(f"{host}: a setting of SSH can't be used:{named} {brief}")


def unknown_host(place: Place, *, key: str, found: str, files: str, changed: bool) -> JobtoolError:
    """Return the error for a host whose key isn't in a known_hosts file.

    ``key`` is the key's type, ``found`` its fingerprint, ``files`` the files that were searched.
    """
    what = (
        f"another key is known for it: either the host was set up anew, or this isn't {place.host}"
        if changed
        else "no key is known for it"
    )
    port = f"-p {place.port} " if place.port is not None else ""
    return StoreUnavailableError(
        f"{place.shown}: the host shows the key {key} {found}, and in {files} {what}. Ask its "
        "administrator for the fingerprint. Look at it with: ssh-keyscan "
        f"{port}{place.host} | ssh-keygen -lf -. If it is right, add it with: ssh "
        f"{_ssh_target(place)}"
    )


def _ssh_target(place: Place) -> str:
    port = f"-p {place.port} " if place.port is not None else ""
    return f"{port}{place.user}@{place.host}" if place.user else f"{port}{place.host}"


def _brief(error: BaseException) -> str:
    text = error.reason if isinstance(error, asyncssh.Error) else ""
    return in_one_line(text or (reason_of(error) if isinstance(error, Exception) else ""), most=300)
