"""The store type of S3. Imports no client before a store is opened."""

from __future__ import annotations

import re
from importlib.util import find_spec

from jobtool.errors import UsageError
from jobtool.names import quote
from jobtool.stores.location import Location
from jobtool.stores.s3.clients import S3Clients
from jobtool.stores.spelling import suggestion
from jobtool.stores.store import Store
from jobtool.stores.storetype import Opening, StoreType

_CUT_ARN = re.compile(r"arn:[^/]*:(?:accesspoint|outpost(?::[^:]+:accesspoint)?)")
_BUCKET_ARN = re.compile(r"arn:aws[^:/]*:s3:::([^:]+)")
_GLOBAL_ARN = re.compile(r"arn:[^:]*:s3::[^:]*:accesspoint:.+")

#: The ARNs that requests can be sent to: those of botocore, with colons as well as slashes.
_ACCESS_POINT = re.compile(
    r"arn:aws[^:]*:(?:s3|s3-object-lambda):[a-z0-9-]*:[0-9]{12}:accesspoint:[A-Za-z0-9.-]{1,63}"
    r"|arn:aws[^:]*:s3-outposts:[a-z0-9-]+:[0-9]{12}"
    r":outpost:[A-Za-z0-9-]{1,63}:accesspoint:[A-Za-z0-9-]{1,63}"
)


def _check(location: Location, url: str) -> None:
    """Refuse an ARN that no request can be sent to, and a key that isn't UTF-8."""
    bucket = location.name
    if _CUT_ARN.fullmatch(bucket):
        raise UsageError(
            f"{quote(url)}: expected a colon, not a slash, before the access point's name, as in "
            f"s3://{quote(bucket)}:NAME/prefix"
        )
    if bucket.lower().startswith("arn:") and not _ACCESS_POINT.fullmatch(bucket):
        if _BUCKET_ARN.fullmatch(bucket):
            rest = url.partition("://")[2]
            raise UsageError(f"{quote(url)}: this is a bucket's ARN{suggestion('s3', rest)}")
        raise UsageError(
            f"{quote(url)}: expected the ARN of an access point, as in "
            f"s3://arn:aws:s3:REGION:ACCOUNT:accesspoint:NAME/PATH; found {quote(bucket)}"
        )
    try:
        location.path.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{quote(url)}: expected UTF-8, as all S3 keys are") from None


def require_signable(location: Location) -> None:
    """Raise ``UsageError`` for a location that the installed boto3 can't sign requests for."""
    if _GLOBAL_ARN.fullmatch(location.name) and find_spec("awscrt") is None:
        raise UsageError(
            f"{quote(location.url)}: a multi-region access point needs signatures that boto3 can't "
            "make without the package awscrt. Install it, or name the bucket or access point of "
            "one region."
        )


def _open(location: Location, opening: Opening) -> Store:
    from jobtool.stores.s3.store import S3Store

    require_signable(location)
    clients = opening.shared
    assert isinstance(clients, S3Clients)
    return S3Store(
        clients.access(opening.role, location.url),
        location.name,
        location.path,
        read_back=opening.setup.read_back,
    )


#: Signatures are refused after 15 minutes (AWS, "Authenticating Requests", RequestTimeTooSkewed).
_CLOCK_TOLERANCE_SECONDS = 15 * 60.0

STORE_TYPE = StoreType(
    open=_open,
    share=S3Clients,
    check=_check,
    root="bucket",
    service="S3",
    clock_tolerance_seconds=_CLOCK_TOLERANCE_SECONDS,
)
