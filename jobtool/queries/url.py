"""The URL of a database, as SQLAlchemy writes it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, unquote

import msgspec

from jobtool.errors import UsageError
from jobtool.redact import sounds_secret

_SCHEME = re.compile(r"[a-z][a-z0-9_]*(\+[a-z0-9_]+)?\Z")

#: Options that are secrets, besides those that sound so in any setting.
_SECRET = re.compile("(pwd|_key)$|authorization", re.IGNORECASE)


class ConnectionUrl(msgspec.Struct, frozen=True, kw_only=True):
    """``SCHEME[+DRIVER]://[USER@]HOST[:PORT]/DATABASE[?OPTION=VALUE&…]``, without a password.

    ``text`` is the whole URL. ``database`` has no slash in front; for DuckDB and SQLite it is a
    path, absolute if the URL has four slashes, and empty for a database in memory.
    """

    text: str
    scheme: str
    driver: str | None = None
    user: str | None = None
    host: str | None = None
    port: int | None = None
    database: str = ""
    options: Mapping[str, str] = msgspec.field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> ConnectionUrl:
        """Read a URL. Raises ``UsageError``, which doesn't show a password."""
        scheme, separator, rest = text.partition("://")
        if not separator or not _SCHEME.match(scheme):
            begin = re.split("[:@/]", scheme)[0]  # a password may follow
            raise UsageError(
                "expected a connection such as duckdb://, postgresql://USER@HOST/DATABASE or "
                f"impala://HOST:21050/DATABASE; found {begin[:40]!r}"
                f"{' without ://' if not separator else ''}"
            )
        rest, _, asked = rest.partition("?")
        place, slash, database = rest.partition("/")
        login, at, address = place.rpartition("@")
        user, colon, _ = login.partition(":")
        if colon:
            raise UsageError(
                "the connection has a password, which others could read in the list of processes. "
                "Leave it out, and set JOBTOOL_QUERY_PASSWORD in the environment of export and of "
                "workers."
            )
        host, port = _address(address)
        options: dict[str, str] = {}
        for key, value in parse_qsl(asked, keep_blank_values=True):
            if _SECRET.search(key) or sounds_secret(key):
                raise UsageError(
                    f"connection: the option {key!r} is a secret, which others could read in the "
                    "list of processes and in joblist.toml. Leave it out, and set "
                    "JOBTOOL_QUERY_PASSWORD in the environment of export and of workers."
                )
            if key in options:
                raise UsageError(f"connection: expected the option {key!r} once; found it twice")
            options[key] = value
        name, _, driver = scheme.partition("+")
        return cls(
            text=text,
            scheme=name,
            driver=driver or None,
            user=unquote(user) if at and user else None,
            host=host,
            port=port,
            database=unquote(database) if slash else "",
            options=options,
        )


def _address(address: str) -> tuple[str | None, int | None]:
    if address.startswith("["):  # IPv6
        host, _, port = address[1:].partition("]")
        port = port.removeprefix(":")
    else:
        host, _, port = address.partition(":")
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise UsageError(f"connection: expected a port from 1 to 65535; found {port[:40]!r}")
    return unquote(host) or None, int(port) if port else None
