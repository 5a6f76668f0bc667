"""The ``[metrics]`` table of joblist.toml: where workers send what they have done."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

from jobtool.errors import JoblistError
from jobtool.names import quote
from jobtool.redact import sounds_secret

#: The variable that holds the token for ``influx``: a joblist must not hold it.
TOKEN_VARIABLE = "JOBTOOL_INFLUX_TOKEN"  # noqa: S105 - a variable's name

#: How often metrics are written and sent.
DEFAULT_INTERVAL_SECONDS = 10.0

#: Parts of a query that are logins of InfluxDB 1, which takes ``USER:PASSWORD`` as a token, too.
_LOGINS = ("u", "p")


class MetricsSettings(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """The ``[metrics]`` table; None means that nothing is sent there.

    ``textfile`` is the absolute path of the folder that node_exporter's textfile collector reads.
    ``influx`` is the URL to which lines of InfluxDB's line protocol are posted, with all of its
    query but a token. ``statsd`` is ``HOST:PORT``, by UDP. Workers write and send every
    ``interval_seconds``. With ``per_job`` the job's name is a label, a tag and a part of names.
    """

    textfile: str | None = None
    influx: str | None = None
    statsd: str | None = None
    interval_seconds: Annotated[float, msgspec.Meta(ge=1, le=3600)] = DEFAULT_INTERVAL_SECONDS
    per_job: bool = False

    def __post_init__(self) -> None:
        """Refuse a relative path, a URL without a place to write to, and an incomplete address."""
        if self.textfile is not None and not _is_path(self.textfile):
            raise ValueError(
                "textfile: expected the absolute path of a folder, since workers may start "
                f"anywhere; found {self.textfile!r}"
            )
        if self.influx is not None:
            _require_write_url(self.influx)
        if self.statsd is not None:
            address_of(self.statsd)

    @property
    def is_sent(self) -> bool:
        """Whether metrics go anywhere."""
        return any(place is not None for place in (self.textfile, self.influx, self.statsd))


def address_of(statsd: str) -> tuple[str, int]:
    """Return the host and the port of ``HOST:PORT`` or ``[IPv6]:PORT``; raises ``ValueError``."""
    host, colon, port = statsd.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    is_host = bool(host) and not any(each.isspace() or each in "/@\0" for each in host)
    is_port = port.isascii() and port.isdigit() and len(port) < 6 and 0 < int(port) < 65536
    if not colon or not is_host or not is_port:
        raise ValueError(f"statsd: expected HOST:PORT, such as localhost:8125; found {statsd!r}")
    return host, int(port)


def refuse_login(table: Mapping[str, Any], *, path: str) -> None:
    """Raise ``JoblistError`` if a ``[metrics]`` table of the file ``path`` holds a login."""
    for key, value in table.items():
        if sounds_secret(key) or has_login(str(value)):
            raise JoblistError(
                f"{quote(path)}, table [metrics]: {key!r} looks like it holds a login, which a "
                f"joblist must not. Set {TOKEN_VARIABLE} in the environment of workers, for "
                "InfluxDB 1 to USER:PASSWORD."
            )


def has_login(url: str) -> bool:
    """Return True if a URL holds a user, or has a login in its query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    names = [name.lower() for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
    has_user = parts.scheme != "" and "@" in parts.netloc
    return has_user or any(name in _LOGINS or sounds_secret(name) for name in names)


def _is_path(text: str) -> bool:
    return os.path.isabs(text) and "\0" not in text


def _require_write_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        is_complete = parts.scheme in ("http", "https") and bool(parts.hostname)
        is_complete = is_complete and parts.port != 0 and url.isascii() and url.isprintable()
    except ValueError:
        is_complete = False
    if not is_complete or parts.path in ("", "/") or " " in url or parts.fragment:
        raise ValueError(
            "influx: expected the URL to which lines are posted, such as "
            f"http://HOST:8086/api/v2/write?org=ORG&bucket=BUCKET; found {url!r}"
        )
    precision = dict(parse_qsl(parts.query)).get("precision", "ns")
    if precision not in ("ns", "n", "nanosecond"):
        raise ValueError(
            f"influx: expected no precision in the URL, since jobtool sends nanoseconds; found "
            f"{precision!r}"
        )
