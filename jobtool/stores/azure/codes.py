"""The meanings of the error codes of Azure Blob Storage, with defaults by HTTP status.

Sources: Microsoft, "Common REST API error codes", "Blob Storage error codes" and "Azure Data Lake
Storage Gen2 error codes", for the requests that jobtool sends; Azurite's ``StorageErrorFactory``.
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
    """A write must not replace anything, and a blob exists."""


class ArchivedError(SourceError):
    """A blob can't be read before it is moved to an online tier."""


class BlocksLostError(StoreError):
    """The service can't commit an upload because it doesn't hold all blocks."""


_LOG_IN = "log in again (az login), or renew the key or SAS token in the environment"
_KEY = "check the account's name and its key or SAS token in the environment"
_DENIED = "check what this login, key or SAS token is allowed to do"
_ACCOUNT = "the account can't be used: ask its owner"
_NETWORK = "the account doesn't take requests from here: ask its owner about its network rules"
_BUSY = "the service is busy"
_FULL = "the account is full: free space, or ask its owner"
_CONTAINER = "there is no such container: create it, or correct the URL"
_TORN = "the service didn't receive the whole request"
_OTHER_BYTES = "the service received different bytes than were sent"
_ARCHIVED = (
    "it is archived: set its tier to Hot or Cool and wait until it is rehydrated, or set "
    "rehydrate_tier in joblist.toml to have workers ask for that"
)
_NAME = "the service can't hold a blob of this name"
_TAKEN = "an existing blob or folder conflicts with this name"
_LEASE = "another program holds a lease on the blob: wait for it, or break the lease"
_IMMUTABLE = "a policy of the container forbids to replace or delete it"
_KIND = "it is a page or append blob, which can't be replaced in this way: delete it first"
_REQUEST = "the service doesn't accept this request"
_LARGE = "it is larger than the service allows"
_BLOCKS = "another program has sent blocks of another kind: they end after a week, or when it does"
_KEYS = "it is encrypted with a key that this request can't use"

