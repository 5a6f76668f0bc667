"""A real web server on loopback: nginx, with one folder behind several ports of other habits."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import secrets
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.needs import need, search_path

LOGIN, PASSWORD, TOKEN = "reader", "password-of-tests", "token-of-tests"

MD5_OF_DATA = base64.b64encode(hashlib.md5(b"data", usedforsecurity=False).digest()).decode()

_START_SECONDS = 30
_LIFETIME_SECONDS = 5400

_CONFIG = """
daemon off; {user} worker_processes 1; pid {folder}/pid; error_log {folder}/errors.log;
events {{ worker_connections 512; }}
http {{
  client_body_temp_path {folder}/tmp; proxy_temp_path {folder}/tmp;
  fastcgi_temp_path {folder}/tmp; uwsgi_temp_path {folder}/tmp; scgi_temp_path {folder}/tmp;
  log_format brief '$server_port $request_method $request_uri $status "$http_range" '
                   '"$http_authorization" $connection $body_bytes_sent';
  access_log {folder}/access.log brief;
  root {folder}/files;
  server {{ listen 127.0.0.1:{json}; autoindex on; autoindex_format json;
    location /loop {{ return 302 /loop; }}
    location /moved/ {{ rewrite ^/moved/(.*)$ http://127.0.0.1:{html}/$1 redirect; }}
    location /to-tls/ {{ rewrite ^/to-tls/(.*)$ https://127.0.0.1:{tls}/$1 redirect; }}
    location /to-ftp {{ return 302 ftp://127.0.0.1/x; }}
    location /no-head/ {{ if ($request_method = HEAD) {{ return 405; }}
      alias {folder}/files/; autoindex on; autoindex_format json; }}
    location /claimed/ {{ alias {folder}/files/;
      add_header Repr-Digest "sha-256=:AA==:, md5=:{md5}:"; }}
    location /claimed-before/ {{ alias {folder}/files/;
      add_header Digest "MD5={md5}"; }}
    location /claimed-first/ {{ alias {folder}/files/; add_header Content-MD5 "{md5}"; }}
    location /slow/ {{ alias {folder}/files/; autoindex on; autoindex_format json;
      limit_rate 6m; }}
    location /denied/ {{ return 403; }}
    location /broken/ {{ return 500; }}
    location /busy/ {{ return 503; }}
    location /teapot/ {{ return 418; }}
    location /login/ {{ alias {folder}/files/;
      auth_basic here; auth_basic_user_file {folder}/users; }}
    location /token/ {{ alias {folder}/files/;
      if ($http_authorization != "Bearer {token}") {{ return 401; }} }}
  }}
  server {{ listen 127.0.0.1:{html}; autoindex on; }}
  server {{ listen 127.0.0.1:{plain}; max_ranges 0; }}
  server {{ listen 127.0.0.1:{tls} ssl; autoindex on; autoindex_format json;
    ssl_certificate {folder}/crt; ssl_certificate_key {folder}/key;
    location /down/ {{ rewrite ^/down/(.*)$ http://127.0.0.1:{json}/$1 redirect; }}
    location /login/ {{ alias {folder}/files/;
      auth_basic here; auth_basic_user_file {folder}/users; }}
    location /away/ {{ rewrite ^/away/(.*)$ https://localhost:{tls}/$1 redirect; }}
  }}
}}
"""


@dataclass(frozen=True, kw_only=True)
class Nginx:
    """A running server. ``json``, ``html``, ``plain``, ``tls`` are its ports.

    ``json`` and ``tls`` list folders as JSON, ``html`` as pages. ``plain`` neither lists them nor
    sends ranges. Special habits are below folders of the port ``json``; see the configuration.
    """

    folder: Path
    json: int
    html: int
    plain: int
    tls: int

    @property
    def files(self) -> Path:
        return self.folder / "files"

    @property
    def certificate(self) -> str:
        return str(self.folder / "crt")

    def connections(self) -> int:
        """How many connections the requests so far came by."""
        return len({line.split()[-2] for line in self.log()})

    def log(self) -> list[str]:
        """The requests so far: port, method, address, status, range, login, connection, bytes."""
        mark = f"/settled-{secrets.token_hex(8)}"
        with contextlib.suppress(urllib.error.HTTPError):
            urllib.request.urlopen(f"http://127.0.0.1:{self.json}{mark}").close()
        lines: list[str] = []
        while not any(mark in line for line in lines):  # earlier requests are in the log by then
            lines = (self.folder / "access.log").read_text().splitlines()
        return [line for line in lines if "/settled-" not in line]


@contextlib.contextmanager
def nginx_server(folder: Path) -> Iterator[Nginx]:
    """Run nginx over ``folder``/files."""
    need("nginx", "openssl", "timeout", packages="nginx-light openssl")
    path = search_path()
    for name in ("files", "tmp"):
        (folder / name).mkdir()
    (folder / "users").write_text(f"{LOGIN}:{{PLAIN}}{PASSWORD}\n")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"),
            *("-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"),
            *("-keyout", folder / "key", "-out", folder / "crt"),
        ],
        check=True,
        capture_output=True,
    )
    server = Nginx(
        folder=folder, **dict(zip(("json", "html", "plain", "tls"), _ports(4), strict=True))
    )
    is_root = (folder / "key").owner() == "root"
    (folder / "conf").write_text(
        _CONFIG.format(
            folder=folder,
            user="user root;" if is_root else "",
            md5=MD5_OF_DATA,
            token=TOKEN,
            json=server.json,
            html=server.html,
            plain=server.plain,
            tls=server.tls,
        )
    )
    binary = shutil.which("nginx", path=path)
    command = [
        "timeout",
        str(_LIFETIME_SECONDS),
        binary,
        "-e",
        folder / "errors.log",
        "-c",
        folder / "conf",
    ]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            _wait(process, server.json)
            yield server
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()


def _ports(count: int) -> list[int]:
    """Return ports without a listener."""
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in found:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in found]


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if process.poll() is not None:
            raise AssertionError(f"nginx ended: {process.communicate()[1].decode()}")
        assert time.monotonic() < deadline, "nginx doesn't listen"
        time.sleep(0.02)
