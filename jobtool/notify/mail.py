"""Notices by mail: through the system's ``sendmail``, or by an SMTP server.

Sources: RFC 5321 (SMTP), RFC 3207 (STARTTLS), RFC 5322 (messages), RFC 3834 (``Auto-Submitted``).
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import smtplib
import socket
import ssl
from collections.abc import Iterator
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from jobtool.errors import reason_of
from jobtool.jobs.notifysettings import MailSettings
from jobtool.names import in_one_line, quote, visible
from jobtool.notify.channel import NoticeError
from jobtool.notify.notice import Notice
from jobtool.notify.programs import run
from jobtool.notify.secret import secret_of
from jobtool.redact import redact

_SECONDS = 20.0

#: Where ``sendmail`` is on systems that don't have it in the users' search path.
_ELSEWHERE = "/usr/sbin:/usr/lib:/sbin"


class MailChannel:
    """Sends a notice to all addresses by one mail."""

    name = "mail"

    def __init__(self, settings: MailSettings) -> None:
        self._settings = settings
        self.shown = ", ".join(settings.to)

    def send(self, notice: Notice) -> None:
        """Send it. Raises ``NoticeError``."""
        message = message_of(notice, self._settings)
        if self._settings.smtp is None:
            run(
                [sendmail_path(), "-i", "--", *self._settings.to],
                message.as_bytes(policy=message.policy.clone(linesep="\n")),
                timeout_seconds=_SECONDS,
            )
            return
        where = f"the mail server {self._settings.smtp}"
        with _in_words(where), connected(self._settings) as server:
            server.send_message(message)

    def check(self) -> str:
        """Find ``sendmail``; or connect to the server and log in there. Nothing is sent."""
        if self._settings.smtp is None:
            return f"{quote(sendmail_path())} is there; it wasn't run"
        with _in_words(f"the mail server {self._settings.smtp}"), connected(self._settings):
            login = "" if self._settings.user is None else " and takes the login"
        return f"the mail server answers{login}; no mail was sent"


@contextlib.contextmanager
def _in_words(where: str) -> Iterator[None]:
    """Raise the errors of a connection as ``NoticeError``."""
    try:
        yield
    except smtplib.SMTPRecipientsRefused as error:
        address, (code, text) = next(iter(error.recipients.items()))
        raise NoticeError(
            f"{where} refuses {address}: {code} {_readable(text)}", may_pass=code < 500
        ) from None
    except smtplib.SMTPResponseException as error:
        raise NoticeError(
            f"{where} answered {error.smtp_code} {_readable(error.smtp_error)}",
            may_pass=error.smtp_code < 500,
        ) from None
    except smtplib.SMTPException as error:
        raise NoticeError(f"{where}: {_readable(str(error))}") from None
    except ssl.SSLError as error:
        reason = getattr(error, "verify_message", None) or error.reason or str(error)
        raise NoticeError(f"{where}: no encrypted connection: {reason}", may_pass=False) from None
    except UnicodeError as error:  # a login that SMTP can't carry
        raise NoticeError(f"{where}: {type(error).__name__}", may_pass=False) from None
    except OSError as error:
        raise NoticeError(f"can't reach {where}: {reason_of(error)}") from None


@contextlib.contextmanager
def connected(settings: MailSettings) -> Iterator[smtplib.SMTP]:
    """Yield a connection to the server, secured and logged in as the settings say.

    Raises ``NoticeError``, ``OSError`` and ``smtplib.SMTPException``.
    """
    password = None
    if settings.user is not None:
        password = secret_of(settings.password_env, settings.password_file)
    host, port = settings.server
    context = ssl.create_default_context()
    if settings.security == "tls":
        server: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=_SECONDS, context=context)
    else:
        server = smtplib.SMTP(host, port, timeout=_SECONDS)
    with server:
        if settings.security == "starttls":
            server.starttls(context=context)
        if settings.user is not None and password is not None:
            server.login(settings.user, password)
        yield server


def sendmail_path() -> str:
    """Return the path of ``sendmail``; raise ``NoticeError`` if there is none."""
    found = shutil.which("sendmail", path=f"{os.environ.get('PATH', os.defpath)}:{_ELSEWHERE}")
    if found is None:
        raise NoticeError(
            "expected a program sendmail on this host; found none. Name a mail server: smtp in "
            "[notify.mail]",
            may_pass=False,
        )
    return found


def message_of(notice: Notice, settings: MailSettings) -> EmailMessage:
    """Return the mail of a notice. Sent again, it has the same ``Message-ID``."""
    message = EmailMessage(policy=SMTP)
    host = socket.gethostname()
    sender = settings.sender or f"{_user()}@{host}"
    message["Subject"] = visible(f"jobtool: {notice.title}")[:200]
    message["From"] = sender
    message["To"] = ", ".join(settings.to)
    message["Date"] = format_datetime(notice.moment)
    message["Message-ID"] = f"<{notice.key}.{notice.list_id}@jobtool.invalid>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(notice.body, cte="quoted-printable")
    return message


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return "jobtool"


def _readable(text: bytes | str) -> str:
    decoded = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return redact(quote(in_one_line(decoded, most=300)))
