"""A proxy before an S3 server that counts uploaded bytes and makes requests fail as networks do.

It replaces the network. The client and the server are real, and sign and check as usual.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

DEADLINE_SECONDS = 60
_CHUNK_BYTES = 64 * 1024
_OURS = "/-the-proxy-itself-"
_HOP_BY_HOP = ("connection", "expect", "transfer-encoding", "content-length")

_SLOW_DOWN = (
    b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)
_INTERNAL = b"<Error><Code>InternalError</Code><Message>We failed.</Message></Error>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request that has arrived whole. Names of headers are in lower case."""

    method: str
    path: str
    query: dict[str, list[str]]
    body: bytes
    headers: dict[str, str]

    @property
    def is_put(self) -> bool:
        """Whether it carries a whole object."""
        return self.method == "PUT" and "uploadId" not in self.query

    @property
    def is_part(self) -> bool:
        """Whether it carries a part of a multipart upload."""
        return self.method == "PUT" and "uploadId" in self.query

    @property
    def is_complete(self) -> bool:
        """Whether it completes a multipart upload."""
        return self.method == "POST" and "uploadId" in self.query

    @property
    def is_get(self) -> bool:
        """Whether it reads an object."""
        is_plain = self.query.keys() <= {"x-id"}  # boto3 names the operation
        return self.method == "GET" and is_plain and self.path.count("/") > 1


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to the client."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class _HangUpError(Exception):
    """The connection must be reset."""


Forward = Callable[[Request], Answer]


@dataclass(slots=True)
class Fault:
    """A fault of the first ``times`` requests that ``befalls`` selects.

    ``happen`` is passed the request and a function that forwards it. ``hits`` counts the faults.
    """

    befalls: Callable[[Request], bool]
    happen: Callable[[Request, Forward], Answer]
    times: int = 1
    hits: int = 0


def reset(request: Request, forward: Forward) -> Answer:
    """Reset the connection. The request never reaches the server."""
    raise _HangUpError


def lose_answer(request: Request, forward: Forward) -> Answer:
    """Forward the request, then reset the connection."""
    forward(request)
    raise _HangUpError


def internal_error(request: Request, forward: Forward) -> Answer:
    """Answer 500."""
    return Answer(500, [("Content-Type", "application/xml")], _INTERNAL)


def slow_down(request: Request, forward: Forward) -> Answer:
    """Answer 503 SlowDown."""
    return Answer(503, [("Content-Type", "application/xml")], _SLOW_DOWN)


def flip_upload(request: Request, forward: Forward) -> Answer:
    """Change one bit of what is sent."""
    return forward(replace(request, body=_flipped(request.body)))


def flip_download(request: Request, forward: Forward) -> Answer:
    """Change one bit of what is received."""
    answer = forward(request)
    return Answer(answer.status, answer.headers, _flipped(answer.body))


