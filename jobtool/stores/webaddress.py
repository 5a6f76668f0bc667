"""Web addresses ``SCHEME://HOST[:PORT]/PATH``: what people write, and what requests name.

People write a path percent-encoded, as browsers show it. jobtool's own URLs, in job files, receipts
and messages, have the plain names, as for every other store: ``%20`` is written as a space. So a
file keeps its name wherever it is copied to. A request is percent-encoded again. Both directions
are exact for every name, also of bytes that aren't UTF-8 (RFC 3986, 2.1).
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import quote as percent_encode
from urllib.parse import unquote as percent_decode

from jobtool.errors import UsageError
from jobtool.names import quote
from jobtool.stores.location import Location

_HOST = re.compile(
    r"(?:(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)|\[(?P<six>[0-9A-Fa-f:.]+)\])"
    r"(?::(?P<port>[0-9]{1,5}))?"
)

_HOST_SHOWN = "HOST or HOST:PORT"


def is_this_machine(host: str) -> bool:
    """Return True for a loopback address or ``localhost``: what is sent there stays here."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")  # RFC 6761, 6.3


def plain(url: str) -> str:
    """Return the URL with plain names for a percent-encoded one that a person wrote.

    Raises ``UsageError`` for a query, a fragment, an encoded slash and an encoded NUL.
    """
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    for mark, what, code in (("?", "a query", "%3F"), ("#", "a fragment", "%23")):
        if mark in host or mark in path:
            raise UsageError(
                f"{_shown(scheme, rest.partition(mark)[0])}: expected an address without {what}; "
                f"found {mark!r}. Name the file itself. In a file's name write {code}."
            )
    if re.search(r"%2f|%00", path, re.IGNORECASE):
        raise UsageError(
            f"{_shown(scheme, rest)}: expected names without an encoded slash or NUL (%2F, %00), "
            "which no filesystem can hold"
        )
    return f"{scheme}://{host}{slash}{percent_decode(path, errors='surrogateescape')}"


def encoded(path: str) -> str:
    """Return a path as a request names it."""
    return percent_encode(path.encode("utf-8", "surrogateescape"), safe="/")


def decoded(path: str) -> str:
    """Return the plain path for an encoded one that a server wrote."""
    return percent_decode(path, errors="surrogateescape")


def host_and_port(name: str) -> tuple[str, int | None]:
    """Return the host, without brackets, and the port of a location's ``name``."""
    match = _HOST.fullmatch(name)
    assert match is not None, "the location has been checked"
    return match["name"] or match["six"], int(match["port"]) if match["port"] else None


def check_address(location: Location, url: str) -> None:
    """Raise ``UsageError`` for a location without a valid host and port, or with a login."""
    name = location.name
    if "@" in name:
        raise UsageError(
            f"{_shown(location.scheme, url.partition('://')[2])}: expected no login in the "
            "address, since addresses are written to files; found one before '@'. Put it into "
            "~/.netrc."
        )
    match = _HOST.fullmatch(name)
    if match is None or not 0 < int(match["port"] or 1) < 65536:
        raise UsageError(
            f"{quote(url)}: expected {_HOST_SHOWN} after {location.scheme}://; found {quote(name)}"
        )


def _shown(scheme: str, rest: str) -> str:
    """Return an address for a message, without its login."""
    host, slash, path = rest.partition("/")
    return quote(f"{scheme}://{host.rpartition('@')[2]}{slash}{path}")
