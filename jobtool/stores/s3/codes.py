"""The meanings of the error codes of S3 servers, with defaults by HTTP status.

Sources: AWS, "Error responses" in the Amazon S3 API reference, for the requests that jobtool sends
(list, head, get, put, the requests of multipart uploads, delete); ``rgw_common.cc`` of Ceph;
``api-errors.go`` of MinIO; Google, "HTTP status and error codes for XML".
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
    StoreUnavailableError,
    UnreachableError,
)
from jobtool.stores.verdict import Verdict, table_of, verdict_in


class ExistsError(FileError):
    """A write must not replace anything, and an object exists."""


class PartsLostError(StoreError):
    """A server can't complete an upload because it doesn't hold all parts."""


class ArchivedError(SourceError):
    """An object can't be read before it is restored from an archive."""


class RegionError(StoreUnavailableError):
    """A bucket is in another region, or at another endpoint, than the request's."""


_LOG_IN = "the credentials have expired: log in again"
_KEY = "check the access key, and the endpoint that it belongs to"
_CLOCK = "check this machine's clock"
_DENIED = "check what these credentials are allowed to do"
_ACCOUNT = "the account can't use this store: ask its owner"
_FULL = "the store is full: free space, or ask its operator"
_QUOTA = "the quota is used up: free space, or ask for a larger one"
_BUSY = "the server is busy"
_RATE = "too many requests at a time"
_REGION = "the bucket is in another region"
_ENDPOINT = "the bucket is at another endpoint"
_KMS = "the key that encrypts this object can't be used: ask the key's administrator"
_TORN = "the server didn't receive the whole request"
_OTHER_BYTES = "the server received different bytes than were sent"
_ARCHIVED = (
    "it is archived: restore it first, or set [s3] restore_days in joblist.toml to have workers "
    "ask for that"
)
_NAME = "the server can't hold an object of this name"
_TAKEN = "an existing object or folder conflicts with this name"
_REQUEST = "the server doesn't accept this request"
_ADDRESS = "correct the bucket's name or the endpoint"