def truncate(request: Request, forward: Forward) -> Answer:
    """Announce the whole answer, send half of it, and reset the connection."""
    answer = forward(request)
    length = [("Content-Length", str(len(answer.body)))]
    return Answer(answer.status, answer.headers + length, answer.body[: len(answer.body) // 2])


def encrypt(request: Request, forward: Forward) -> Answer:
    """Give objects ETags that aren't MD5s, as with encryption by SSE-KMS."""
    is_read = request.method in ("GET", "HEAD")
    condition = request.headers.get("if-match") if is_read else None
    answer = forward(request)
    if condition is not None and answer.status == 412:  # it knows other ETags
        del request.headers["if-match"]  # signed, but those that look at it check no signatures
        answer = forward(request)
    told = [(name, value) for name, value in answer.headers if name.lower() == "etag"]
    headers = [pair for pair in answer.headers if pair not in told]
    headers += [(name, f'"{_other_digest(value)}"') for name, value in told]
    if condition is not None and all(condition != value for name, value in headers):
        return Answer(412, [], b"")
    body = re.sub(
        rb"(<ETag>)(.*?)(</ETag>)",
        lambda found: found[1] + _other_digest(found[2].decode()).encode() + found[3],
        answer.body,
    )
    return Answer(answer.status, headers, body)


def _other_digest(etag: str) -> str:
    return hashlib.md5(etag.strip('"').encode()).hexdigest()


def _flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@dataclass(slots=True)
class Proxy:
    """A running proxy.

    ``uploaded`` is how many bytes of objects and parts have arrived here so far, whole or not.
    ``refused`` are the uploads that failed at the server itself: path, status, bytes.
    ``requests`` counts what has arrived, ``connections`` the clients that are connected.
    """

    endpoint_url: str
    faults: list[Fault] = field(default_factory=list)
    uploaded: int = 0
    refused: list[tuple[str, int, int]] = field(default_factory=list)
    requests: int = 0
    connections: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)
    is_ending: threading.Event = field(default_factory=threading.Event)
    _listen: Callable[[], None] = lambda: None

    def listen(self) -> None:
        """Accept connections, if the proxy was started without ``listening``."""
        self._listen()

    def wait_until_idle(self) -> None:
        """Return when all that clients sent is handled, and every client has disconnected."""
        # Connections are accepted in their order: once this one is, all before it have been.
        address = urlsplit(self.endpoint_url).netloc
        with contextlib.closing(http.client.HTTPConnection(address)) as connection:
            connection.request("GET", _OURS)
            connection.getresponse().read()
        self.wait_for(lambda: self.connections == 0)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Return when a condition on the counts holds."""
        with self.changed:
            assert self.changed.wait_for(condition, DEADLINE_SECONDS), self

    def add(self, *, uploaded: int = 0, requests: int = 0, connections: int = 0) -> None:
        with self.changed:
            self.uploaded += uploaded
            self.requests += requests
            self.connections += connections
            self.changed.notify_all()

    def stall(self, request: Request, forward: Forward) -> Answer:
        """A fault: never answer."""
        self.is_ending.wait(10 * DEADLINE_SECONDS)
        raise _HangUpError

    def fault_for(self, request: Request) -> Fault | None:
        with self.changed:
            for fault in self.faults:
                if fault.hits < fault.times and fault.befalls(request):
                    fault.hits += 1
                    return fault
        return None


@contextlib.contextmanager
def proxy_before(server_url: str, *faults: Fault, listening: bool = True) -> Iterator[Proxy]:
    """Run a proxy before the server; unless ``listening``, its port refuses connections."""
    target = urlsplit(server_url).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = DEADLINE_SECONDS
        disable_nagle_algorithm = True  # head and body of an answer are two writes

        def handle_request(self) -> None:
            try:
                self._answer(self._received())
            except (_HangUpError, OSError, http.client.HTTPException):
                self._hang_up()

        def _received(self) -> Request:
            url = urlsplit(self.path)
            query = parse_qs(url.query, keep_blank_values=True)
            left = int(self.headers.get("Content-Length", 0))
            chunks = []
            while left:
                chunk = self.rfile.read1(min(left, _CHUNK_BYTES))
                if not chunk:
                    raise _HangUpError  # the client was killed
                left -= len(chunk)
                chunks.append(chunk)
                if self.command == "PUT":
                    proxy.add(uploaded=len(chunk))
            proxy.add(requests=1)
            return Request(
                method=self.command,
                path=unquote(url.path),
                query=query,
                body=b"".join(chunks),
                headers={name.lower(): value for name, value in self.headers.items()},
            )

        def _answer(self, request: Request) -> None:
            if request.path == _OURS:
                self.send_response(204)
                self.end_headers()
                return
            fault = proxy.fault_for(request)
            answer = (
                self._forward(request) if fault is None else fault.happen(request, self._forward)
            )
            self.send_response(answer.status)
            for name, value in answer.headers:
                self.send_header(name, value)
            announced = next(
                (int(value) for name, value in answer.headers if name == "Content-Length"), None
            )
            if announced is None:
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)
                if announced is not None and announced > len(answer.body):
                    self.wfile.flush()
                    raise _HangUpError

        def _forward(self, request: Request) -> Answer:
            connection = http.client.HTTPConnection(target, timeout=DEADLINE_SECONDS)
            with contextlib.closing(connection):
                connection.putrequest(
                    self.command, self.path, skip_host=True, skip_accept_encoding=True
                )
                for name, value in request.headers.items():
                    if name not in ("connection", "expect"):
                        connection.putheader(name, value)
                connection.endheaders(request.body)
                answer = connection.getresponse()
                body = answer.read()
                headers = [
                    (name, value)
                    for name, value in answer.getheaders()
                    if name.lower() not in _HOP_BY_HOP
                ]
                if self.command == "PUT" and answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                    proxy.refused.append((request.path, answer.status, len(request.body)))
                length = answer.headers.get("Content-Length")
                if self.command == "HEAD" and length is not None:
                    headers.append(("Content-Length", length))
                return Answer(answer.status, headers, body)

        def _hang_up(self) -> None:
            # Without lingering, closing sends a reset.
            with contextlib.suppress(OSError):
                self.connection.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
            self.close_connection = True

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_request  # noqa: N815

        def log_message(self, *arguments: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

        def process_request(self, request: Any, client_address: Any) -> None:
            proxy.add(connections=1)
            super().process_request(request, client_address)

        def shutdown_request(self, request: Any) -> None:
            # Not shut down first: that would end the connection normally before the reset.
            self.close_request(request)
            proxy.add(connections=-1)

        def handle_error(self, request: object, client_address: object) -> None:
            pass  # a client that was killed

    server = Server(("127.0.0.1", 0), Handler, bind_and_activate=False)
    server.server_bind()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)

    def listen() -> None:
        server.server_activate()
        thread.start()

    proxy = Proxy(
        endpoint_url=f"http://127.0.0.1:{server.server_port}", faults=[*faults], _listen=listen
    )
    try:
        if listening:
            proxy.listen()
        yield proxy
    finally:
        proxy.is_ending.set()
        if thread.is_alive():
            server.shutdown()
            thread.join()
        server.server_close()
