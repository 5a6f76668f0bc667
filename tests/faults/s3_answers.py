"""What S3 servers may answer, and what that must mean: written independently of jobtool.

The codes are those that AWS documents for jobtool's requests, each with its status, and some of
compatible servers.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Meaning(StrEnum):
    """What an answer must mean, for any request."""

    CREDENTIALS = "the store's: nothing goes on with these credentials"
    EXPIRED = "the store's, but with new credentials all goes on"
    STORE = "the store's: bucket, quota, region"
    REGION = "the store's: the bucket is elsewhere"
    BUSY = "the store's, and it may pass"
    UNCERTAIN = "this file's or the store's"
    FAILS = "this file's or the store's, and it may pass"
    PASSES = "this file's, and it may pass"
    FILE = "this file's"
    ABSENT = "there is nothing"


@dataclass(frozen=True, slots=True)
class Said:
    """An answer: its code ("" for none), its HTTP status, what it must mean."""

    code: str
    status: int
    meaning: Meaning

    def __str__(self) -> str:
        return f"{self.status} {self.code}".strip()


_BY_MEANING: dict[Meaning, dict[int, str]] = {
    Meaning.EXPIRED: {400: "ExpiredToken TokenRefreshRequired", 403: "ExpiredTokenException"},
    Meaning.CREDENTIALS: {
        400: (
            "CredentialsNotSupported InvalidSessionException InvalidToken MissingSecurityHeader"
            " NotDeviceOwnerError RequestExpired TokenCodeInvalidError UnsupportedSignature"
        ),
        403: (
            "AccountProblem AllAccessDisabled InvalidAccessKeyId InvalidClientTokenId InvalidPayer"
            " InvalidSecurity InvalidSignature InvalidTokenId MissingAuthenticationToken"
            " NotSignedUp RequestTimeTooSkewed SignatureDoesNotMatch UnauthorizedAccess"
            " UnauthorizedAccessError UserSuspended"
        ),
    },
    Meaning.STORE: {
        400: (
            "BucketQuotaExceeded DeviceNotActiveError EndpointNotFound InvalidAccessPoint"
            " InvalidAccessPointAliasError InvalidBucketName InvalidHostHeader"
            " XMinioAdminBucketQuotaExceeded XMinioInsecureClientRequest XRustfsQuotaExceeded"
        ),
        403: "AccountQuotaExceeded InsufficientQuota QuotaExceeded StorageQuotaExceeded",
        404: "NoSuchAccessPoint NoSuchBucket NoSuchMultiRegionAccessPoint",
        409: "InvalidBucketState",
        507: "InsufficientCapacity InsufficientStorage StorageFull XMinioStorageFull",
    },
    Meaning.REGION: {
        301: "PermanentRedirect PermanentRedirectControlError",
        307: "Redirect TemporaryRedirect",
        400: (
            "AuthorizationHeaderMalformed AuthorizationQueryParametersError"
            " IllegalLocationConstraint IllegalLocationConstraintException IncorrectEndpoint"
            " InvalidLocationConstraint InvalidRegion"
        ),
    },
    Meaning.BUSY: {
        400: (
            "EC2ThrottledException KMS.ThrottlingException LimitExceededException"
            " PriorRequestNotComplete ProvisionedThroughputExceededException RequestLimitExceeded"
            " RequestThrottled RequestThrottledException ThrottledException Throttling"
            " ThrottlingException TransactionInProgressException"
        ),
        429: "TooManyRequests TooManyRequestsException",
        503: (
            "Busy ServiceUnavailable SlowDown SlowDownRead SlowDownWrite XMinioBackendDown"
            " XMinioServerNotInitialized"
        ),
        509: "BandwidthLimitExceeded",
    },
    Meaning.UNCERTAIN: {
        400: (
            "AccessControlListNotSupported InvalidArgument InvalidEncryptionAlgorithmError"
            " InvalidHttpMethod InvalidRequest InvalidStorageClass KMS.DisabledException"
            " KMS.InvalidKeyUsageException KMS.InvalidStateException KMS.KMSINvalidStateException"
            " KMS.KMSInvalidStateException KMS.NotFoundException RequestHeaderSectionTooLarge"
            " UnexpectedContent UnsupportedArgument"
        ),
        403: "AccessDenied Forbidden UnexpectedIPError",
        405: "MethodNotAllowed",
        411: "MissingContentLength",
        501: "NotImplemented",
    },
    Meaning.FAILS: {
        500: "InternalError InternalFailure UnknownError",
        503: "XMinioReadQuorum XMinioWriteQuorum",
    },
    Meaning.PASSES: {
        400: (
            "BadDigest ChecksumMismatch ConnectionClosedByRequester IncompleteBody InvalidDigest"
            " InvalidPart MalformedXML MissingRequestBodyError RequestTimeout ResponseInterrupted"
            " XAmzContentChecksumMismatch XAmzContentSHA256Mismatch"
        ),
        409: "ConditionalRequestConflict OperationAborted",
        503: "GlacierExpeditedRetrievalNotAvailable",
        416: "InvalidRange",
    },
    Meaning.FILE: {
        400: (
            "EntityTooLarge EntityTooSmall InlineDataTooLarge InvalidPartOrder InvalidURI"
            " KeyTooLong KeyTooLongError MaxMessageLengthExceeded MetadataTooLarge"
            " XMinioInvalidObjectName XMinioInvalidResourceName XMinioObjectTampered"
            " XMinioParentIsObject"
        ),
        403: "InvalidObjectState ObjectNotInActiveTierError",
        409: "RestoreAlreadyInProgress XMinioObjectExistsAsDirectory",
        412: "PreconditionFailed",
    },
    Meaning.ABSENT: {404: "NoSuchKey NoSuchUpload NoSuchVersion"},
}

ANSWERS = [
    Said(code, status, meaning)
    for meaning, codes in _BY_MEANING.items()
    for status, names in codes.items()
    for code in names.split()
] + [Said("503 SlowDown", 503, Meaning.BUSY)]

#: One answer of each meaning and status.
ONE_OF_EACH = list({(said.meaning, said.status): said for said in ANSWERS}.values())

#: The meaning of an answer without a body, such as every answer to HEAD, and some of proxies.
BY_STATUS = {
    301: Meaning.REGION,
    307: Meaning.REGION,
    400: Meaning.UNCERTAIN,
    401: Meaning.CREDENTIALS,
    403: Meaning.UNCERTAIN,
    404: Meaning.ABSENT,
    405: Meaning.UNCERTAIN,
    407: Meaning.CREDENTIALS,
    408: Meaning.PASSES,
    409: Meaning.PASSES,
    411: Meaning.UNCERTAIN,
    412: Meaning.FILE,
    413: Meaning.FILE,
    414: Meaning.FILE,
    416: Meaning.PASSES,
    418: Meaning.UNCERTAIN,
    429: Meaning.BUSY,
    500: Meaning.FAILS,
    501: Meaning.UNCERTAIN,
    502: Meaning.FAILS,
    503: Meaning.BUSY,
    504: Meaning.FAILS,
    507: Meaning.STORE,
    509: Meaning.BUSY,
}
BARE = [Said("", status, meaning) for status, meaning in BY_STATUS.items()]

#: Undocumented codes: the status decides.
UNKNOWN = [
    Said("SomethingNew", status, BY_STATUS[status])
    for status in (301, 400, 401, 403, 404, 409, 418, 500, 503)
]
