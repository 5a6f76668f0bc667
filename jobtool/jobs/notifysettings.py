"""The ``[notify]`` table of joblist.toml: who is told what becomes of a joblist, and how.

Secrets, which are passwords and most URLs of webhooks, are never in the table: it names variables
of the environment and files that hold them.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec

from jobtool.jobs.metricssettings import has_login

Occasion = Literal["finish", "first-error", "stall", "daily"]
WebhookFormat = Literal["json", "slack", "teams"]
Security = Literal["starttls", "tls", "none"]

DEFAULT_ON: tuple[Occasion, ...] = ("finish", "first-error", "stall")
DEFAULT_STALL_MINUTES = 30.0

#: The ports of mail servers by how the connection is secured. Sources: RFC 8314, RFC 5321.
_PORTS = {"starttls": 587, "tls": 465, "none": 25}

#: The keys that name where a secret is, by which one it is.
SECRET_PLACES = {
    "password": ("password_env", "password_file"),
    "url": ("url_env", "url_file"),
}

_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")

#: An address or the name of a user. Nothing in it can end a header's line or be taken for an
#: option of sendmail.
_ADDRESS = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+=%-]*(@[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?)?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")

#: Hosts whose webhooks need no other login than their URL.
_SECRET_HOSTS = (
    "hooks.slack.com",
    "webhook.office.com",
    "logic.azure.com",
    "api.powerplatform.com",
    "discord.com",
)


class _Table(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    pass


class MailSettings(_Table, frozen=True, kw_only=True, rename={"sender": "from"}):
    """The ``[notify.mail]`` table: mail by the system's ``sendmail``, or by the server ``smtp``.

    ``to`` are addresses, ``sender`` (``from`` in the table) is this user's on this host by default.
    ``smtp`` is ``HOST`` or ``HOST:PORT``. The password of ``user`` is in the variable
    ``password_env`` or the file ``password_file``.
    """

    to: tuple[str, ...]
    sender: str | None = None
    smtp: str | None = None
    security: Security = "starttls"
    user: str | None = None
    password_env: str | None = None
    password_file: str | None = None

    def __post_init__(self) -> None:
        """Refuse what isn't an address, and a login that is incomplete or would be readable."""
        if not self.to:
            raise ValueError("to: expected at least one address; found none")
        for key, address in [*(("to", each) for each in self.to), ("from", self.sender)]:
            if address is not None and not _ADDRESS.fullmatch(address):
                raise ValueError(
                    f"{key}: expected an address, such as me@example.org; found {address!r}"
                )
        if self.smtp is not None:
            _ = self.server
        _require_one_secret(
            "password", self.password_env, self.password_file, is_needed=self.user is not None
        )
        if self.user is not None and self.smtp is None:
            raise ValueError("user: expected smtp, the server to log in at, with it; found none")
        is_here = self.smtp is not None and self.server[0] in _THIS_MACHINE
        if self.user is not None and self.security == "none" and not is_here:
            raise ValueError(
                "security: expected starttls or tls with a user, whose password would be sent "
                "without encryption; found 'none'"
            )

    @property
    def server(self) -> tuple[str, int]:
        """The host and the port of ``smtp``."""
        text = self.smtp or ""
        host, colon, port = text.rpartition(":")
        if not colon or text.endswith("]"):
            host, port = text, str(_PORTS[self.security])
        host = host.removeprefix("[").removesuffix("]")
        is_host = re.fullmatch(r"[A-Za-z0-9_.:-]+", host) is not None
        is_port = port.isascii() and port.isdigit() and len(port) < 6 and 0 < int(port) < 65536
        if not is_host or not is_port:
            raise ValueError(
                f"smtp: expected HOST or HOST:PORT, such as mail.example.org:587; found {text!r}"
            )
        return host, int(port)


