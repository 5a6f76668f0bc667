"""Translate the answers of web servers, and failures without an answer, into jobtool's errors."""

from __future__ import annotations

import re

import httpx

from jobtool.errors import (
    CredentialsError,
    JobtoolError,
    NotFoundError,
    RefusedError,
    ServerError,
    SourceError,
    StoreError,
    StoreUnavailableError,
    UnreachableError,
)
from jobtool.names import in_one_line, quote
from jobtool.stores.verdict import Verdict


def _verdict(code: str, error: type[JobtoolError], meaning: str) -> Verdict:
    return Verdict(code=code, error=error, meaning=meaning)


#: The statuses of HTTP (RFC 9110, 15). Others are judged by their class: 4xx, 5xx.
STATUSES = {
    verdict.code: verdict
    for verdict in (
        _verdict(
            "401",
            CredentialsError,
            "the server wants a login: put it into ~/.netrc, or a token into JOBTOOL_BEARER; "
            "both are sent by https only",
        ),
        _verdict("403", RefusedError, "the server refuses access"),
        _verdict("404", NotFoundError, "found nothing"),
        _verdict("407", StoreUnavailableError, "the proxy wants a login"),
        _verdict("408", StoreError, "the server waited too long"),
        _verdict("410", NotFoundError, "found nothing any more"),
        _verdict("421", StoreError, "the request reached another server"),
        _verdict("425", StoreError, "the server wants the request again"),
        _verdict("429", StoreError, "the server wants fewer requests"),
        _verdict("503", StoreError, "the server is busy"),
    )
}
_OTHER_REFUSAL = _verdict("4xx", SourceError, "the server refuses the request")
_OTHER_FAILURE = _verdict("5xx", ServerError, "the server failed")
_ODD = _verdict("other", SourceError, "expected the file or an error")


def of_status(status: int, url: str) -> JobtoolError:
    """Return the error for an answer's status."""
    other = {4: _OTHER_REFUSAL, 5: _OTHER_FAILURE}.get(status // 100, _ODD)
    verdict = STATUSES.get(str(status), other)
    if verdict.error is NotFoundError:
        return NotFoundError(f"expected something at {quote(url)}; {verdict.meaning} ({status})")
    return verdict.error(f"{quote(url)}: {verdict.meaning} (status {status})")


_CERTIFICATE = re.compile(r"CERTIFICATE_VERIFY_FAILED|certificate verify failed", re.IGNORECASE)
_NO_TLS = re.compile(r"WRONG_VERSION_NUMBER|record layer failure", re.IGNORECASE)
_NO_NAME = re.compile(
    r"Name or service not known|nodename nor servname|No address associated|name resolution"
)
_NO_HTTP = re.compile(r"illegal|bare CR|status line|Invalid HTTP", re.IGNORECASE)


def of_failure(error: Exception, url: str, origin: str) -> JobtoolError:
    """Return the error for a request at ``url`` that got no answer, or a broken one."""
    line = in_one_line(str(error) or type(error).__name__, most=300)
    if _CERTIFICATE.search(line):
        return StoreUnavailableError(
            f"{quote(url)}: this machine doesn't trust the certificate of {origin} ({line}). Name "
            "the file of its authority by [https] ca_bundle in joblist.toml, or by SSL_CERT_FILE."
        )
    if _NO_TLS.search(line):
        return StoreUnavailableError(
            f"{quote(url)}: {origin} doesn't speak TLS ({line}). Is it http:// instead of https://?"
        )
    if isinstance(error, httpx.ProxyError):
        return StoreUnavailableError(f"{quote(url)}: the proxy refuses the connection ({line})")
    if isinstance(error, httpx.RemoteProtocolError) and _NO_HTTP.search(line):
        return StoreUnavailableError(
            f"{quote(url)}: {origin} doesn't speak HTTP ({line}). Is the port right?"
        )
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)):
        why = "there is no host of this name" if _NO_NAME.search(line) else line
        return UnreachableError(f"can't reach {origin}: {why}. Is the address right and up?")
    if isinstance(error, httpx.InvalidURL):
        return SourceError(f"{quote(url)}: a request for this file can't be made ({line})")
    return ServerError(f"{quote(url)}: the answer broke off, or there was none ({line})")