_CODES: Mapping[type[JobtoolError], Mapping[str, str]] = {
    CredentialsError: {
        "AccountProblem": _ACCOUNT,
        "AllAccessDisabled": _ACCOUNT,
        "CredentialsNotSupported": "the endpoint takes no credentials: check it",
        "ExpiredToken": _LOG_IN,
        "ExpiredTokenException": _LOG_IN,
        "InvalidAccessKeyId": _KEY,
        "InvalidClientTokenId": _KEY,
        "InvalidPayer": _ACCOUNT,
        "InvalidSecurity": _KEY,
        "InvalidSessionException": _LOG_IN,
        "InvalidSignature": "check the secret key and the endpoint",
        "InvalidToken": "the session token isn't valid: log in again",
        "InvalidTokenId": "the session token isn't valid: log in again",
        "MissingAuthenticationToken": "the endpoint wants credentials: log in, or name a profile",
        "MissingSecurityHeader": "the endpoint wants credentials: log in, or name a profile",
        "NotDeviceOwnerError": _KEY,
        "NotSignedUp": _ACCOUNT,
        "RequestExpired": f"log in again, and {_CLOCK}",
        "RequestTimeTooSkewed": _CLOCK,
        "SignatureDoesNotMatch": "check the secret key and the endpoint",
        "TokenCodeInvalidError": _LOG_IN,
        "TokenRefreshRequired": _LOG_IN,
        "UnauthorizedAccess": _ACCOUNT,
        "UnauthorizedAccessError": _ACCOUNT,
        "UnsupportedSignature": "the endpoint doesn't know these credentials: check both",
        "UserSuspended": _ACCOUNT,
    },
    StoreUnavailableError: {
        "AccountQuotaExceeded": _QUOTA,
        "BucketQuotaExceeded": _QUOTA,
        "DeviceNotActiveError": "the device that holds the bucket isn't active",
        "EndpointNotFound": _ADDRESS,
        "InsufficientCapacity": _FULL,
        "InsufficientQuota": _QUOTA,
        "InsufficientStorage": _FULL,
        "InvalidAccessPoint": _ADDRESS,
        "InvalidAccessPointAliasError": _ADDRESS,
        "InvalidBucketName": _ADDRESS,
        "InvalidBucketState": "the bucket's settings don't allow this request",
        "InvalidHostHeader": "check the endpoint and [s3] addressing_style",
        "NoSuchAccessPoint": _ADDRESS,
        "NoSuchBucket": "there is no such bucket: create it, or correct the URL",
        "NoSuchMultiRegionAccessPoint": _ADDRESS,
        "QuotaExceeded": _QUOTA,
        "StorageFull": _FULL,
        "StorageQuotaExceeded": _QUOTA,
        "XMinioAdminBucketQuotaExceeded": _QUOTA,
        "XMinioInsecureClientRequest": "the endpoint speaks TLS only: write https://",
        "XMinioStorageFull": _FULL,
        "XRustfsQuotaExceeded": _QUOTA,
    },
    RegionError: {
        "AuthorizationHeaderMalformed": _REGION,
        "AuthorizationQueryParametersError": _REGION,
        "IllegalLocationConstraint": _REGION,
        "IllegalLocationConstraintException": _REGION,
        "IncorrectEndpoint": _ENDPOINT,
        "InvalidLocationConstraint": _REGION,
        "InvalidRegion": _REGION,
        "PermanentRedirect": _ENDPOINT,
        "PermanentRedirectControlError": _ENDPOINT,
        "Redirect": _ENDPOINT,
        "TemporaryRedirect": _ENDPOINT,
    },
    UnreachableError: {
        "BandwidthLimitExceeded": _RATE,
        "Busy": _BUSY,
        "EC2ThrottledException": _RATE,
        "KMS.ThrottlingException": _RATE,
        "LimitExceededException": _RATE,
        "PriorRequestNotComplete": _BUSY,
        "ProvisionedThroughputExceededException": _RATE,
        "RequestLimitExceeded": _RATE,
        "RequestThrottled": _RATE,
        "RequestThrottledException": _RATE,
        "ServiceUnavailable": _BUSY,
        "SlowDown": _RATE,
        "SlowDownRead": _RATE,
        "SlowDownWrite": _RATE,
        "503 SlowDown": _RATE,
        "ThrottledException": _RATE,
        "Throttling": _RATE,
        "ThrottlingException": _RATE,
        "TooManyRequests": _RATE,
        "TooManyRequestsException": _RATE,
        "TransactionInProgressException": _BUSY,
        "XMinioBackendDown": _BUSY,
        "XMinioServerNotInitialized": _BUSY,
    },
    RefusedError: {
        "AccessControlListNotSupported": _REQUEST,
        "AccessDenied": _DENIED,
        "Forbidden": _DENIED,
        "InvalidArgument": _REQUEST,
        "InvalidEncryptionAlgorithmError": _REQUEST,
        "InvalidHttpMethod": _REQUEST,
        "InvalidRequest": _REQUEST,
        "InvalidStorageClass": _REQUEST,
        "KMS.DisabledException": _KMS,
        "KMS.InvalidKeyUsageException": _KMS,
        "KMS.InvalidStateException": _KMS,
        "KMS.KMSINvalidStateException": _KMS,
        "KMS.KMSInvalidStateException": _KMS,
        "KMS.NotFoundException": _KMS,
        "MethodNotAllowed": _REQUEST,
        "MissingContentLength": _REQUEST,
        "NotImplemented": "the server can't do this",
        "RequestHeaderSectionTooLarge": _REQUEST,
        "UnexpectedContent": _REQUEST,
        "UnexpectedIPError": "requests from this address are refused",
        "UnsupportedArgument": _REQUEST,
    },
    ServerError: {
        "InternalError": "the server failed",
        "InternalFailure": "the server failed",
        "UnknownError": "the server failed",
        "XMinioReadQuorum": "too few of the server's disks answer",
        "XMinioWriteQuorum": "too few of the server's disks answer",
    },
    StoreError: {
        "ConditionalRequestConflict": "another request for the same object was under way",
        "ConnectionClosedByRequester": _TORN,
        "GlacierExpeditedRetrievalNotAvailable": "no object is restored at once now",
        "IncompleteBody": _TORN,
        "MalformedXML": _TORN,
        "MissingRequestBodyError": _TORN,
        "OperationAborted": "another request for the same object was under way",
        "RequestTimeout": _TORN,
        "ResponseInterrupted": _TORN,
    },
    PartsLostError: {"InvalidPart": "the server doesn't hold all parts of the upload"},
    DigestMismatchError: {
        "BadDigest": _OTHER_BYTES,
        "ChecksumMismatch": _OTHER_BYTES,
        "InvalidDigest": _OTHER_BYTES,
        "XAmzContentChecksumMismatch": _OTHER_BYTES,
        "XAmzContentSHA256Mismatch": _OTHER_BYTES,
    },
    ExistsError: {"PreconditionFailed": "an object exists and must not be replaced"},
    NotFoundError: {
        "NoSuchKey": "nothing is there",
        "NoSuchUpload": "the server has no such upload",
        "NoSuchVersion": "nothing is there",
    },
    SourceChangedError: {"InvalidRange": "the object has become shorter"},
    ArchivedError: {
        "InvalidObjectState": _ARCHIVED,
        "ObjectNotInActiveTierError": _ARCHIVED,
        "RestoreAlreadyInProgress": "it is archived and being restored: try again later",
    },
    SourceError: {
        "XMinioObjectTampered": "the server says that the object is damaged",
    },
    FileError: {
        "EntityTooLarge": "it is larger than the server allows",
        "EntityTooSmall": "a part is smaller than the server allows",
        "InlineDataTooLarge": "it is larger than the server allows",
        "InvalidPartOrder": _REQUEST,
        "InvalidURI": _NAME,
        "KeyTooLong": _NAME,
        "KeyTooLongError": _NAME,
        "MaxMessageLengthExceeded": "it is larger than the server allows",
        "MetadataTooLarge": "it has more metadata than the server allows",
        "XMinioInvalidObjectName": _NAME,
        "XMinioInvalidResourceName": _NAME,
        "XMinioObjectExistsAsDirectory": _TAKEN,
        "XMinioParentIsObject": _TAKEN,
    },
}

