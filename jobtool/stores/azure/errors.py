"""Translate the errors of Azure's library into those of ``jobtool.errors``.

An answer of the service is translated by the table in ``codes``, and a failure without an answer by
the table here. No message has a request's URL: a SAS token would be in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import urllib3.exceptions
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    DecodeError,
    HttpResponseError,
    IncompleteReadError,
    ServiceRequestError,
    ServiceResponseError,
)

from jobtool.errors import (
    CredentialsError,
    FileError,
    JobtoolError,
    NotFoundError,
    ServerError,
    StoreUnavailableError,
    UnreachableError,
)
from jobtool.names import in_one_line, quote
from jobtool.stores.azure.codes import CODES, verdict_on
from jobtool.stores.failures import OF_ANY_SERVER, AnswerError, failure
from jobtool.stores.verdict import Verdict

#: What requests raise for an error answer, for no answer, or for one that can't be read.
CLIENT_ERRORS = (
    AnswerError,
    AzureError,
    urllib3.exceptions.HTTPError,
    OSError,
    ValueError,
)

# The answer of Azurite to a wrong Content-MD5 has a code that says nothing.
_OTHER_MD5 = re.compile(r"contentMD5 doesn't match", re.IGNORECASE)
_URLS = re.compile(r"(?:with url: \S+|https?://\S+|\bsig=\S+)")
_SYSTEM = re.compile(r"(\[Errno -?\d+\] [^'\")]+|timed out|CERTIFICATE_VERIFY_FAILED)")


class Where(msgspec.Struct, frozen=True, kw_only=True):
    """Where requests go: the store's root as a URL, its container, and the account's URL."""

    root: str
    container: str
    account_url: str


# In this order: the first that fits is used.
_FAILURES = (
    failure(
        "no credentials",
        CredentialsError,
        "there is no login to use: run az login, or set AZURE_STORAGE_KEY, "
        "AZURE_STORAGE_SAS_TOKEN or AZURE_STORAGE_CONNECTION_STRING",
        ClientAuthenticationError,
    ),
    failure(
        "no TLS",
        StoreUnavailableError,
        "a login needs https:// as the account's URL: over http:// only a key or SAS token works",
        Exception,
        words=r"only supported with HTTPS|not permitted for non-TLS",
    ),
    failure(
        "untrusted certificate",
        StoreUnavailableError,
        "this machine doesn't trust the service's certificate: name the file of its authority by "
        "ca_bundle in the table, or REQUESTS_CA_BUNDLE",
        Exception,
        words=r"CERTIFICATE_VERIFY_FAILED",
    ),
    failure(
        "no TLS there",
        StoreUnavailableError,
        "the account's URL doesn't speak TLS: is it http:// instead of https://?",
        Exception,
        words=r"WRONG_VERSION_NUMBER|wrong version number|record layer failure",
    ),
    failure(
        "torn answer", ServerError, "the answer broke off", IncompleteReadError, HttpResponseError
    ),
    failure("no answer", UnreachableError, "no answer", ServiceRequestError),
    failure(
        "torn answer",
        ServerError,
        "the answer broke off",
        urllib3.exceptions.ProtocolError,
        words=r"IncompleteRead|Connection broken",
    ),
    failure(
        "no answer",
        UnreachableError,
        "no answer",
        ServiceResponseError,
        words=r"timed out|RemoteDisconnected|Connection aborted|reset by peer|Connection broken",
    ),
    failure("torn answer", ServerError, "the answer broke off", ServiceResponseError),
    failure("unknown answer", ServerError, "the answer isn't one of Azure", DecodeError),
    failure(
        "unknown answer",
        ServerError,
        "the answer isn't one of Azure",
        ValueError,
        words=r"deserialize|header is missing",
    ),
    failure("no answer", UnreachableError, "no answer", urllib3.exceptions.HTTPError, OSError),
    failure(
        "unknown answer",
        ServerError,
        "the answer isn't one of Azure",
        AzureError,
    ),
    failure("invalid value", FileError, "a request for this file can't be made", ValueError),
)


def failures() -> Iterator[Verdict]:
    """Yield the verdicts of failures without an answer, each once."""
    yield from {failure.verdict.code: failure.verdict for failure in _FAILURES}.values()


def translate(error: Exception, url: str, where: Where) -> JobtoolError:
    """Return jobtool's error for one of ``CLIENT_ERRORS`` at ``url``."""
    answer = error if isinstance(error, AnswerError) else _answer_in(error)
    if answer is not None:
        return _judge(answer, url, where)
    verdict = next((each.verdict for each in _FAILURES if each.fits(error)), _FAILURES[-1].verdict)
    line = _brief(error)
    if verdict.error is UnreachableError:
        return UnreachableError(
            f"can't reach {where.account_url}: {line}. Is the account's name or URL right?"
        )
    return verdict.error(f"{quote(url)}: {verdict.meaning} ({where.account_url}: {line})")


def _answer_in(error: Exception) -> AnswerError | None:
    """Return the answer that the library raised an error for, if there is one."""
    response: Any = getattr(error, "response", None)
    status = getattr(error, "status_code", None)
    if not isinstance(error, HttpResponseError) or response is None or (status or 0) < 300:
        return None
    code = getattr(error, "error_code", None) or response.headers.get("x-ms-error-code")
    return AnswerError(
        status=int(status or 0),
        code=str(getattr(code, "value", code) or ""),
        message=str(error.message),
        is_genuine="x-ms-request-id" in response.headers,
    )


def _judge(answer: AnswerError, url: str, where: Where) -> JobtoolError:
    code, status, message = answer.code, str(answer.status), _brief(answer)
    if code == "InvalidOperation" and _OTHER_MD5.search(message):
        code = "Md5Mismatch"
    verdict = verdict_on(code, status)
    told = code or status
    if not code and not answer.is_genuine and status not in OF_ANY_SERVER:
        return ServerError(
            f"{quote(url)}: {where.account_url} answers {status} without an error code of Azure. "
            "Does something else answer, such as a proxy or another server?"
        )
    if verdict.error is NotFoundError and url == where.root:
        verdict = CODES["ContainerNotFound"]
    if verdict.code == "ContainerNotFound":
        return StoreUnavailableError(
            f"there is no container {quote(where.container)} at {where.account_url} ({told}). "
            "Create it, or correct the URL."
        )
    if verdict.error is NotFoundError:
        return NotFoundError(f"expected something at {quote(url)}; found nothing ({told})")
    # Messages about credentials may repeat them.
    says = f": {message}" if message and verdict.error is not CredentialsError else ""
    return verdict.error(
        f"{quote(url)}: {verdict.meaning} ({where.account_url} answers {told}{says})"
    )


def _brief(error: Exception) -> str:
    """Return an error in one line without URLs, which may hold a SAS token."""
    if isinstance(error, AnswerError):
        text = error.message
    else:
        text = str(getattr(error, "message", None) or error)
        found = _SYSTEM.search(text)
        if found is not None:
            return in_one_line(found.group(1))
    lines = (
        line
        for line in text.splitlines()
        if line.strip() and not line.startswith(("RequestId:", "Time:", "ErrorCode:", "Content:"))
    )
    brief = in_one_line(_URLS.sub("…", " ".join(lines)), most=300)
    return brief or ("" if isinstance(error, AnswerError) else type(error).__name__)
