"""Notices by a webhook: JSON that is posted to a URL, in the form that the service reads.

Sources: Slack, "Sending messages using incoming webhooks" and "Formatting text for app surfaces";
Microsoft Teams, "Create incoming webhooks with Workflows", whose body is an Adaptive Card. A card's
``RichTextBlock`` shows text as it is, whereas a ``TextBlock`` would read names as Markdown.
"""

from __future__ import annotations

import http.client
import json
import socket
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from jobtool.errors import reason_of
from jobtool.jobs.notifysettings import WebhookFormat, WebhookSettings, require_webhook_url
from jobtool.names import in_one_line
from jobtool.notify.channel import NoticeError
from jobtool.notify.notice import Notice
from jobtool.notify.secret import secret_of
from jobtool.redact import redact

_SECONDS = 20.0

#: Answers after which another try may help.
_MAY_PASS = frozenset({408, 425, 429})


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments: Any) -> None:
        """Follow none: a POST would become a GET, and the notice would be lost."""


class WebhookChannel:
    """Posts a notice as JSON. Variables for proxies, such as ``https_proxy``, are used."""

    name = "webhook"

    def __init__(self, settings: WebhookSettings) -> None:
        self._settings = settings
        place = settings.url_env or settings.url_file or redact(settings.url or "")
        self.shown = f"{settings.format}, {place}"

    def send(self, notice: Notice) -> None:
        """Post it. Raises ``NoticeError``, never with the URL."""
        settings, url = self._settings, self._url()
        request = urllib.request.Request(  # noqa: S310 - http or https
            url,
            data=json.dumps(body_of(notice, settings.format)).encode(),
            headers={"Content-Type": "application/json", "User-Agent": "jobtool"},
            method="POST",
        )
        try:
            with urllib.request.build_opener(_NoRedirect).open(request, timeout=_SECONDS) as answer:
                answer.read(1000)
        except urllib.error.HTTPError as error:
            with error:
                text = _beginning(error)
            may_pass = error.code >= 500 or error.code in _MAY_PASS
            raise NoticeError(f"it answered {error.code}{text}", may_pass=may_pass) from None
        except urllib.error.URLError as error:
            reason = error.reason
            told = reason_of(reason) if isinstance(reason, OSError) else str(reason)
            raise NoticeError(f"can't reach it: {redact(told)}") from None
        except (OSError, http.client.HTTPException) as error:
            told = reason_of(error) if isinstance(error, OSError) else type(error).__name__
            raise NoticeError(f"can't reach it: {redact(told)}") from None

    def check(self) -> str:
        """Read the URL and connect to its host. Nothing is posted."""
        parts = urlsplit(self._url())
        host = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        if urllib.request.getproxies().get(parts.scheme) and not urllib.request.proxy_bypass(host):
            return "the URL can be read; a proxy leads there; nothing was posted"
        try:
            socket.create_connection((host, port), timeout=_SECONDS).close()
        except OSError as error:
            raise NoticeError(f"can't reach its host: {reason_of(error)}") from None
        return "its host answers; nothing was posted"

    def _url(self) -> str:
        settings = self._settings
        if settings.url is not None:
            return settings.url
        url = secret_of(settings.url_env, settings.url_file)
        try:
            require_webhook_url(url, whose=settings.url_env or settings.url_file or "")
        except ValueError as error:
            raise NoticeError(str(error), may_pass=False) from None
        _learn(url)
        return url


def body_of(notice: Notice, form: WebhookFormat) -> dict[str, Any]:
    """Return what is posted."""
    if form == "slack":
        return {"text": f"*{_for_slack(notice.title)}*\n{_for_slack(notice.body)}"}
    if form == "teams":
        lines = notice.body.split("\n")
        return {
            "type": "message",
            "attachments": [
                {
                    "contentType": "application/vnd.microsoft.card.adaptive",
                    "contentUrl": None,
                    "content": {
                        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                        "type": "AdaptiveCard",
                        "version": "1.4",
                        "body": [
                            _for_teams(notice.title, weight="bolder", size="medium"),
                            *(_for_teams(line) for line in lines if line.strip()),
                        ],
                    },
                }
            ],
        }
    return notice.json()


def _for_slack(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _for_teams(line: str, **style: str) -> dict[str, Any]:
    run = {"type": "TextRun", "text": line, **style}
    return {"type": "RichTextBlock", "inlines": [run], "spacing": "small"}


def _learn(url: str) -> None:
    """Have the parts of a secret URL replaced in all text, too."""
    parts = urlsplit(url)
    values = [value for _, value in parse_qsl(parts.query)]
    redact.learn(parts.path.rpartition("/")[2], parts.path.strip("/"), parts.query, *values)


def _beginning(error: urllib.error.HTTPError) -> str:
    try:
        text = in_one_line(error.read(1000).decode("utf-8", "replace"), most=200)
    except (OSError, http.client.HTTPException):
        return ""
    return f": {redact(text)}" if text else ""