# For an answer without a known code: by the status, else by its class.
_STATUSES: Mapping[type[JobtoolError], Mapping[str, str]] = {
    RegionError: {"3xx": _ENDPOINT},
    CredentialsError: {
        "401": _KEY,
        "407": "a proxy on the way wants a password",
        "511": "the network wants a login",
    },
    RefusedError: {"403": _DENIED, "4xx": _REQUEST, "501": "the server can't do this"},
    NotFoundError: {"404": "nothing is there", "410": "nothing is there"},
    StoreError: {
        "408": _TORN,
        "409": "another request for the same object was under way",
        "425": _BUSY,
    },
    ExistsError: {"412": "an object exists and must not be replaced"},
    FileError: {"413": "it is larger than the server allows", "414": _NAME},
    SourceChangedError: {"416": "the object has become shorter"},
    UnreachableError: {"429": _RATE, "503": _BUSY, "509": _RATE},
    StoreUnavailableError: {"507": _FULL},
    ServerError: {
        "2xx": "the answer isn't an S3 answer",
        "5xx": "the server failed",
    },
}


#: By code, and by status or its class (``4xx``).
CODES = table_of(_CODES)
STATUSES = table_of(_STATUSES)


def verdict_on(code: str, status: str) -> Verdict:
    """Return what an answer means: by its code if known, else by its HTTP status.

    botocore uses the status as the code of an answer without a body.
    """
    return verdict_in(CODES, STATUSES, code, status or code)