class WebhookSettings(_Table, frozen=True, kw_only=True):
    """The ``[notify.webhook]`` table: a URL to which each notice is posted as JSON.

    The URL is in the variable ``url_env`` or the file ``url_file``. ``url`` is for one that is no
    secret.
    """

    url: str | None = None
    url_env: str | None = None
    url_file: str | None = None
    format: WebhookFormat = "json"

    def __post_init__(self) -> None:
        """Refuse several URLs or none, and a URL that is a secret."""
        given = [each for each in (self.url, self.url_env, self.url_file) if each is not None]
        if len(given) != 1:
            found = "none" if not given else "several"
            raise ValueError(f"expected one of url, url_env and url_file; found {found}")
        _require_one_secret("url", self.url_env, self.url_file, is_needed=self.url is None)
        if self.url is not None:
            require_webhook_url(self.url, whose="url")


class NotifySettings(_Table, frozen=True, kw_only=True):
    """The ``[notify]`` table: on which occasions who is told, and how.

    ``command`` is a program with its arguments, which gets a notice as JSON on its standard input.
    A joblist stands still if no byte has moved for ``stall_minutes`` while jobs are ongoing.
    ``daily_at`` is a time of day, of the clock where workers run.
    """

    on: tuple[Occasion, ...] = DEFAULT_ON
    stall_minutes: Annotated[float, msgspec.Meta(ge=1, le=43_200)] = DEFAULT_STALL_MINUTES
    daily_at: str = "08:00"
    command: str | tuple[str, ...] | None = None
    mail: MailSettings | None = None
    webhook: WebhookSettings | None = None

    def __post_init__(self) -> None:
        """Refuse a time of day that isn't one, and a command without a program."""
        if not _CLOCK.fullmatch(self.daily_at):
            raise ValueError(
                f"daily_at: expected a time of day as HH:MM, such as 08:00; found {self.daily_at!r}"
            )
        if self.command is not None:
            _ = self.command_words

    @property
    def is_told(self) -> bool:
        """Whether anybody is told anything."""
        return any(way is not None for way in (self.command, self.mail, self.webhook))

    @property
    def command_words(self) -> list[str]:
        """The words of ``command``; a text is split as a shell would."""
        if self.command is None:
            return []
        try:
            words = shlex.split(self.command) if isinstance(self.command, str) else [*self.command]
        except ValueError as error:
            raise ValueError(f"command: {error}") from None
        if not words or not words[0] or any("\0" in word for word in words):
            raise ValueError(
                f"command: expected a program and its arguments; found {self.command!r}"
            )
        return words

    @property
    def daily_minute(self) -> int:
        """The minute of the day that ``daily_at`` is."""
        hours, _, minutes = self.daily_at.partition(":")
        return int(hours) * 60 + int(minutes)


def require_webhook_url(url: str, *, whose: str) -> None:
    """Raise ``ValueError``, without the URL, unless it is one to which can be posted."""
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError(
            f"{whose}: expected a URL, such as https://HOST/PATH; found something else"
        )


def is_secret_url(url: str, table: Mapping[str, Any]) -> bool:
    """Return True if whoever knows this URL may post to it; ``table`` is ``[notify]``.

    That shows by its service, or by a login in it.
    """
    webhook = table.get("webhook")
    is_chat = isinstance(webhook, Mapping) and webhook.get("format", "json") != "json"
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    if parts.scheme not in ("http", "https"):
        return False
    is_known = any(host == each or host.endswith(f".{each}") for each in _SECRET_HOSTS)
    return is_chat or is_known or has_login(url) or "sig=" in url


def _require_one_secret(
    name: str, variable: str | None, file: str | None, *, is_needed: bool
) -> None:
    if variable is not None and file is not None:
        raise ValueError(f"{name}_env and {name}_file: expected one of them; found both")
    if is_needed and variable is None and file is None:
        raise ValueError(f"expected {name}_env or {name}_file; found neither")
    if variable is not None and not _VARIABLE.fullmatch(variable):
        raise ValueError(f"{name}_env: expected the name of a variable; found something else")
    if file is not None and not (os.path.isabs(file) and "\0" not in file):
        raise ValueError(
            f"{name}_file: expected an absolute path, since workers may start anywhere; "
            f"found {file!r}"
        )