_CODES: Mapping[type[JobtoolError], Mapping[str, str]] = {
    CredentialsError: {
        "AccountIsDisabled": _ACCOUNT,
        "AuthenticationFailed": f"{_KEY}, and this machine's clock",
        "AuthorizationProtocolMismatch": "the SAS token is for https only",
        "AuthorizationServiceMismatch": "the SAS token isn't for blobs",
        "InvalidAuthenticationInfo": _LOG_IN,
        "KeyBasedAuthenticationNotPermitted": "the account takes no keys: log in with az login",
        "NoAuthenticationInformation": "the container isn't public: log in, or set a key or token",
        "PublicAccessNotPermitted": "the container isn't public: log in, or set a key or token",
    },
    StoreUnavailableError: {
        "AccountNotFound": "there is no such account: correct its name",
        "ContainerDisabled": _ACCOUNT,
        "ContainerNotFound": _CONTAINER,
        "FeatureVersionMismatch": "the account doesn't support this version of the API",
        "FilesystemNotFound": _CONTAINER,
        "InsufficientStorage": _FULL,
        "InvalidResourceName": "correct the container's name",
    },
    UnreachableError: {
        "AccountBeingCreated": _BUSY,
        "ContainerBeingDeleted": "the container is being deleted",
        "FilesystemBeingDeleted": "the container is being deleted",
        "OperationTimedOut": _BUSY,
        "ServerBusy": _BUSY,
        "TooManyRequests": _BUSY,
    },
    RefusedError: {
        "AuthorizationFailure": f"{_DENIED}; {_NETWORK}",
        "AuthorizationPermissionMismatch": _DENIED,
        "AuthorizationResourceTypeMismatch": _DENIED,
        "AuthorizationSourceIPMismatch": _NETWORK,
        "CannotVerifyCopySource": "the service can't read what it should copy",
        "InsufficientAccountPermissions": _DENIED,
        "InvalidHeaderValue": _REQUEST,
        "InvalidInput": _REQUEST,
        "InvalidQueryParameterValue": _REQUEST,
        "MissingRequiredHeader": _REQUEST,
        "OutOfRangeQueryParameterValue": _REQUEST,
        "UnsupportedHeader": _REQUEST,
        "UnsupportedHttpVerb": _REQUEST,
        "UnsupportedQueryParameter": _REQUEST,
        "UnsupportedXmlNode": _REQUEST,
    },
    ServerError: {"InternalError": "the service failed"},
    StoreError: {
        "IncompleteBody": _TORN,
        "InvalidXmlDocument": _TORN,
        "PathConflictDuringOperation": "another request for the same path was under way",
        "PendingCopyOperation": "it is being copied",
        "RequestTimeout": _TORN,
    },
    BlocksLostError: {"InvalidBlockList": "the service doesn't hold all blocks of the upload"},
    DigestMismatchError: {
        "Crc64Mismatch": _OTHER_BYTES,
        "InvalidMd5": _OTHER_BYTES,
        "Md5Mismatch": _OTHER_BYTES,
    },
    ExistsError: {
        "BlobAlreadyExists": "a blob exists and must not be replaced",
        "ConditionNotMet": "a blob exists and must not be replaced",
        "PathAlreadyExists": "a blob exists and must not be replaced",
        "ResourceAlreadyExists": "a blob exists and must not be replaced",
        "TargetConditionNotMet": "a blob exists and must not be replaced",
        "UnauthorizedBlobOverwrite": "a blob exists, and the SAS token may only create new ones",
    },
    NotFoundError: {
        "BlobNotFound": "nothing is there",
        "PathNotFound": "nothing is there",
        "ResourceNotFound": "nothing is there",
    },
    SourceChangedError: {"InvalidRange": "the blob has become shorter"},
    ArchivedError: {
        "BlobArchived": _ARCHIVED,
        "BlobBeingRehydrated": "it is archived and being rehydrated: try again later",
    },
    SourceError: {
        "BlobUsesCustomerSpecifiedEncryption": _KEYS,
    },
    FileError: {
        "BlobImmutableDueToPolicy": _IMMUTABLE,
        "BlobTierInadequateForContentLength": _LARGE,
        "BlockCountExceedsLimit": "more than 100,000 blocks of unfinished uploads are there",
        "BlockListTooLong": "it has more than 50,000 blocks",
        "InvalidBlobOrBlock": _BLOCKS,
        "InvalidBlobType": _KIND,
        "InvalidBlockId": _BLOCKS,
        "InvalidMetadata": "the service doesn't accept its metadata",
        "InvalidUri": _NAME,
        "LeaseAlreadyPresent": _LEASE,
        "LeaseIdMissing": _LEASE,
        "LeaseLost": _LEASE,
        "MetadataTooLarge": "it has more metadata than the service allows",
        "OutOfRangeInput": _NAME,
        "ParentNotFound": "a folder above it is missing",
        "PathConflict": _TAKEN,
        "PathIsTooDeep": _NAME,
        "RequestBodyTooLarge": _LARGE,
        "RequestUrlFailedToParse": _NAME,
        "ResourceTypeMismatch": _TAKEN,
        "SnapshotsPresent": "it has snapshots: delete them first",
    },
}

# For an answer without a known code: by the status, else by its class.
_STATUSES: Mapping[type[JobtoolError], Mapping[str, str]] = {
    CredentialsError: {
        "401": _KEY,
        "407": "a proxy on the way wants a password",
        "511": "the network wants a login",
    },
    RefusedError: {"403": _DENIED, "4xx": _REQUEST, "501": "the service can't do this"},
    NotFoundError: {"404": "nothing is there", "410": "nothing is there"},
    StoreError: {"408": _TORN, "409": "another request for the same blob was under way"},
    ExistsError: {"412": "a blob exists and must not be replaced"},
    FileError: {"413": _LARGE, "414": _NAME},
    SourceChangedError: {"416": "the blob has become shorter"},
    UnreachableError: {"429": _BUSY, "503": _BUSY},
    StoreUnavailableError: {"507": _FULL, "3xx": "the account is at another address: correct it"},
    ServerError: {
        "2xx": "the answer isn't one of Azure",
        "5xx": "the service failed",
    },
}


#: By code, and by status or its class (``4xx``).
CODES = table_of(_CODES)
STATUSES = table_of(_STATUSES)


def verdict_on(code: str, status: str) -> Verdict:
    """Return what an answer means: by its code if known, else by its HTTP status."""
    return verdict_in(CODES, STATUSES, code, status)
