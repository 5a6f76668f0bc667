"""The URL of the database that ``impala-transfer`` asks."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlencode

from jobtool.errors import UsageError
from jobtool.queries.url import ConnectionUrl

IMPALA_PORT = 21050


def connection_url(
    url: str | None,
    *,
    host: str | None,
    port: int | None,
    database: str | None,
    user: str | None,
    options: Mapping[str, str | bool | None],
    is_url_preferred: bool,
) -> str:
    """Return the URL of the database: ``url``, or one for Impala of its parts.

    ``options`` are those behind ``?`` of the URL; None isn't set. With ``is_url_preferred`` the
    parts come from the environment alone and give way to ``url``. Raises ``UsageError``.
    """
    if url is not None and (host is None or is_url_preferred):
        ConnectionUrl.parse(url)
        return url
    if host is None:
        raise UsageError(
            "expected the database: --source-host (or the variable SOURCE_HOST), or --connection "
            "(SOURCE_CONNECTION); found neither"
        )
    if url is not None:
        raise UsageError(
            "expected either --source-host (SOURCE_HOST) or --connection (SOURCE_CONNECTION); "
            "found both"
        )
    name = host.removeprefix("[").removesuffix("]")
    address = f"[{quote(name, safe=':')}]" if ":" in name else quote(name, safe="")
    login = "" if user is None else f"{quote(user, safe='')}@"
    place = f"{login}{address}:{IMPALA_PORT if port is None else port}"
    path = quote(database or "", safe="")
    asked = urlencode({key: _text(each) for key, each in options.items() if each is not None})
    made = f"impala://{place}/{path}{'?' if asked else ''}{asked}"
    found = ConnectionUrl.parse(made)
    if found.host != name:
        raise UsageError(f"--source-host: expected a host's name or address; found {host!r}")
    return made


def _text(value: str | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else value
