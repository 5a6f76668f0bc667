"""A server on loopback that records what S3 clients send, also as a proxy for any host.

It answers as much as a store needs to put, read and list one object. As a proxy it opens tunnels to
itself, with a certificate of the tests' own authority for whatever host was asked for.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.stores.authority import Authority

MODIFIED = "Wed, 21 Oct 2015 07:28:00 GMT"
DATA = b"data"
_ETAG = f'"{hashlib.md5(DATA).hexdigest()}"'
_SCOPE = re.compile(r"Credential=[^/]+/\d{8}/([^/]+)/([^/]+)/aws4_request")
_TELLING = re.compile(
    r"x-amz-(server-side-encryption.*|request-payer|storage-class|acl|tagging"
    r"|sdk-checksum-algorithm|checksum-(?!type).*)"
)

_LISTING = (
    b'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><IsTruncated>false'
    b"</IsTruncated><Contents><Key>k</Key><Size>4</Size><LastModified>2015-10-21T07:28:00.000Z"
    b"</LastModified></Contents></ListBucketResult>"
)
_UPLOAD = (
    b'<InitiateMultipartUploadResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    b"<UploadId>an-upload</UploadId></InitiateMultipartUploadResult>"
)
_SESSION = (
    b"<CreateSessionResult><Credentials><SessionToken>t</SessionToken><SecretAccessKey>s"
    b"</SecretAccessKey><AccessKeyId>a</AccessKeyId><Expiration>2999-01-01T00:00:00Z</Expiration>"
    b"</Credentials></CreateSessionResult>"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A request as it arrived. ``route`` is ``direct`` or the name of the proxy."""

    client: str
    route: str
    method: str
    scheme: str
    host: str
    path: str
    query: frozenset[str]
    region: str | None
    service: str | None
    proxy_authorization: str | None
    telling: frozenset[tuple[str, str]]
    status: int

    @property
    def is_write(self) -> bool:
        """Whether it makes an object, or begins to."""
        return (self.method == "PUT" and not self.query - {"x-id"}) or "uploads" in self.query


@dataclass(slots=True)
class Recorder:
    """A running server. Buckets answer only in region ``home``, if it is given."""

    name: str
    port: int = 0
    home: str | None = None
    is_aws_like: bool = True  # 301 rather than 400 for a request from another region
    sent: list[Sent] = field(default_factory=list)


@contextlib.contextmanager
def recording(
    name: str, authority: Authority, *, context: ssl.SSLContext | None = None
) -> Iterator[Recorder]:
    """Record requests; with ``context`` the server itself speaks TLS."""
    recorder = Recorder(name=name)

    class Handler(_Handler):
        pass

    Handler.recorder, Handler.authority, Handler.context = recorder, authority, context
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    recorder.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield recorder
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    recorder: Recorder
    authority: Authority
    context: ssl.SSLContext | None
    tunnel: str | None = None
    tunnel_authorization: str | None = None

    def setup(self) -> None:
        self.request.settimeout(30)
        if self.context is not None:
            self.request = self.context.wrap_socket(self.request, server_side=True)
        super().setup()

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            super().handle()

    def log_message(self, *_: Any) -> None:
        pass

    def do_CONNECT(self) -> None:
        self.tunnel = self.path
        self.close_connection = False  # whatever HTTP/1.0 would mean
        self.tunnel_authorization = self.headers.get("proxy-authorization")
        self.send_response(200)
        self.end_headers()
        context = self.authority.context_for(self.path.rpartition(":")[0])
        self.connection = context.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb", buffering=0)

    def _do(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length) if length else b""
        if "chunked" in self.headers.get("transfer-encoding", ""):
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size + 2)
            self.rfile.readline()
        parts = urlsplit(self.path)
        query = parse_qs(parts.query, keep_blank_values=True)
        scope = _SCOPE.search(self.headers.get("authorization", ""))
        is_away = self.recorder.home is not None and (
            scope is None or scope[1] != self.recorder.home
        )
        status, headers, answer = self._refuse() if is_away else self._answer(query)
        is_tls = self.tunnel is not None or self.context is not None
        is_proxied = self.tunnel is not None or bool(parts.netloc)
        told = self.headers.get("proxy-authorization") if is_proxied else None
        self.recorder.sent.append(
            Sent(
                client="obstore" if "object_store" in self.headers["user-agent"] else "boto3",
                route=self.recorder.name if is_proxied else "direct",
                method=self.command,
                scheme="https" if is_tls else "http",
                host=(parts.netloc or self.headers["host"]).removesuffix(":443"),
                path=parts.path,
                query=frozenset(query),
                region=scope[1] if scope else None,
                service=scope[2] if scope else None,
                proxy_authorization=self.tunnel_authorization or told,
                telling=frozenset(
                    (name.lower(), value)
                    for name, value in self.headers.items()
                    if _TELLING.fullmatch(name.lower())
                ),
                status=status,
            )
        )
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _do  # noqa: N815

    def _answer(self, query: dict[str, list[str]]) -> tuple[int, dict[str, str], bytes]:
        known = {"ETag": _ETAG, "Last-Modified": MODIFIED}
        if "list-type" in query:
            return 200, {}, _LISTING
        if "uploads" in query:
            return 200, {}, _UPLOAD
        if "session" in query:
            return 200, {}, _SESSION
        if self.command == "DELETE":
            return 204, {}, b""
        if self.command == "HEAD":
            return 200, known | {"Content-Length": str(len(DATA))}, b""
        if self.command == "GET":
            span = f"bytes 0-{len(DATA) - 1}/{len(DATA)}"
            is_range = "range" in self.headers
            return (206, known | {"Content-Range": span}, DATA) if is_range else (200, known, DATA)
        return 200, known, b""

    def _refuse(self) -> tuple[int, dict[str, str], bytes]:
        home = self.recorder.home
        assert home is not None
        if self.recorder.is_aws_like:
            told = {"x-amz-bucket-region": home}
            return 301, told, b"<Error><Code>PermanentRedirect</Code></Error>"
        text = f"<Error><Code>AuthorizationHeaderMalformed</Code><Region>{home}</Region></Error>"
        return 400, {}, text.encode()
