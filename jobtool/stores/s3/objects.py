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
from typing import TYPE_CHECKING, Any

import botocore.exceptions
import msgspec
import obstore
import obstore.exceptions

from jobtool.errors import NotFoundError, RefusedError, ServerError, SourceChangedError
from jobtool.names import quote
from jobtool.stores.s3.access import S3Access
from jobtool.stores.s3.body import body_of
from jobtool.stores.s3.codes import ArchivedError, ExistsError
from jobtool.stores.s3.metadata import (
    Told,
    attributes_of,
    etag_of,
    in_whole_seconds,
    time_of,
    told_by_boto3,
)
from jobtool.stores.s3.requests import Requests
from jobtool.stores.s3.restore import Restores
from jobtool.stores.s3.sha256 import FIELD
from jobtool.stores.store import Content, Entry, within_64_bits

if TYPE_CHECKING:
    from obstore import GetOptions

# What obstore's paths would change: control characters, empty or dot segments, a slash at either
# end.
_NOT_FOR_OBSTORE = re.compile(r"[\x00-\x1f\x7f]|(?:^|/)\.{0,2}(?:/|$)")

# obstore's error for an object whose metadata or headers aren't ASCII.
_UNREADABLE_HEADER = "contained non UTF-8 characters"


_SECOND_NS = 1_000_000_000

_NOT_IMPLEMENTED = 501


class _Read(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a GET: the data, the whole object's size, what the server tells of it."""

    data: bytes | memoryview
    size: int
    modified: datetime
    told: dict[str, str]
    etag: str | None
    version: str | None


class Objects:
    """Reads and writes the objects of a bucket. Errors name an object by ``path``."""

    def __init__(self, access: S3Access, bucket: str, requests: Requests) -> None:
        self._access = access
        self._client = access.client
        self._bucket = bucket
        self._requests = requests
        self.restores = Restores(access, bucket, requests)

    def read(self, entry: Entry, key: str, offset: int, length: int) -> Content:
        """Return bytes of an object by one ranged GET.

        Raises ``SourceChangedError``, and ``NotYetError`` for an archived object.
        """
        try:
            return self._read(entry, key, offset, length)
        except ArchivedError as error:
            raise self.restores.answer_to(error, entry.path, key) from None
        except ExistsError:
            if _condition(entry) is None:
                raise
            raise self._other(entry) from None

    def _read(self, entry: Entry, key: str, offset: int, length: int) -> Content:
        by_boto3 = length == 0 or (self._access.is_lax_about_ranges and length != entry.size)
        if by_boto3 or not self._is_for_obstore(entry.path, key):
            found = self._read_by_boto3(entry, key, offset, length)
        else:
            found = self._requests.call(
                entry.path, lambda: self._read_by_obstore(entry, key, offset, length)
            )
        if found.size != entry.size or not self.has_listed_time(
            entry, key, found.modified, found.told
        ):
            raise SourceChangedError(
                f"{quote(self._requests.url_of(entry.path))} was changed meanwhile: listed with "
                f"{entry.size} bytes, now {found.size} bytes, or with another time"
            )
        if entry.etag is not None and found.etag not in (entry.etag, None):
            raise self._other(entry)  # from a server that ignores the condition
        if len(found.data) != length:
            raise ServerError(
                f"{quote(self._requests.url_of(entry.path))}: expected {length} bytes; "
                f"received {len(found.data)}"
            )
        return Content(
            data=found.data,
            attributes=attributes_of(found.told, entry.mtime_ns),
            etag=found.etag,
            version=found.version,
        )

    def _other(self, entry: Entry) -> SourceChangedError:
        return SourceChangedError(
            f"{quote(self._requests.url_of(entry.path))} was changed meanwhile: it no longer has "
            f"the ETag {entry.etag}"
        )

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
        if _NOT_FOR_OBSTORE.search(key):
            return False
        return self._access.is_open(self._bucket) or self._requests.call(
            path, lambda: self._access.is_for_obstore(self._bucket)
        )

    def _read_by_obstore(self, entry: Entry, key: str, offset: int, length: int) -> _Read:
        options: GetOptions = {}
        if length != entry.size:
            options["range"] = (offset, offset + length)
        if (condition := _condition(entry)) is not None:
            options["if_match"] = condition
        try:
            with self._access.obstore(self._bucket) as bucket:
                result = obstore.get(bucket, key, options=options)
        except obstore.exceptions.GenericError as error:
            if _UNREADABLE_HEADER in str(error):
                return self._read_by_boto3(entry, key, offset, length)
            if "non-partial response" not in str(error):
                raise
            # Some servers answer a range with status 200, which obstore refuses.
            self._access.is_lax_about_ranges = True
            return self._read_by_boto3(entry, key, offset, length)
        meta = result.meta
        # Don't read an object that has grown to its end.
        is_as_large = meta["size"] == entry.size
        return _Read(
            data=memoryview(result.bytes()) if is_as_large else b"",
            size=meta["size"],
            modified=meta["last_modified"],
            told=dict(result.attributes),
            etag=etag_of(meta["e_tag"]),
            version=meta["version"],
        )

    def _read_by_boto3(self, entry: Entry, key: str, offset: int, length: int) -> _Read:
        path, where = entry.path, {"Bucket": self._bucket, "Key": key}
        if (condition := _condition(entry)) is not None:
            where["IfMatch"] = condition
        data = b""
        if length == 0:
            found = self._requests.call(path, lambda: self._client.head_object(**where))
            size = self._requests.field(path, found, "ContentLength")
        else:
            span = f"bytes={offset}-{offset + length - 1}"
            found = self._requests.call(path, lambda: self._client.get_object(**where, Range=span))
            data = self._requests.call(path, found["Body"].read)
            if "ContentRange" in found:
                size = int(found["ContentRange"].rpartition("/")[2])
            else:  # a server without ranges sends the whole object
                data, size = data[offset : offset + length], len(data)
        return _Read(
            data=data,
            size=size,
            modified=self._requests.field(path, found, "LastModified"),
            told=told_by_boto3(found),
            etag=etag_of(found.get("ETag")),
            version=found.get("VersionId"),
        )

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
        by_boto3 = checksum is not None or self._access.only_boto3_writes or "IfMatch" in condition
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
            return {"ETag": result["e_tag"], "VersionId": result["version"]}

        return self._requests.call(path, put_by_obstore)

    def delete(self, path: str, key: str, etag: str | None = None) -> bool:
        """Remove an object, if given only one with this ETag. Return False for another one.

        A server that can't compare ETags here removes any. Amazon S3 compares them. Source: S3 User
        Guide, "How to perform conditional deletes".
        """
        where = {"Bucket": self._bucket, "Key": key}
        condition = _if_match(etag)

        def request() -> None:
            try:
                self._client.delete_object(**where, **condition)
            except botocore.exceptions.ClientError as error:
                answered = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
                if not condition or answered != _NOT_IMPLEMENTED:
                    raise
                self._client.delete_object(**where)

        try:
            self._requests.call(path, request)
        except NotFoundError:
            pass
        except ExistsError:
            if not condition:
                raise
            return False
        return True


def _condition(entry: Entry) -> str | None:
    """Return the ETag that an object must have to be read; None for any, or a weak one."""
    return None if entry.etag is None or entry.etag.startswith("W/") else f'"{entry.etag}"'


def _if_match(etag: str | None) -> dict[str, str]:
    return {} if etag is None or etag.startswith("W/") else {"IfMatch": f'"{etag}"'}
