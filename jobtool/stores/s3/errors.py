"""Translate the errors of the S3 clients into those of ``jobtool.errors``.

The clients are boto3 and obstore. A server's answer is translated by the table in ``codes``, and a
failure without an answer by the table here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import botocore.exceptions
import botocore.parsers
import msgspec
import obstore.exceptions
import urllib3.exceptions

from jobtool.errors import (
    CredentialsError,
    FileError,
    JobtoolError,
    NotFoundError,
    ServerError,
    StoreError,
    StoreUnavailableError,
    UnreachableError,
)
from jobtool.names import quote
from jobtool.stores.failures import failure
from jobtool.stores.s3.codes import CODES, RegionError, verdict_on
from jobtool.stores.verdict import Verdict

#: What the clients raise for an error answer, or for no answer.
CLIENT_ERRORS = (
    botocore.exceptions.ClientError,
    botocore.exceptions.BotoCoreError,
    botocore.parsers.ResponseParserError,
    obstore.exceptions.BaseError,
    urllib3.exceptions.HTTPError,
    OSError,
    ValueError,
)

#: Error codes for credentials that have expired.
_EXPIRED_CODES = ("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired")

# obstore's text for an answer: one line of its own, then the body, then its debugging output.
_ANSWER = re.compile(
    r"Error performing [A-Z]+ \S+ in .*?Server returned non-2xx status code: (\d{3})[^:]*:(.*)",
    re.DOTALL,
)
_DEBUG = "\n\nDebug source:"


class Where(msgspec.Struct, frozen=True, kw_only=True):
    """Where a request went: the store's URL, its bucket, endpoint and region.

    ``find_region`` asks the server for the bucket's region. It returns "" if that is unknown.
    """

    root: str
    bucket: str
    endpoint: str
    region: str
    find_region: Callable[[], str]


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A server's answer. A field is "" if the answer doesn't have it."""

    code: str
    status: str
    message: str
    region: str


_UNREACHABLE = failure("no answer", UnreachableError, "the endpoint can't be reached", Exception)

# In this order: the first that fits is used.
_FAILURES = (
    failure(
        "invalid bucket",
        StoreUnavailableError,
        "the bucket's name isn't valid: correct the URL",
        botocore.exceptions.ParamValidationError,
        words=r"(?i)bucket name|parameter Bucket",
    ),
    failure(
        "invalid parameter",
        FileError,
        "a request for this file can't be made",
        botocore.exceptions.ParamValidationError,
        obstore.exceptions.InvalidPathError,
    ),
    failure(
        "no credentials",
        CredentialsError,
        "there are no credentials to sign with: log in, or name a profile",
        botocore.exceptions.NoCredentialsError,
        botocore.exceptions.PartialCredentialsError,
        botocore.exceptions.CredentialRetrievalError,
        botocore.exceptions.NoAuthTokenError,
        botocore.exceptions.TokenRetrievalError,
        botocore.exceptions.SSOError,
        botocore.exceptions.LoginError,
    ),
    failure(
        "untrusted certificate",
        StoreUnavailableError,
        "this machine doesn't trust the endpoint's certificate: name the file of its authority "
        "by [s3] ca_bundle, or AWS_CA_BUNDLE",
        Exception,
        words=r"CERTIFICATE_VERIFY_FAILED|invalid peer certificate|UnknownIssuer",
    ),
    failure(
        "no TLS",
        StoreUnavailableError,
        "the endpoint doesn't speak TLS: is it http:// instead of https://?",
        Exception,
        words=r"WRONG_VERSION_NUMBER|InvalidContentType|received corrupt message",
    ),
    failure(
        "redirect",
        RegionError,
        "the bucket is in another region, or at another endpoint",
        obstore.exceptions.BaseError,
        words=r"Received redirect without LOCATION",
    ),
    failure(
        "torn answer",
        ServerError,
        "the answer broke off",
        botocore.exceptions.IncompleteReadError,
        botocore.exceptions.ResponseStreamingError,
        urllib3.exceptions.ProtocolError,
        urllib3.exceptions.DecodeError,
    ),
    failure(
        "torn answer",
        ServerError,
        "the answer broke off",
        obstore.exceptions.BaseError,
        words=r"error decoding response body|request or response body error",
    ),
    failure(
        "unknown answer",
        ServerError,
        "the answer isn't an S3 answer",
        botocore.parsers.ResponseParserError,
    ),
    failure(
        "unknown answer",
        ServerError,
        "the answer isn't an S3 answer",
        obstore.exceptions.BaseError,
        words=r"Unable to extract metadata from headers|header not present|non-partial response",
    ),
    failure(
        "other checksum",
        StoreError,
        "the received bytes have a different checksum than the server says",
        botocore.exceptions.ChecksumError,
        botocore.exceptions.FlexibleChecksumError,
        botocore.exceptions.AwsChunkedWrapperError,
    ),
    failure(
        "no answer",
        UnreachableError,
        _UNREACHABLE.verdict.meaning,
        botocore.exceptions.ConnectionError,
        botocore.exceptions.HTTPClientError,
        urllib3.exceptions.HTTPError,
        obstore.exceptions.BaseError,
        OSError,
    ),
    failure(
        "configuration",
        StoreUnavailableError,
        "correct the endpoint or the region, in [s3] or in AWS's configuration",
        botocore.exceptions.BotoCoreError,
    ),
    failure("invalid value", FileError, "a request for this file can't be made", ValueError),
)


