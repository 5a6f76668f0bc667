"""Requests to web servers: one pool of connections, logins, and redirects within limits."""

from __future__ import annotations

import base64
import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from urllib.parse import urljoin, urlsplit

import httpx

from jobtool import __version__
from jobtool.errors import SourceError, StoreSettingsError
from jobtool.names import quote
from jobtool.stores.http.errors import of_failure
from jobtool.stores.logins import bearer_for, login_for
from jobtool.stores.proxies import proxy_for
from jobtool.stores.webaddress import decoded, is_this_machine

#: More redirects than this aren't followed for one request.
MOST_REDIRECTS = 5

_REDIRECTS = frozenset({301, 302, 303, 307, 308})

#: Bytes are read as the server stores them: an encoding would change sizes and ranges.
_HEADERS = {"Accept-Encoding": "identity", "User-Agent": f"jobtool/{__version__}"}


class Connection:
    """A pool of connections to any servers. Threads may share it.

    Raises ``StoreSettingsError`` for a file of certificates that can't be read.
    """

    def __init__(self, *, ca_bundle: str | None, timeout_seconds: float, connections: int) -> None:
        self._timeout = httpx.Timeout(timeout_seconds, connect=min(timeout_seconds, 10), pool=None)
        self._limits = httpx.Limits(
            max_connections=None, max_keepalive_connections=connections + 8, keepalive_expiry=30
        )
        self._tls = _trusting(ca_bundle)
        self._clients: dict[str | None, httpx.Client] = {}  # by proxy
        self._proxies: dict[str, str | None] = {}  # by origin
        self._logins: dict[str, dict[str, str]] = {}  # by origin

    @contextmanager
    def open(self, method: str, url: str, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        """Send a request without a body and yield the answer, whose bytes aren't read yet.

        Redirects are followed. One to the same address with a slash at its end isn't: it says that
        there is a folder. Raises ``SourceError`` for other redirects that can't be followed, and
        the errors of ``errors.of_failure``.
        """
        asked = url
        for _ in range(MOST_REDIRECTS + 1):
            with self._once(method, asked, headers, url) as answer:
                target = answer.headers.get("Location")
                if answer.status_code not in _REDIRECTS or target is None:
                    yield answer
                    return
                following = urljoin(asked, target).partition("#")[0]
                if is_folder_of(following, asked):
                    yield answer
                    return
            if urlsplit(following).scheme not in ("http", "https"):
                raise SourceError(
                    f"{quote(url)}: expected a redirect to http:// or https://; found "
                    f"{quote(following.partition('?')[0])}"
                )
            if asked.startswith("https:") and not following.startswith("https:"):
                raise SourceError(
                    f"{quote(url)}: the server redirects from https:// to "
                    f"{quote(following.partition('?')[0])}, which isn't encrypted. Use that "
                    "address itself, if its network may be trusted."
                )
            asked = following
        raise SourceError(f"{quote(url)}: expected at most {MOST_REDIRECTS} redirects; found more")

    @contextmanager
    def _once(
        self, method: str, asked: str, headers: Mapping[str, str], url: str
    ) -> Iterator[httpx.Response]:
        parts = urlsplit(asked)
        origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        try:
            target = httpx.URL(asked)
            if origin not in self._logins:
                self._logins[origin] = login_header(target)
            sent = {**headers, **self._logins[origin]}
            client = self._client(origin)
            answer = _send(client, client.build_request(method, target, headers=sent))
            with closing(answer):
                yield answer
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise of_failure(error, url, origin) from None

    def _client(self, origin: str) -> httpx.Client:
        if origin not in self._proxies:
            self._proxies[origin] = proxy_for(origin)
        proxy = self._proxies[origin]
        client = self._clients.get(proxy)
        if client is None:
            made = httpx.Client(
                headers=_HEADERS,
                timeout=self._timeout,
                limits=self._limits,
                verify=self._tls,
                proxy=proxy,
                trust_env=False,  # the proxy and the login are chosen here
                follow_redirects=False,
            )
            client = self._clients.setdefault(proxy, made)
        return client


def _send(client: httpx.Client, request: httpx.Request) -> httpx.Response:
    """Send a request, again if the server had closed the connection that it was sent on."""
    try:
        return client.send(request, stream=True)
    except httpx.RemoteProtocolError as error:
        if "disconnected without" not in str(error):
            raise
        return client.send(request, stream=True)


def is_folder_of(redirect: str, asked: str) -> bool:
    """Return True if a redirect leads from an address to the same with a slash at its end."""
    old, new = urlsplit(asked), urlsplit(redirect)
    # The host may differ: a server behind another one often tells its own name.
    return decoded(new.path) == decoded(old.path) + "/"


def login_header(url: httpx.URL) -> dict[str, str]:
    """Return the header with the login of a host. It is sent encrypted, or to this machine."""
    if url.scheme != "https" and not is_this_machine(url.host):
        return {}
    token = bearer_for(url.host, url.port)
    if token is not None:
        return {"Authorization": f"Bearer {token}"}
    login = login_for(url.host)
    if login is None:
        return {}
    pair = base64.b64encode(f"{login.name}:{login.password}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}


def _trusting(ca_bundle: str | None) -> ssl.SSLContext:
    """Return TLS settings that trust a file's certificates, or those of the system."""
    if ca_bundle is None and "SSL_CERT_FILE" not in os.environ:
        known = ssl.get_default_verify_paths()
        if known.cafile is None and known.capath is None:
            import certifi  # httpx brings it

            return ssl.create_default_context(cafile=certifi.where())
        return ssl.create_default_context()
    path = ca_bundle or os.environ["SSL_CERT_FILE"]
    named = "[https] ca_bundle" if ca_bundle else "SSL_CERT_FILE"
    try:
        return ssl.create_default_context(cafile=path)
    except OSError as error:  # ssl.SSLError is one
        raise StoreSettingsError(
            f"{named}: expected a file of certificates in PEM at {quote(path)}; {error.strerror}"
        ) from None
