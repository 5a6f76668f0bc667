"""What the ``[s3]`` table adds to requests: encryption, storage classes, owners, tags.

The names are those of boto3's arguments (AWS, "Amazon S3 API Reference").
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from jobtool.errors import StoreSettingsError
from jobtool.md5 import md5_of
from jobtool.names import quote
from jobtool.redact import Unshown
from jobtool.stores.s3.config import MOST_STORAGE_CLASS_FROM_BYTES, S3Config
from jobtool.stores.s3.metadata import base64_of

_KEY_BYTES = 32  # AES-256

#: The arguments that obstore sends, too, if it is configured with them.
_OF_BOTH = frozenset({"ServerSideEncryption", "SSEKMSKeyId", "BucketKeyEnabled", "RequestPayer"})

#: Those that obstore sends only with another.
_WITH_ENCRYPTION = frozenset({"SSEKMSKeyId", "BucketKeyEnabled"})

#: The operations that make an object.
_MAKERS = ("PutObject", "CopyObject", "CreateMultipartUpload")


class Arguments(Unshown, frozen=True, kw_only=True):
    """The arguments of requests, besides those that say which object and what is in it.

    ``always`` are sent with each request that has them, ``new`` with those that make an object.
    ``storage_class`` is that of objects of at least ``storage_class_from_bytes``.
    """

    always: Mapping[str, Any]
    new: Mapping[str, Any]
    storage_class: str | None = None
    storage_class_from_bytes: int = 0

    def __rich_repr__(self) -> list[tuple[str, object]]:
        """Name the arguments, not their values: one is a key."""
        return [("always", list(self.always)), ("new", list(self.new))]

    def of(self, operation: str, members: Collection[str]) -> dict[str, Any]:
        """Return the arguments of a request, which has ``members`` as its possible arguments."""
        found = {name: value for name, value in self.always.items() if name in members}
        if operation in _MAKERS:
            found |= self.new
        if operation == "CreateMultipartUpload":  # its size isn't known, but that of a part is
            found |= self.class_of(MOST_STORAGE_CLASS_FROM_BYTES)
        return found

    def class_of(self, size: int) -> dict[str, str]:
        """Return the argument for the storage class of an object of ``size`` bytes."""
        if self.storage_class is None or size < self.storage_class_from_bytes:
            return {}
        return {"StorageClass": self.storage_class}

    @property
    def only_boto3_writes(self) -> bool:
        """Whether obstore can't make objects with these arguments."""
        is_alone = "ServerSideEncryption" not in self.new and _WITH_ENCRYPTION & self.new.keys()
        is_known = _OF_BOTH.issuperset(self.new) and not is_alone
        return self.storage_class is not None or not is_known

    @property
    def only_boto3(self) -> list[str]:
        """The arguments of all requests that obstore can't send."""
        return sorted(self.always.keys() - _OF_BOTH)

    @property
    def hides_md5(self) -> bool:
        """Whether the ETags of new objects aren't MD5s (AWS, "Object", ETag)."""
        by_kms = str(self.new.get("ServerSideEncryption", "")).startswith("aws:kms")
        return by_kms or "SSECustomerKey" in self.always


def arguments_of(config: S3Config) -> Arguments:
    """Return the arguments that the settings ask for. Raises ``StoreSettingsError``."""
    always: dict[str, Any] = {}
    if config.requester_pays:
        always["RequestPayer"] = "requester"
    if config.expected_bucket_owner:
        always["ExpectedBucketOwner"] = config.expected_bucket_owner
    if config.customer_key_file:
        key = read_customer_key(config.customer_key_file)
        # As botocore sends them: it has encoded its callers' keys before these are added.
        always |= {
            "SSECustomerAlgorithm": "AES256",
            "SSECustomerKey": base64.b64encode(key).decode(),
            "SSECustomerKeyMD5": base64_of(md5_of(key)),
        }
    new: dict[str, Any] = {
        "ACL": config.acl,
        "ServerSideEncryption": config.server_side_encryption,
        "SSEKMSKeyId": config.kms_key_id,
        "BucketKeyEnabled": config.bucket_key,
        "Tagging": urlencode(config.tags) or None,
    }
    if config.object_lock_mode and config.object_lock_days:
        until = datetime.now(UTC) + timedelta(days=config.object_lock_days)
        new |= {"ObjectLockMode": config.object_lock_mode, "ObjectLockRetainUntilDate": until}
    return Arguments(
        always=always,
        new={name: value for name, value in new.items() if value is not None},
        storage_class=config.storage_class,
        storage_class_from_bytes=config.storage_class_from_bytes,
    )


def read_customer_key(path: str) -> bytes:
    """Return the key of SSE-C in a file: 32 bytes, as they are or in base64.

    Raises ``StoreSettingsError`` if there is no such key, or if all users may read the file.
    """
    where = f"[s3] customer_key_file, {quote(path)}"
    try:
        with open(os.path.expanduser(path), "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(1024)
    except OSError as error:
        raise StoreSettingsError(f"{where}: can't be read: {error.strerror}") from None
    if stat.S_IMODE(mode) & 0o077:
        raise StoreSettingsError(
            f"{where}: expected a file that only its owner may use; found mode "
            f"{stat.S_IMODE(mode):04o}. Run: chmod 600 {quote(path)}"
        )
    if len(data) != _KEY_BYTES:
        try:
            data = base64.b64decode(data.strip(), validate=True)
        except (binascii.Error, ValueError):
            data = b""
    if len(data) != _KEY_BYTES:
        raise StoreSettingsError(f"{where}: expected {_KEY_BYTES} bytes, as they are or in base64")
    return data
