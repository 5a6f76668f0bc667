"""Logins for hosts, from ``~/.netrc`` and the environment. They are never in a URL or a joblist.

``~/.netrc``, or the file that ``NETRC`` names, has lines ``machine HOST login NAME password WORD``
(GNU inetutils, "The .netrc file"). Its entry ``default`` isn't used, since it would send a password
to any host.
"""

from __future__ import annotations

import netrc
import os

import msgspec

from jobtool.errors import StoreSettingsError
from jobtool.names import in_one_line, quote
from jobtool.redact import redact

#: The variable with bearer tokens: ``HOST=TOKEN``, separated by spaces. A host may have a port.
BEARER_VARIABLE = "JOBTOOL_BEARER"


class Login(msgspec.Struct, frozen=True):
    """A user's name and password on one host."""

    name: str
    password: str


def login_for(host: str) -> Login | None:
    """Return the login of a host, or None. Raises ``StoreSettingsError`` for an unreadable file."""
    path = os.environ.get("NETRC") or os.path.expanduser("~/.netrc")
    try:
        hosts = netrc.netrc(path).hosts
    except FileNotFoundError:
        return None
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError) as error:
        # The parser's own message may repeat what it read.
        said = error.strerror if isinstance(error, OSError) else "it isn't in netrc's format"
        raise StoreSettingsError(f"{quote(path)}: can't read logins: {said}") from None
    found = hosts.get(host) if host != "default" else None
    if found is None:
        return None
    redact.learn(found[2])
    return Login(found[0], found[2] or "")


def bearer_for(host: str, port: int | None) -> str | None:
    """Return the bearer token for a host from ``JOBTOOL_BEARER``, or None.

    Raises ``StoreSettingsError`` for a variable of another form.
    """
    tokens = {}
    for word in os.environ.get(BEARER_VARIABLE, "").split():
        name, equals, token = word.partition("=")
        redact.learn(token, None if equals else word)
        if not (name and token):
            raise StoreSettingsError(
                f"{BEARER_VARIABLE}: expected words HOST=TOKEN; found another. The tokens aren't "
                "shown."
            )
        tokens[in_one_line(name).lower()] = token
    return tokens.get(f"{host}:{port}".lower()) or tokens.get(host.lower())
