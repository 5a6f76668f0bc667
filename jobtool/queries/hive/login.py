"""How to connect to Impala or Hive: the options of the URL, as impyla has them."""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from jobtool.errors import UsageError
from jobtool.queries.url import ConnectionUrl
from jobtool.suggest import did_you_mean

#: Ways to log in. LDAP is PLAIN with a password that is needed. JWT's token is the password.
MECHANISMS = ("NOSASL", "PLAIN", "LDAP", "GSSAPI", "JWT")

#: The units of timestamps, by how many digits of a second they hold.
TIMESTAMP_UNITS = ("us", "ns", "ms", "s")

_TEXTS = ("ca_cert", "http_cookie_names", "http_path", "kerberos_service_name", "krb_host")
_SWITCHES = ("use_http_transport", "use_ssl", "verify_cert")
_SETTING = "set."
OPTIONS = frozenset(
    {*_TEXTS, *_SWITCHES, "auth_mechanism", "timeout", "timestamp_unit", f"{_SETTING}*"}
)

_TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_SETTING_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]*")

#: Settings that say for whom queries run: servers read them only while a session is opened.
_OF_SESSION = re.compile(r"(doas|proxy)\.user$", re.IGNORECASE)


class Defaults(msgspec.Struct, frozen=True, kw_only=True):
    """What holds where a URL says nothing: Impala's or Hive's own defaults."""

    port: int
    http_port: int
    http_path: str
    mechanism: str
    service: str


IMPALA = Defaults(port=21050, http_port=28000, http_path="", mechanism="NOSASL", service="impala")
HIVE = Defaults(
    port=10000, http_port=10001, http_path="cliservice", mechanism="PLAIN", service="hive"
)


class Login:
    """What a URL says of a connection. Not a struct: its ``repr`` must not show the password.

    ``arguments`` are those of ``impala.dbapi.connect``. ``opening`` are settings that a session is
    opened with, ``settings`` those that are set in it afterwards.
    """

    def __init__(self, url: ConnectionUrl, password: str | None) -> None:
        defaults = defaults_of(url)
        self.mechanism = mechanism_of(url)
        self.database = url.database
        self.user = url.user
        self.timestamp_unit = url.options.get("timestamp_unit", TIMESTAMP_UNITS[0])
        if self.timestamp_unit not in TIMESTAMP_UNITS:
            raise UsageError(
                f"connection, timestamp_unit: expected one of {', '.join(TIMESTAMP_UNITS)}; found "
                f"{self.timestamp_unit!r}"
            )
        settings = dict(_settings(url.options))
        self.opening = {name: text for name, text in settings.items() if _OF_SESSION.search(name)}
        self.settings = {name: text for name, text in settings.items() if name not in self.opening}
        switches = {name: _switch(url.options, name) for name in _SWITCHES}
        by_http = switches["use_http_transport"] is True
        if url.host is None:
            raise UsageError(f"connection: expected {url.scheme}://HOST[:PORT]/…; found no host")
        self.arguments: dict[str, Any] = {
            "host": url.host,
            "port": url.port or (defaults.http_port if by_http else defaults.port),
            "auth_mechanism": self.mechanism,
            "kerberos_service_name": defaults.service,
            "http_path": defaults.http_path,
            "timeout": _timeout(url.options.get("timeout")),
            # impyla accepts any certificate unless it is told otherwise.
            "verify_cert": switches["verify_cert"] is not False,
            "use_ssl": switches["use_ssl"] is True,
            "use_http_transport": by_http,
            **{name: url.options[name] for name in _TEXTS if name in url.options},
        }
        self._check(by_http)
        if self.mechanism == "JWT":
            self.arguments["jwt"] = password
        elif self.mechanism in ("PLAIN", "LDAP"):
            self.arguments |= {"user": url.user, "password": password}

    @property
    def server(self) -> str:
        """The server, for messages."""
        return f"{self.arguments['host']}:{self.arguments['port']}"

    def _check(self, by_http: bool) -> None:
        if self.mechanism == "JWT" and not by_http:
            raise UsageError("connection: auth_mechanism=JWT needs use_http_transport=true")
        if self.mechanism == "JWT" and self.user is not None:
            raise UsageError(
                "connection: auth_mechanism=JWT takes no user; the token names it. Leave it out."
            )
        if self.mechanism == "GSSAPI" and importlib.util.find_spec("kerberos") is None:
            raise UsageError(
                "connection: auth_mechanism=GSSAPI needs the package kerberos: "
                "pip install 'impyla[kerberos]'"
            )


def defaults_of(url: ConnectionUrl) -> Defaults:
    """Return the defaults of a URL's scheme."""
    return IMPALA if url.scheme == "impala" else HIVE


def mechanism_of(url: ConnectionUrl) -> str:
    """Return how a URL logs in; raises ``UsageError``."""
    asked = url.options.get("auth_mechanism")
    if asked is None:
        return defaults_of(url).mechanism
    if asked.upper() not in MECHANISMS:
        raise UsageError(
            f"connection, auth_mechanism: expected one of {', '.join(MECHANISMS)}; found "
            f"{asked!r}.{did_you_mean(asked.upper(), MECHANISMS)}"
        )
    return asked.upper()


def needs_password(url: ConnectionUrl) -> bool:
    """Return whether a login needs a password: servers without authentication take PLAIN too."""
    return mechanism_of(url) in ("LDAP", "JWT")


def _settings(options: Mapping[str, str]) -> list[tuple[str, str]]:
    found = []
    for option, text in options.items():
        if not option.startswith(_SETTING):
            continue
        name = option.removeprefix(_SETTING)
        if not _SETTING_NAME.fullmatch(name):
            raise UsageError(f"connection: expected set.NAME=VALUE; found {option!r}")
        if not text.isprintable() or ";" in text:
            raise UsageError(
                f"connection, {option}: expected a value on one line without semicolons; found "
                f"{text!r}"
            )
        found.append((name, text))
    return found


def _switch(options: Mapping[str, str], name: str) -> bool | None:
    text = options.get(name)
    if text is None:
        return None
    if text.lower() not in _TRUTH:
        raise UsageError(f"connection, {name}: expected true or false; found {text!r}")
    return _TRUTH[text.lower()]


def _timeout(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise UsageError(
            f"connection, timeout: expected a number of seconds above 0; found {text!r}"
        )
    return seconds