def failures() -> Iterator[Verdict]:
    """Yield the verdicts of failures without an answer, each once."""
    yield from {failure.verdict.code: failure.verdict for failure in _FAILURES}.values()


def tells_expiry(error: Exception) -> bool:
    """Return True if a server says that credentials have expired."""
    answer = _answer_of(error)
    return answer is not None and answer.code in _EXPIRED_CODES


def may_hide_expiry(error: Exception) -> bool:
    """Return True if an error may be the answer to expired temporary credentials."""
    # An answer to HEAD has no body, so its only code is the status.
    answer = _answer_of(error)
    is_head = getattr(error, "operation_name", "").startswith("Head")
    return answer is not None and answer.code == "400" and is_head


def translate(error: Exception, url: str, where: Where) -> JobtoolError:
    """Return jobtool's error for one of ``CLIENT_ERRORS`` at ``url``."""
    answer = _answer_of(error)
    if answer is not None:
        return _judge_answer(answer, url, where)
    failure = next((each for each in _FAILURES if each.fits(error)), _UNREACHABLE)
    verdict, line = failure.verdict, _brief(error)
    if verdict.error is RegionError:
        return _elsewhere(verdict.code, where.find_region(), "", where)
    if verdict.error is UnreachableError:
        return UnreachableError(
            f"can't reach {where.endpoint}: {line}. Is the endpoint right and up?"
        )
    return verdict.error(f"{quote(url)}: {verdict.meaning} ({where.endpoint}: {line})")


def _judge_answer(answer: _Answer, url: str, where: Where) -> JobtoolError:
    verdict = verdict_on(answer.code, answer.status)
    if verdict.error is NotFoundError and url == where.root:
        verdict = CODES["NoSuchBucket"]
    told = answer.code or answer.status
    if verdict.code == "NoSuchBucket":
        return StoreUnavailableError(
            f"there is no bucket {quote(where.bucket)} at {where.endpoint} ({told}). Create it, or "
            "correct the URL."
        )
    if verdict.error is RegionError:
        return _elsewhere(told, answer.region or where.find_region(), answer.message, where)
    if verdict.error is NotFoundError:
        return NotFoundError(f"expected something at {quote(url)}; found nothing ({told})")
    # Messages about credentials may repeat them.
    says = answer.message if verdict.error is not CredentialsError else ""
    return verdict.error(
        f"{quote(url)}: {verdict.meaning} ({where.endpoint} answers {told}{says and ': ' + says})"
    )


def _elsewhere(told: str, region: str, message: str, where: Where) -> RegionError:
    used = f"region {where.region} at {where.endpoint}"
    if region and region != where.region:
        advice = (
            f"The bucket is in region {region}: set [s3] region to it in joblist.toml, and correct "
            "endpoint_url if it names a region."
        )
    else:
        advice = (
            "The server doesn't say where the bucket is: correct [s3] region or endpoint_url in "
            "joblist.toml."
        )
    says = f": {message}" if message else ""
    return RegionError(
        f"bucket {quote(where.bucket)} can't be used by {used} ({told}{says}). {advice}"
    )


def _answer_of(error: Exception) -> _Answer | None:
    if isinstance(error, botocore.exceptions.ClientError):
        told = error.response.get("Error", {})
        metadata = error.response.get("ResponseMetadata", {})
        region = told.get("Region") or metadata.get("HTTPHeaders", {}).get("x-amz-bucket-region")
        return _Answer(
            code=str(told.get("Code", "")),
            status=str(metadata.get("HTTPStatusCode", "")),
            message=_shortened(str(told.get("Message", ""))),
            region=str(region or ""),
        )
    found = _ANSWER.search(str(error).partition(_DEBUG)[0])
    if found is None:
        return None
    status, body = found.groups()
    return _Answer(
        code=_element(body, "Code"),
        status=status,
        message=_shortened(_element(body, "Message")),
        region=_element(body, "Region"),
    )


def _element(body: str, name: str) -> str:
    found = re.search(f"<{name}>([^<]*)</{name}>", body)
    return found.group(1).strip() if found else ""


def _shortened(text: str) -> str:
    """Return a server's message in one line of at most 300 characters."""
    return " ".join(text.split())[:300]


def _brief(error: Exception) -> str:
    text, _, _ = str(error).partition(_DEBUG)
    return _shortened(text) or type(error).__name__
