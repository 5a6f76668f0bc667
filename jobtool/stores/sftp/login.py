"""Connect to an SSH server as ``ssh`` would: ssh_config, keys, jump hosts, known hosts.

A host whose key isn't in a known_hosts file is always refused, whatever StrictHostKeyChecking or
UserKnownHostsFile say. So are jump hosts. Passwords are never asked for. Only one that was given in
Python is sent, and only to the server itself.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any

import asyncssh

from jobtool.errors import JobtoolError, StoreSettingsError
from jobtool.names import quote
from jobtool.stores.sftp.errors import connect_error, unknown_host
from jobtool.stores.sftp.place import Place, unfit_authority
from jobtool.stores.sftp.settings import SftpSettings

_CONNECT_SECONDS = 30
LOGIN_SECONDS = 60
_MOST_SILENCES = 3
_MOST_JUMPS = 8

_OWN_FILES = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2")
_SYSTEM_FILES = ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")

#: AES in hardware is faster than the client's own first choice.
_CIPHERS = "^aes128-gcm@openssh.com,aes256-gcm@openssh.com"


async def log_in(
    place: Place, settings: SftpSettings, *, password: str | None = None
) -> asyncssh.SSHClientConnection:
    """Return a connection to a server on which the user is logged in.

    Raises ``CredentialsError``, ``StoreSettingsError``, ``StoreUnavailableError``,
    ``UnreachableError`` and ``ExhaustedError``.
    """
    own = Place(place.host, place.user or settings.user, place.port or settings.port)
    return await _connect(
        own, settings, identity=settings.identity_file, jumps=0, password=password
    )


async def _connect(
    place: Place,
    settings: SftpSettings,
    *,
    identity: str | None,
    jumps: int,
    through: asyncssh.SSHClientConnection | None = None,
    password: str | None = None,
) -> asyncssh.SSHClientConnection:
    client = _Client()
    before = through
    try:
        wanted = _wanted(place, settings, identity)
        if password is not None:
            wanted |= {"password": password, "password_auth": True}
        resolved = asyncssh.SSHClientConnectionOptions(host=place.host, **wanted)
        if through is None:
            jump = settings.proxy_jump if not jumps and settings.proxy_jump else resolved.tunnel
            before = await _through(jump, settings, jumps)
        files = _known_hosts_files(resolved, settings)
        wanted["known_hosts"] = client.known = _lines_of(files)
        connection = await asyncssh.connect(
            place.host, tunnel=before, client_factory=lambda: client, **wanted
        )
    except asyncssh.HostKeyNotVerifiable as error:
        _close(before)
        seen = Place(
            client.host or place.host, place.user, client.port if client.port != 22 else None
        )
        if client.key is None:
            raise StoreSettingsError(f"{place.shown}: {error.reason}") from None
        raise unknown_host(
            seen,
            key=client.key.get_algorithm(),
            found=client.key.get_fingerprint(),
            files=", ".join(map(quote, files)),
            changed=client.is_known,
        ) from None
    except Exception as error:
        _close(before)
        raise connect_error(error, place) from None
    if before is not None:
        connection.set_tunnel(before)
    return connection


def _wanted(place: Place, settings: SftpSettings, identity: str | None) -> dict[str, Any]:
    """Return the client's options. What isn't named is taken from the ssh_config."""
    config = os.path.expanduser(settings.config or "~/.ssh/config")
    wanted: dict[str, Any] = {
        "config": [config] if settings.config or os.path.exists(config) else None,
        "known_hosts": b"\n",
        "password_auth": False,
        "kbdint_auth": False,
        "keepalive_interval": settings.keepalive_seconds,
        "keepalive_count_max": _MOST_SILENCES,
        "connect_timeout": _CONNECT_SECONDS,
        "login_timeout": LOGIN_SECONDS,
        "compression_algs": None,
    }
    if place.port is not None:
        wanted["port"] = place.port
    if place.user is not None:
        wanted["username"] = place.user
    if identity is not None:
        wanted["client_keys"] = [os.path.expanduser(identity)]
    plain = asyncssh.SSHClientConnectionOptions(host=place.host, **wanted)
    if not plain.config.get("Ciphers"):
        wanted["encryption_algs"] = _CIPHERS
    return wanted


async def _through(
    jump: object, settings: SftpSettings, jumps: int
) -> asyncssh.SSHClientConnection | None:
    """Connect to the hosts of a ProxyJump, each through the one before. Return the last."""
    if not isinstance(jump, str) or not jump or jump.lower() == "none":
        return None
    connection = None
    for number, text in enumerate(jump.split(","), start=jumps + 1):
        authority = text.strip().removeprefix("ssh://")
        reason = unfit_authority(authority)
        if reason is not None:
            raise StoreSettingsError(f"ProxyJump: expected [USER@]HOST[:PORT]; found {reason}")
        if number > _MOST_JUMPS:
            raise StoreSettingsError(f"ProxyJump: more than {_MOST_JUMPS} hosts: does it loop?")
        place = Place.parse(authority)
        try:
            connection = await _connect(
                place, settings, identity=None, jumps=number, through=connection
            )
        except JobtoolError as error:
            raise type(error)(f"jump host {place.shown}: {error}") from None
    return connection


def _known_hosts_files(
    options: asyncssh.SSHClientConnectionOptions, settings: SftpSettings
) -> list[str]:
    """Return the files to search for a host's key."""
    if settings.known_hosts is not None:
        return [os.path.expanduser(settings.known_hosts)]
    own = options.config.get("UserKnownHostsFile") or _OWN_FILES
    system = options.config.get("GlobalKnownHostsFile") or _SYSTEM_FILES
    assert isinstance(own, list | tuple)
    assert isinstance(system, list | tuple)
    return [os.path.expanduser(name) for name in (*own, *system)]


def _lines_of(files: list[str]) -> bytes:
    """Return the lines of the files that exist. Lines without a key are left out, as ssh does.

    Never empty: for no bytes at all the client would read a file of its own choice.
    """
    found = [b"\n"]
    for name in files:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), open(name, "rb") as file:
            found += [line.strip() + b"\n" for line in file if len(line.split()) >= 3]
    return b"".join(found).decode("utf-8", "replace").encode()


def _close(connection: asyncssh.SSHClientConnection | None) -> None:
    if connection is not None:
        connection.abort()


class _Client(asyncssh.SSHClient):
    """Remembers the key of a host that isn't known. ``known`` are the lines that were searched."""

    def __init__(self) -> None:
        self.known = b"\n"
        self.key: asyncssh.SSHKey | None = None
        self.host, self.port = "", 22
        self.is_known = False

    def validate_host_public_key(
        self, host: str, addr: str, port: int, key: asyncssh.SSHKey
    ) -> bool:
        """Refuse the key: it isn't known."""
        self.host, self.port, self.key = host, port, key
        known = asyncssh.match_known_hosts(self.known, host, addr, port if port != 22 else None)
        self.is_known = bool(known[0])
        return False

    def validate_host_ca_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """Refuse the key of an authority: it isn't known."""
        self.host, self.port, self.key = host, port, key
        return False
