"""Access to objects by the cheaper of two clients.

There are two clients on purpose. boto3 lists, manages multipart uploads and sends parts. obstore
reads and writes whole objects, with a tenth of boto3's CPU time for each. Both are made from one
resolved connection and sign with the same credentials. boto3 handles what obstore can't: some keys
that S3 allows, and some buckets (``S3Access.is_for_obstore``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import obstore
import obstore.exceptions

from jobtool.errors import NotFoundError, RefusedError, ServerError, SourceChangedError
from jobtool.names import quote
from jobtool.stores.s3.access import S3Access
from jobtool.stores.s3.body import body_of
from jobtool.stores.s3.metadata import (
    Told,
    attributes_of,
    in_whole_seconds,
    time_of,
    told_by_boto3,
)
from jobtool.stores.s3.requests import Requests
from jobtool.stores.s3.sha256 import FIELD
from jobtool.stores.store import Content, Entry, within_64_bits

# What obstore's paths would change: control characters, empty or dot segments, a slash at either
# end.
_NOT_FOR_OBSTORE = re.compile(r"[\x00-\x1f\x7f]|(?:^|/)\.{0,2}(?:/|$)")

# obstore's error for an object whose metadata or headers aren't ASCII.
_UNREADABLE_HEADER = "contained non UTF-8 characters"


_SECOND_NS = 1_000_000_000


class Objects:
    """Reads and writes the objects of a bucket. Errors name an object by ``path``."""

    def __init__(self, access: S3Access, bucket: str, requests: Requests) -> None:
        self._access = access
        self._client = access.client
        self._bucket = bucket
        self._requests = requests

    def read(self, entry: Entry, key: str, offset: int, length: int) -> Content:
        """Return bytes of an object by one ranged GET. Raises ``SourceChangedError``."""
        by_boto3 = length == 0 or (self._access.is_lax_about_ranges and length != entry.size)
        if by_boto3 or not self._is_for_obstore(entry.path, key):
            data, size, modified, told = self._read_by_boto3(entry.path, key, offset, length)
        else:
            data, size, modified, told = self._requests.call(
                entry.path, lambda: self._read_by_obstore(entry, key, offset, length)
            )
        if size != entry.size or not self.has_listed_time(entry, key, modified, told):
            raise SourceChangedError(
                f"{quote(self._requests.url_of(entry.path))} was changed meanwhile: listed with "
                f"{entry.size} bytes, now {size} bytes, or with another time"
            )
        if len(data) != length:
            raise ServerError(
                f"{quote(self._requests.url_of(entry.path))}: expected {length} bytes; "
                f"received {len(data)}"
            )
        return Content(data=data, attributes=attributes_of(told, entry.mtime_ns))

    def has_listed_time(
        self, entry: Entry, key: str, modified: datetime, told: dict[str, str]
    ) -> bool:
        """Return True if an object has the time in the listing, or is listed with it again.

        rclone's server lists the time in an object's metadata, but answers GET with that of PUT.
        Once this is known of a server, no further listing is made.
        """
        if in_whole_seconds(modified) == entry.mtime_ns:
            return True
        in_metadata_ns = time_of(told)
        is_in_metadata = (
            in_metadata_ns is not None
            and within_64_bits(in_metadata_ns) // _SECOND_NS * _SECOND_NS == entry.mtime_ns
        )
        if is_in_metadata and self._access.lists_times_of_metadata:
            return True
        is_listed = self._still_lists(entry, key)
        if is_listed and is_in_metadata:
            self._access.lists_times_of_metadata = True
        return is_listed

    def _still_lists(self, entry: Entry, key: str) -> bool:
        pages = self._requests.pages(
            entry.path,
            lambda **more: self._client.list_objects_v2(
                Bucket=self._bucket, Prefix=key, MaxKeys=1, **more
            ),
            {"ContinuationToken": "NextContinuationToken"},
        )
        found = (
            (item["Key"], item["Size"], in_whole_seconds(item["LastModified"]))
            for page in pages
            for item in page.get("Contents", ())
        )
        return next(found, None) == (key, entry.size, entry.mtime_ns)  # the key sorts first

    def _is_for_obstore(self, path: str, key: str) -> bool:
        """Return True if obstore handles this key as boto3 does."""
        return not _NOT_FOR_OBSTORE.search(key) and self._requests.call(
            path, lambda: self._access.is_for_obstore(self._bucket)
        )

    def _read_by_obstore(
        self, entry: Entry, key: str, offset: int, length: int
    ) -> tuple[bytes | memoryview, int, datetime, dict[str, str]]:
        try:
            with self._access.obstore(self._bucket) as bucket:
                if length == entry.size:
                    result = obstore.get(bucket, key)
                else:
                    result = obstore.get(bucket, key, options={"range": (offset, offset + length)})
        except obstore.exceptions.GenericError as error:
            if _UNREADABLE_HEADER in str(error):
                return self._read_by_boto3(entry.path, key, offset, length)
            if "non-partial response" not in str(error):
                raise
            # Some servers answer a range with status 200, which obstore refuses.
            self._access.is_lax_about_ranges = True
            return self._read_by_boto3(entry.path, key, offset, length)
        size, modified = result.meta["size"], result.meta["last_modified"]
        # Don't read an object that has grown to its end.
        data = memoryview(result.bytes()) if size == entry.size else memoryview(b"")
        return data, size, modified, dict(result.attributes)

    def _read_by_boto3(
        self, path: str, key: str, offset: int, length: int
    ) -> tuple[bytes | memoryview, int, datetime, dict[str, str]]:
        where = {"Bucket": self._bucket, "Key": key}
        if length == 0:
            found = self._requests.call(path, lambda: self._client.head_object(**where))
            size = self._requests.field(path, found, "ContentLength")
            modified = self._requests.field(path, found, "LastModified")
            return b"", size, modified, told_by_boto3(found)
        span = f"bytes={offset}-{offset + length - 1}"
        found = self._requests.call(path, lambda: self._client.get_object(**where, Range=span))
        data = self._requests.call(path, found["Body"].read)
        modified = self._requests.field(path, found, "LastModified")
        if "ContentRange" not in found:  # a server without ranges sends the whole object
            return data[offset : offset + length], len(data), modified, told_by_boto3(found)
        size = int(found["ContentRange"].rpartition("/")[2])
        return data, size, modified, told_by_boto3(found)

    def put(
        self,
        path: str,
        key: str,
        data: bytes | memoryview,
        told: Told,
        checksum: str | None,
        condition: Mapping[str, str],
    ) -> Mapping[str, Any]:
        """Write a whole object by one PUT with the metadata ``told``. Return the server's answer.

        ``checksum`` is its SHA-256 in base64, which only boto3 sends. ``condition`` is that of the
        request, by boto3's names. Raises ``ExistsError`` if it isn't met.
        """
        try:
            return self._put(path, key, data, told, checksum, condition)
        except NotFoundError as error:  # a missing bucket has its own code
            raise RefusedError(f"can't write: {error}. Is the endpoint right?") from None

    def _put(
        self,
        path: str,
        key: str,
        data: bytes | memoryview,
        told: Told,
        checksum: str | None,
        condition: Mapping[str, str],
    ) -> Mapping[str, Any]:
        arguments = self._access.connection.arguments
        by_boto3 = checksum is not None or arguments.only_boto3_writes or "IfMatch" in condition
        for_obstore = None
        if not by_boto3 and self._is_for_obstore(path, key):
            for_obstore = told.for_obstore
        if for_obstore is None:
            checksums = {} if checksum is None else {FIELD: checksum}
            answer: Mapping[str, Any] = self._requests.call(
                path,
                lambda: self._client.put_object(
                    Bucket=self._bucket,
                    Key=key,
                    Body=body_of(data),
                    ContentMD5=told.metadata["md5chksum"],
                    **checksums,
                    **told.for_boto3,
                    **arguments.class_of(len(data)),
                    **condition,
                ),
            )
            return answer

        def put_by_obstore() -> Mapping[str, Any]:
            with self._access.obstore(self._bucket) as bucket:
                result = obstore.put(
                    bucket,
                    key,
                    data,
                    attributes=for_obstore,
                    use_multipart=False,
                    mode="create" if "IfNoneMatch" in condition else "overwrite",
                )
            return {"ETag": result["e_tag"]}

        return self._requests.call(path, put_by_obstore)
