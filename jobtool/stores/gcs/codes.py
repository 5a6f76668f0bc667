"""The meanings of the error codes of Google Cloud Storage, with defaults by HTTP status.

The JSON API names a reason (``forbidden``), the XML API a code (``AccessDenied``). Some reasons say
less than their message: ``errors`` puts the code of the XML API in their place.

Sources: Google, "HTTP status and error codes for JSON" and "HTTP status and error codes for XML",
for the requests that jobtool sends.
"""

from __future__ import annotations

from collections.abc import Mapping

from jobtool.errors import (
    CredentialsError,
    DigestMismatchError,
    FileError,
    JobtoolError,
    NotFoundError,
    RefusedError,
    ServerError,
    SourceChangedError,
    SourceError,
    StoreError,
    StoreSettingsError,
    StoreUnavailableError,
    UnreachableError,
)
from jobtool.stores.verdict import Verdict, table_of, verdict_in


class ConditionError(FileError):
    """The condition of a request isn't met: an object exists, or has another generation."""


_LOG_IN = (
    "the login isn't accepted: log in again (gcloud auth application-default login), or renew the "
    "file that GOOGLE_APPLICATION_CREDENTIALS names"
)
_DENIED = "check the roles of this login at the bucket"
_PROJECT = "the project can't be used: check its billing, or ask its owner"
_BUSY = "the service is busy"
_QUOTA = "a quota is used up"
_BUCKET = "there is no such bucket: create it, or correct the URL"
_PAYS = "the requester pays for this bucket: set user_project in the table [gs] of joblist.toml"
_USER_PROJECT = "user_project in the table [gs] of joblist.toml isn't a project that can be billed"
_NOT_THAT_PROJECT = "this login may not bill the project that user_project names"
_NOTHING = "nothing is there"
_OTHER_BYTES = "the service received different bytes than were sent"
_TORN = "the service didn't receive the whole request"
_REQUEST = "the service doesn't accept this request"
_OTHER_VERSION = "an object exists and must not be replaced, or it was changed meanwhile"
_SHORTER = "the object has become shorter"
_HELD = "a hold or a retention policy forbids to replace or delete it"
_LARGE = "it is larger than the service allows"
_KEYS = "it is encrypted with a key that this request doesn't have"
_KMS = "the key in Cloud KMS that encrypts the bucket can't be used: ask its owner"
_CONFLICT = "another request for the same object was under way"
_POLICY = "a policy of the organization forbids it"

_CODES: Mapping[type[JobtoolError], Mapping[str, str]] = {
    CredentialsError: {
        "AuthenticationRequired": _LOG_IN,
        "ExpiredToken": _LOG_IN,
        "InvalidSecurity": _LOG_IN,
        "authError": _LOG_IN,
        "lockedDomainExpired": _LOG_IN,
        "sslRequired": "a login needs https://",
    },
    StoreSettingsError: {
        "UserProjectInvalid": _USER_PROJECT,
        "UserProjectMissing": _PAYS,
        "userProjectInconsistent": _USER_PROJECT,
        "userProjectInvalid": _USER_PROJECT,
        "userProjectMissing": _PAYS,
    },
    StoreUnavailableError: {
        "AccountProblem": _PROJECT,
        "NoSuchBucket": _BUCKET,
        "UserProjectAccountProblem": _PROJECT,
        "accountDisabled": _PROJECT,
        "cloudKmsDecryptionKeyNotFound": _KMS,
        "cloudKmsDisabledKey": _KMS,
        "cloudKmsEncryptionKeyNotFound": _KMS,
        "countryBlocked": "the service can't be used from this country",
        "usageLimits.accessNotConfigured": "the project hasn't enabled the Cloud Storage API",
        "userProjectAccountProblem": _PROJECT,
    },
    UnreachableError: {
        "ServiceUnavailable": _BUSY,
        "SlowDown": _BUSY,
        "backendError": _BUSY,
        "dailyLimitExceeded": _QUOTA,
        "quotaExceeded": _QUOTA,
        "rateLimitExceeded": _BUSY,
        "usageLimits.rateLimitExceeded": _BUSY,
        "userRateLimitExceeded": _BUSY,
    },
    RefusedError: {
        "AccessDenied": _DENIED,
        "InvalidArgument": _REQUEST,
        "UserProjectAccessDenied": _NOT_THAT_PROJECT,
        "badRequest": _REQUEST,
        "forbidden": _DENIED,
        "insufficientPermissions": _DENIED,
        "invalid": _REQUEST,
        "invalidArgument": _REQUEST,
        "invalidParameter": _REQUEST,
        "orgPolicyConstraintFailed": _POLICY,
        "parseError": _REQUEST,
        "required": _REQUEST,
        "userProjectAccessDenied": _NOT_THAT_PROJECT,
    },
    ServerError: {
        "InternalError": "the service failed",
        "gatewayTimeout": "the service failed",
        "internalError": "the service failed",
    },
    StoreError: {
        "IncompleteBody": _TORN,
        "RequestTimeout": _TORN,
        "conflict": _CONFLICT,
        "uploadBrokenConnection": _TORN,
    },
    DigestMismatchError: {"BadDigest": _OTHER_BYTES},
    ConditionError: {"PreconditionFailed": _OTHER_VERSION, "conditionNotMet": _OTHER_VERSION},
    NotFoundError: {"NoSuchKey": _NOTHING, "gone": _NOTHING, "notFound": _NOTHING},
    SourceChangedError: {"InvalidRange": _SHORTER, "requestedRangeNotSatisfiable": _SHORTER},
    SourceError: {
        "CustomerEncryptionKeyIsMissing": _KEYS,
        "resourceIsEncryptedWithCustomerEncryptionKey": _KEYS,
    },
    FileError: {
        "EntityTooLarge": _LARGE,
        "KeyTooLongError": "the name is longer than the service allows",
        "ObjectUnderActiveHold": _HELD,
        "RetentionPolicyNotMet": _HELD,
        "objectUnderActiveHold": _HELD,
        "retentionPolicyNotMet": _HELD,
        "uploadTooLarge": _LARGE,
    },
}

# For an answer without a known code: by the status, else by its class.
_STATUSES: Mapping[type[JobtoolError], Mapping[str, str]] = {
    CredentialsError: {
        "401": _LOG_IN,
        "407": "a proxy on the way wants a password",
        "511": "the network wants a login",
    },
    RefusedError: {"403": _DENIED, "4xx": _REQUEST},
    NotFoundError: {"404": _NOTHING, "410": _NOTHING},
    StoreError: {"408": _TORN, "409": _CONFLICT},
    ConditionError: {"304": _OTHER_VERSION, "412": _OTHER_VERSION},
    FileError: {"413": _LARGE},
    SourceChangedError: {"416": _SHORTER},
    UnreachableError: {"429": _BUSY, "503": _BUSY},
    StoreUnavailableError: {"3xx": "the service is at another address: correct endpoint_url"},
    ServerError: {
        "2xx": "the answer isn't one of Google Cloud Storage",
        "5xx": "the service failed",
    },
}

#: By code, and by status or its class (``4xx``).
CODES = table_of(_CODES)
STATUSES = table_of(_STATUSES)


def verdict_on(code: str, status: str) -> Verdict:
    """Return what an answer means: by its code if known, else by its HTTP status."""
    return verdict_in(CODES, STATUSES, code, status)
