"""obstore's view of a bucket, configured like boto3, or the reason why that is impossible.

obstore reads ``AWS_…`` from the environment and its HTTP library reads proxies, each by its own
rules. So every setting is passed explicitly. If obstore can't be configured like boto3, boto3
handles the bucket. Source: object_store 0.14, ``aws/builder.rs`` and ``client/mod.rs``.
"""

from __future__ import annotations

import os
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import obstore
import obstore.exceptions

from jobtool.stores.credentials.holder import CredentialHolder
from jobtool.stores.s3.connection import Address, Connection

if TYPE_CHECKING:
    from obstore.store import S3Store as ObstoreBucket

#: Settings that obstore reads from the environment and no option overrides.
_NOT_TO_BE_UNTOLD = frozenset(
    {
        "aws_checksum_algorithm",
        "aws_server_side_encryption",
        "aws_sse_kms_key_id",
        "aws_sse_bucket_key_enabled",
        "aws_sse_customer_key_base64",
    }
)

_UNTRUSTED = re.compile(r"invalid peer certificate|UnknownIssuer|CaUsedAsEndEntity")

#: A proxy that no request goes through: without any, reqwest reads the environment.
_NO_PROXY = {"proxy_url": "http://127.0.0.1:9", "proxy_excludes": "*,0.0.0.0/0,::/0"}


def why_not(address: Address, connection: Connection) -> str | None:
    """Return why obstore can't be configured like boto3, or None if it can."""
    if connection.is_signed != address.is_signed:
        return "boto3 decides by itself whether it signs"
    if address.is_signed and (address.service != "s3" or not _is_region(address.region)):
        return "it signs with a kind of signature that obstore doesn't know"
    extra = address.extra_headers - {"x-amz-request-payer"}  # which obstore sends, too
    if extra:
        return f"it sends {', '.join(sorted(extra))}"
    if connection.arguments.only_boto3:
        return f"it sends {', '.join(connection.arguments.only_boto3)}"
    if not address.url.startswith(("http://", "https://")):
        return "its URL isn't known"
    told = sorted(
        name for name in os.environ if name.startswith("AWS_") and name.lower() in _NOT_TO_BE_UNTOLD
    )
    if told:
        return f"only obstore would use {', '.join(told)}"
    if connection.proxy is not None:
        proxy = urlsplit(connection.proxy)
        if proxy.scheme != "http" or bool(proxy.username) != bool(proxy.password):
            return "obstore and boto3 connect to such a proxy differently"
    return None


def _is_region(region: str | None) -> bool:
    return bool(region) and region != "*"


def open_bucket(
    name: str, address: Address, connection: Connection, holder: CredentialHolder
) -> ObstoreBucket:
    """Return obstore's view of a bucket at an address. It resolves nothing itself."""
    from obstore.store import S3Store as ObstoreBucket

    is_plain = address.url.startswith("http:")
    options: dict[str, Any] = {
        "allow_http": is_plain,
        "connect_timeout": timedelta(seconds=10),
        "read_timeout": timedelta(seconds=connection.timeout_seconds),
        "timeout": timedelta(minutes=10),
        # To load them takes 20 ms. Objects that a plain server redirects to https aren't read then.
        "disable_system_certificates": True,
    }
    options |= {"proxy_url": connection.proxy} if connection.proxy else _NO_PROXY
    if not is_plain:
        with open(connection.trusted_path, "rb") as file:
            options["root_certificate"] = file.read()
    new = connection.arguments.new
    encryption = {
        ours: new[name]
        for ours, name in (
            ("server_side_encryption", "ServerSideEncryption"),
            ("sse_kms_key_id", "SSEKMSKeyId"),
            ("sse_bucket_key_enabled", "BucketKeyEnabled"),
        )
        if name in new
    }
    return ObstoreBucket(
        name,
        # Both, since either may be set in the environment, and the second has priority.
        endpoint=address.url,
        aws_endpoint_url_s3=address.url,
        virtual_hosted_style_request=True,  # the URL is the bucket's: only the key is added
        region=address.region or "us-east-1",
        skip_signature=not address.is_signed,
        unsigned_payload=False,
        request_payer="RequestPayer" in connection.arguments.always,
        s3_express=False,
        disable_tagging=False,
        conditional_put="etag",
        copy_if_not_exists="multipart",
        credential_provider=holder.for_obstore,  # type: ignore[arg-type] # unused if unsigned
        client_options=options,  # type: ignore[arg-type]
        # These bridge a dropped connection. The transfer retries on top of them.
        retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=30)},
        **encryption,
    )


def is_trusted(bucket: ObstoreBucket, key: str) -> bool | None:
    """Return True if obstore trusts the certificate of a server that boto3 trusts.

    OpenSSL accepts a server's certificate without an authority's above it, and rustls doesn't.
    Returns None if the server gave no answer.
    """
    try:
        obstore.head(bucket, key)
    except (obstore.exceptions.BaseError, FileNotFoundError, ValueError) as error:
        said = f"{error} {error.__cause__}"
        if _UNTRUSTED.search(said):
            return False
        return True if isinstance(error, FileNotFoundError) or "status code" in said else None
    return True
