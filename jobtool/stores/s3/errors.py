"""What the errors of boto3 and obstore mean in the terms of ``jobtool.errors``."""

from __future__ import annotations

import re

import botocore.exceptions
import obstore.exceptions

from jobtool.errors import (
    CredentialsError,
    DigestMismatchError,
    FileError,
    JobtoolError,
    NotFoundError,
    SourceError,
    StoreUnavailableError,
    UnreachableError,
)
from jobtool.names import quote

_UNTRUSTED = re.compile(r"CERTIFICATE_VERIFY_FAILED|invalid peer certificate|UnknownIssuer")
_CODE = re.compile(r"<Code>([^<]*)</Code>")
_MESSAGE = re.compile(r"<Message>([^<]*)</Message>")
_STATUS = re.compile(r"status code: (\d{3})")

_DENIED = "check the credentials and what they are allowed to do"
_CREDENTIAL_CODES = {
    "AccessDenied": _DENIED,
    "AllAccessDisabled": _DENIED,
    "ExpiredToken": "log in again",
    "ExpiredTokenException": "log in again",
    "InvalidAccessKeyId": "check the credentials and the endpoint that they belong to",
    "InvalidToken": "log in again",
    "RequestExpired": "log in again, and check this machine's clock",
    "RequestTimeTooSkewed": "check this machine's clock",
    "SignatureDoesNotMatch": "check the secret key and the endpoint",
    "TokenRefreshRequired": "log in again",
    "401": _DENIED,
    "403": _DENIED,
}
#: What is said of credentials that were good once.
_EXPIRED_CODES = ("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired")

#: What the clients raise for an answer that is an error, or for none.
CLIENT_ERRORS = (
    botocore.exceptions.ClientError,
    botocore.exceptions.BotoCoreError,
    botocore.exceptions.HTTPClientError,
    obstore.exceptions.BaseError,
    FileNotFoundError,
    ValueError,
)
_SERVER_CODES = ("InternalError", "RequestTimeout", "ServiceUnavailable", "SlowDown", "429")


def tells_expiry(error: Exception) -> bool:
    """Tell whether a server says that credentials have expired."""
    code, _ = _code_and_status(error)
    return code in _EXPIRED_CODES


def may_hide_expiry(error: Exception) -> bool:
    """Tell whether an error may be the answer to temporary credentials that have expired."""
    # An answer to HEAD has no body, and so no code but its status.
    code, _ = _code_and_status(error)
    return code == "400" and getattr(error, "operation_name", "").startswith("Head")


def translate(error: Exception, url: str, *, root: str, bucket: str, endpoint: str) -> JobtoolError:
    """Return our error for one of ``CLIENT_ERRORS``, met at ``url`` in the store at ``root``."""
    if isinstance(error, botocore.exceptions.ParamValidationError):
        return StoreUnavailableError(f"{quote(root)}: {_first_line(error)}")
    code, status = _code_and_status(error)
    shown = quote(url)
    if code == "NoSuchBucket" or (code == "404" and url == root):
        return StoreUnavailableError(
            f"there is no bucket {quote(bucket)} at {endpoint}. Create it, or correct the URL."
        )
    if code == "InvalidObjectState":
        return SourceError(f"{shown} is archived: restore it first ({code})")
    if code in _CREDENTIAL_CODES or status in ("401", "403"):
        hint = _CREDENTIAL_CODES.get(code, _DENIED)
        return CredentialsError(f"{endpoint} refuses {shown}: {code or status} ({hint})")
    if code in ("NoSuchKey", "NoSuchUpload", "404") or status == "404":
        return NotFoundError(f"expected something at {shown}; found nothing ({code or 404})")
    if code == "PreconditionFailed" or isinstance(error, obstore.exceptions.AlreadyExistsError):
        return FileError(f"{shown} exists already, and is not to be replaced")
    if code == "BadDigest":
        return DigestMismatchError(
            f"{shown}: the server received other bytes than were sent (BadDigest)"
        )
    fails = status.startswith("5") and status != "501"  # which says never, not later
    if code in _SERVER_CODES or fails or status == "429":
        return UnreachableError(f"{endpoint} fails for {shown}: {code or status}")
    if _UNTRUSTED.search(f"{error} {error.__cause__}"):
        return StoreUnavailableError(
            f"{endpoint}: its certificate isn't one that this machine trusts. If it is your "
            "site's, name the file of its authority: [s3] ca_bundle in joblist.toml, or "
            "AWS_CA_BUNDLE."
        )
    if status:
        return FileError(f"{endpoint} refuses {shown}: {code or status}: {_said(error)}")
    if isinstance(error, ValueError):
        return FileError(f"{shown}: {_first_line(error)}")
    return UnreachableError(
        f"can't reach {endpoint}: {_first_line(error)}. Is the endpoint right and up?"
    )


def _code_and_status(error: Exception) -> tuple[str, str]:
    if isinstance(error, botocore.exceptions.ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", "")
        return str(error.response.get("Error", {}).get("Code", "")), str(status)
    text = str(error)
    code, status_match = _CODE.search(text), _STATUS.search(text)
    return code.group(1) if code else "", status_match.group(1) if status_match else ""


def _said(error: Exception) -> str:
    """Return a server's message, and no more of its answer, which may repeat a token."""
    if isinstance(error, botocore.exceptions.ClientError):
        message = str(error.response.get("Error", {}).get("Message", ""))
    else:
        found = _MESSAGE.search(str(error))
        message = found.group(1) if found else _STATUS.split(_first_line(error))[0]
    return " ".join(message.split())[:300] or type(error).__name__


def _first_line(error: Exception) -> str:
    line = str(error).partition("\n")[0].strip()
    return line[:300] or type(error).__name__
