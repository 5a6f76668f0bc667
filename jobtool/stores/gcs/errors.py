"""Translate answers, and failures without an answer, into the errors of ``jobtool.errors``.

An answer is translated by the table in ``codes``, and a failure without one by the table here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec
import urllib3.exceptions

from jobtool.errors import (
    CredentialsError,
    JobtoolError,
    NotFoundError,
    ServerError,
    StoreUnavailableError,
    UnreachableError,
)
from jobtool.names import in_one_line, quote
from jobtool.stores.failures import OF_ANY_SERVER, AnswerError, failure
from jobtool.stores.gcs.codes import CODES, verdict_on
from jobtool.stores.verdict import Verdict

#: What requests raise for an error answer, for no answer, or for one that can't be read.
CLIENT_ERRORS = (
    AnswerError,
    urllib3.exceptions.HTTPError,
    OSError,
    ValueError,
)

# Answers whose code says less than their message, and the code of the XML API that says it.
_BY_MESSAGE = (
    ("404", re.compile(r"bucket does not exist", re.IGNORECASE), "NoSuchBucket"),
    ("400", re.compile(r"(?:MD5|CRC32C) .*doesn't match", re.IGNORECASE), "BadDigest"),
    ("400", re.compile(r"requester pays", re.IGNORECASE), "UserProjectMissing"),
    ("403", re.compile(r"billing account", re.IGNORECASE), "AccountProblem"),
)
_SYSTEM = re.compile(r"(\[Errno -?\d+\] [^'\")]+|timed out|CERTIFICATE_VERIFY_FAILED)")


class Where(msgspec.Struct, frozen=True, kw_only=True):
    """Where a request goes: to a bucket of the service at ``service_url``.

    ``is_object`` is False for a request that finds nothing only if there is no bucket.
    """

    bucket: str
    service_url: str
    is_object: bool


# In this order: the first that fits is used.
_FAILURES = (
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
        "the service's URL doesn't speak TLS: is it http:// instead of https://?",
        Exception,
        words=r"WRONG_VERSION_NUMBER|wrong version number|record layer failure",
    ),
    failure(
        "torn answer",
        ServerError,
        "the answer broke off",
        urllib3.exceptions.ProtocolError,
        words=r"IncompleteRead|Connection broken",
    ),
    failure("no answer", UnreachableError, "no answer", urllib3.exceptions.HTTPError, OSError),
    failure(
        "unknown answer", ServerError, "the answer isn't one of Google Cloud Storage", Exception
    ),
)


def failures() -> Iterator[Verdict]:
    """Yield the verdicts of failures without an answer."""
    yield from (failure.verdict for failure in _FAILURES)


def translate(error: Exception, url: str, where: Where) -> JobtoolError:
    """Return jobtool's error for one of ``CLIENT_ERRORS`` at ``url``."""
    if isinstance(error, AnswerError):
        return _judge(error, url, where)
    verdict = next(each.verdict for each in _FAILURES if each.fits(error))
    line = _brief(error)
    if verdict.error is UnreachableError:
        return UnreachableError(
            f"can't reach {where.service_url}: {line}. Is the service's URL right?"
        )
    return verdict.error(f"{quote(url)}: {verdict.meaning} ({where.service_url}: {line})")


def _judge(answer: AnswerError, url: str, where: Where) -> JobtoolError:
    code, status = answer.code, str(answer.status)
    message = in_one_line(answer.message, most=300)
    if not answer.is_genuine and status not in OF_ANY_SERVER:
        return ServerError(
            f"{quote(url)}: {where.service_url} answers {status} without an error of Google Cloud "
            "Storage. Does something else answer, such as a proxy or another server?"
        )
    for fitting, words, better in _BY_MESSAGE:
        if status == fitting and words.search(message):
            code = better
    verdict = verdict_on(code, status)
    told = code or status
    if verdict.error is NotFoundError and not where.is_object:
        verdict = CODES["NoSuchBucket"]
    if verdict.code == "NoSuchBucket":
        return StoreUnavailableError(
            f"there is no bucket {quote(where.bucket)} at {where.service_url} ({told}). Create it, "
            "or correct the URL."
        )
    if verdict.error is NotFoundError:
        return NotFoundError(f"expected something at {quote(url)}; found nothing ({told})")
    # Messages about credentials may repeat them.
    says = f": {message}" if message and verdict.error is not CredentialsError else ""
    return verdict.error(
        f"{quote(url)}: {verdict.meaning} ({where.service_url} answers {told}{says})"
    )


def _brief(error: Exception) -> str:
    """Return an error in one line."""
    found = _SYSTEM.search(str(error))
    if found is not None:
        return in_one_line(found.group(1))
    return in_one_line(str(error), most=300) or type(error).__name__
