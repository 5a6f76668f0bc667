"""Those who are told: a mail server, a web server, a command; and joblists that tell them."""

from __future__ import annotations

import email
import json
import os
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage, Message
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from tests.commands import unused_port
from tests.needs import need
from tests.prepare import prepare
from tests.trees import make_items

USER, PASSWORD = "me", "a-pass word-9"


class Mails:
    """A mail server that keeps what it accepts; ``refusal`` is its answer to mail if it is set."""

    def __init__(self) -> None:
        self.kept: list[EmailMessage] = []
        self.recipients: list[str] = []
        self.logins: list[str] = []
        self.was_encrypted: list[bool] = []
        self.refusal: str | None = None
        self.tries = 0
        self.address = ""

    async def handle_DATA(  # noqa: N802
        self, server: Any, session: Any, envelope: Any
    ) -> str:
        self.tries += 1
        if self.refusal is not None:
            return self.refusal
        message = email.message_from_bytes(envelope.content, policy=default)
        assert isinstance(message, EmailMessage)
        self.kept.append(message)
        self.recipients += envelope.rcpt_tos
        self.was_encrypted.append(session.ssl is not None)
        return "250 kept"

    def login(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> Any:
        assert isinstance(data, LoginPassword)
        found = data.login.decode(), data.password.decode()
        self.logins.append(found[0])
        return AuthResult(success=found == (USER, PASSWORD), handled=False)


@contextmanager
def mail_server(folder: Path | None = None, *, takes_login: bool = False) -> Iterator[Mails]:
    """A server on a free port; with ``folder`` it has STARTTLS by the certificate there."""
    mails = Mails()
    options: dict[str, Any] = {}
    if folder is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(folder / "server.pem", folder / "server.key")
        options |= {"tls_context": context, "require_starttls": True}
    if takes_login:
        options |= {"authenticator": mails.login, "auth_required": True}
        options |= {} if folder is not None else {"auth_require_tls": False}
    controller = Controller(mails, hostname="127.0.0.1", port=0, **options)
    controller.port = unused_port()
    controller.start()
    mails.address = f"127.0.0.1:{controller.port}"
    try:
        yield mails
    finally:
        controller.stop()


def certificate(folder: Path) -> Path:
    """A folder with a certificate for 127.0.0.1, ``server.pem``, that signs itself."""
    need("openssl", packages="openssl")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", folder / "server.key", "-out", folder / "server.pem"),
        ],
        check=True,
        capture_output=True,
    )
    return folder


class Posts:
    """A web server that keeps the JSON that is posted. ``answers`` are used up first, then 200."""

    def __init__(self) -> None:
        self.bodies: list[Any] = []
        self.paths: list[str] = []
        self.answers: list[int] = []
        self.url = ""


@contextmanager
def web_server() -> Iterator[Posts]:
    """A server on a free port of this machine."""
    posts = Posts()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            posts.paths.append(self.path)
            status = posts.answers.pop(0) if posts.answers else 200
            if status == 200:
                posts.bodies.append(json.loads(body))
            answer = f"no service at {self.path}".encode()
            self.send_response(status)
            self.send_header("Location", "http://127.0.0.1:1/")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def do_GET(self) -> None:
            posts.paths.append(self.path)  # a redirect was followed

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    posts.url = f"http://127.0.0.1:{server.server_port}/services/T00/B00/the-secret-of-it"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield posts
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def make_joblist(folder: Path, notify: str, jobs: int = 3) -> Path:
    """A joblist of small folders with a table ``[notify]``."""
    make_items(folder / "in", jobs)
    joblist = folder / "list"
    prepare(
        *("generate-joblist", "-i", folder / "in", "-o", joblist, "-d", folder / "out"),
        *("-l", "tree", "-v", 0),
    )
    with (joblist / "joblist.toml").open("a") as toml:
        toml.write(f"\n{notify}\n")
    return joblist


def recorder(folder: Path) -> Path:
    """A command that keeps each notice that it gets as a file of its own."""
    script = folder / "recorder"
    script.write_text(f'#!/bin/sh\nexec cat > "$(mktemp {folder}/told.XXXXXX)"\n')
    script.chmod(0o755)
    return script


def recorded(folder: Path) -> list[dict[str, Any]]:
    """What the recorder of this folder was told, the oldest first."""
    files = sorted(folder.glob("told.*"), key=lambda path: path.stat().st_mtime_ns)
    return [json.loads(path.read_text()) for path in files]


def occasions(folder: Path) -> list[str]:
    """The occasions of what the recorder was told, sorted."""
    return sorted(told["occasion"] for told in recorded(folder))


def text_of(message: Message | EmailMessage) -> str:
    """The text of a mail."""
    assert isinstance(message, EmailMessage)
    content: str = message.get_content()
    return content


def break_job(folder: Path, name: str = "item001") -> None:
    """Make a job of ``make_items`` fail for good: one of its files can't be read or is a loop."""
    (folder / "in" / name / "loop").symlink_to(os.path.join(folder, "nowhere"))
