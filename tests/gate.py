"""A proxy before an S3 server that lets a number of uploads pass and holds the others.

With it a test stops a worker at a known point of its job, without guessing a waiting time.
"""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

_DEADLINE_SECONDS = 60


class Gate:
    """``uploads`` are the paths of all PUTs so far; those beyond ``allowed`` wait for ``open``."""

    def __init__(self, endpoint_url: str, *, allowed: int, corrupt: str | None = None) -> None:
        self.endpoint_url = endpoint_url
        self.uploads: list[str] = []
        self.corrupt = corrupt
        self._allowed = allowed
        self._changed = threading.Condition()
        self._is_open = False

    def wait_until_held(self) -> None:
        """Return when all allowed uploads have begun and one more waits at the gate."""
        with self._changed:
            assert self._changed.wait_for(
                lambda: len(self.uploads) > self._allowed, _DEADLINE_SECONDS
            ), f"only {len(self.uploads)} uploads came"

    def open(self) -> None:
        """Let all uploads pass."""
        with self._changed:
            self._is_open = True
            self._changed.notify_all()

    def arrive(self, path: str) -> None:
        with self._changed:
            self.uploads.append(path)
            number = len(self.uploads)
            self._changed.notify_all()
            self._changed.wait_for(
                lambda: self._is_open or number <= self._allowed, _DEADLINE_SECONDS
            )


@contextlib.contextmanager
def gate_before(server_url: str, *, allowed: int, corrupt: str | None = None) -> Iterator[Gate]:
    """Run a gate before the server; uploads whose path ends in ``corrupt`` lose a bit on it."""
    target = urlsplit(server_url).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = unquote(urlsplit(self.path).path)
            if self.command == "PUT":
                gate.arrive(path)
            if gate.corrupt and body and path.endswith(gate.corrupt):
                body = bytes([body[0] ^ 1]) + body[1:]
            connection = http.client.HTTPConnection(target, timeout=_DEADLINE_SECONDS)
            with contextlib.closing(connection), contextlib.suppress(OSError):
                connection.putrequest(
                    self.command, self.path, skip_host=True, skip_accept_encoding=True
                )
                for name, value in self.headers.items():
                    if name.lower() not in ("connection", "expect"):
                        connection.putheader(name, value)
                connection.endheaders(body)
                answer = connection.getresponse()
                data = answer.read()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                        self.send_header(name, value)
                length = answer.headers.get("Content-Length") if self.command == "HEAD" else None
                self.send_header("Content-Length", length or str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = forward  # noqa: N815

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        gate = Gate(f"http://127.0.0.1:{server.server_port}", allowed=allowed, corrupt=corrupt)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield gate
        finally:
            gate.open()
            server.shutdown()
            thread.join()
