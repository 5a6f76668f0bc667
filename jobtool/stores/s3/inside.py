"""Copies inside S3: the server copies objects, and no byte passes through the worker.

An object is copied by ``CopyObject``, a large one in the parts that it was written in, by
``UploadPartCopy``. Sources: AWS, "CopyObject", "UploadPartCopy", "Checking object integrity".

- Of an object that was written or copied whole, and isn't encrypted by KMS, the ETag is the MD5,
  which the server computes. So the ETag of the copy proves it, if the original's MD5 is known: from
  its own ETag, or from ``md5chksum`` in its metadata.
- The ETag of an object in parts depends on the bytes of each part. A copy in the same parts has the
  same ETag.
- Without an MD5 on one side, the server's checksum of the whole object on both sides proves it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from jobtool.errors import FileError, NotFoundError, SourceChangedError, StoreError
from jobtool.names import quote
from jobtool.stores.original import NotCopiedError, Original, require_may_replace
from jobtool.stores.s3 import sha256
from jobtool.stores.s3.access import S3Access
from jobtool.stores.s3.codes import ArchivedError, ExistsError
from jobtool.stores.s3.metadata import (
    Told,
    attributes_of,
    etag_of,
    telling,
    told_by_boto3,
)
from jobtool.stores.s3.objects import Objects
from jobtool.stores.s3.requests import Requests
from jobtool.stores.store import Attributes, Entry, Part, Proof, Upload, VerifiedBy

#: The largest object that ``CopyObject`` copies (AWS, "CopyObject").
MAX_WHOLE_BYTES = 5 * 1024**3

_PLAIN = re.compile(r"[0-9a-f]{32}")
_IN_PARTS = re.compile(r"[0-9a-f]{32}-[0-9]{1,5}")

#: Checksums by their fields in answers, the strongest first. CRC32 is too short for a proof.
_CHECKSUMS: Mapping[str, VerifiedBy] = {
    "ChecksumSHA256": "stored-sha256",
    "ChecksumCRC64NVME": "stored-crc64nvme",
    "ChecksumCRC32C": "stored-crc32c",
}


class Inside:
    """A bucket as a source or a destination of copies inside its server.

    ``key_of`` returns the key of a path, ``typed`` the attributes of a new object with what
    ``[s3]`` adds to them.
    """

    def __init__(
        self,
        access: S3Access,
        bucket: str,
        requests: Requests,
        objects: Objects,
        key_of: Callable[[str], str],
        typed: Callable[[str, Attributes], Attributes],
    ) -> None:
        self._access = access
        self._client = access.client
        self._bucket = bucket
        self._requests = requests
        self._objects = objects
        self._key_of = key_of
        self._typed = typed

    def why_not(self, source: Inside) -> str | None:
        """Return why the server can't copy from ``source``; see ``CopiesInside``."""
        ours, theirs = (each._client.meta.endpoint_url for each in (self, source))
        if ours != theirs:
            return f"the source is at another endpoint, {theirs}"
        if self._has_customer_key or source._has_customer_key:
            return "objects are encrypted by the user's own key, which hides their MD5s"
        return None

    @property
    def _has_customer_key(self) -> bool:
        return "SSECustomerKey" in self._access.connection.arguments.always

    # The original.

    def original(self, source: Inside, entry: Entry, part_bytes: int) -> Original:
        """Return what the server says of an object of ``source``; see ``CopiesInside``."""
        found = source._head(entry.path, ChecksumMode="ENABLED")
        etag = etag_of(found.get("ETag"))
        url = quote(source._requests.url_of(entry.path))
        if etag is None:
            raise NotCopiedError(f"{url}: the server tells no ETag")
        told = told_by_boto3(dict(found))
        size = source._field(entry.path, found, "ContentLength")
        modified = source._field(entry.path, found, "LastModified")
        key = source._key_of(entry.path)
        if size != entry.size or not source._objects.has_listed_time(entry, key, modified, told):
            raise SourceChangedError(f"{url} was changed since it was listed")
        attributes = attributes_of(told, entry.mtime_ns)
        md5, composite = attributes.md5, None
        if not _hides_md5(found) and _PLAIN.fullmatch(etag):
            if md5 not in (None, etag):
                raise NotCopiedError(f"{url}: its metadata has another MD5 than its ETag")
            md5 = etag
        elif not _hides_md5(found) and _IN_PARTS.fullmatch(etag):
            composite = etag
        may_have_parts = composite and md5 and not self._hides_md5 and entry.size >= part_bytes
        original = Original(
            path=entry.path,
            size=entry.size,
            etag=etag,
            md5=md5,
            composite=composite,
            part_size=source._part_size(entry, etag) if may_have_parts else None,
            checksums=_checksums_in(found),
            version=found.get("VersionId"),
            attributes=replace(attributes, md5=md5),
        )
        self._require_provable(original, url)
        return original

    def _require_provable(self, original: Original, url: str) -> None:
        if original.part_size is not None:
            return
        if original.size > MAX_WHOLE_BYTES:
            raise NotCopiedError(
                f"{url}: a copy of more than 5 GiB has no proof, since its MD5 or parts are unknown"
            )
        has_md5s = original.md5 is not None and not self._hides_md5
        has_one = original.md5 is not None or not self._hides_md5
        if not has_md5s and not (has_one and original.checksums):
            raise NotCopiedError(f"{url}: neither its MD5 nor a checksum is known")

    @property
    def _hides_md5(self) -> bool:
        """Whether the ETags of this bucket's new objects are known to be no MD5s."""
        return self._access.has_checksums(self._bucket) is True

    def _part_size(self, entry: Entry, etag: str) -> int | None:
        """Return the size of an object's parts; None if they aren't all of one size."""
        try:
            first = self._head(entry.path, PartNumber=1)
        except FileError as error:
            if error.retryable:
                raise
            return None  # the server can't tell
        size = self._field(entry.path, first, "ContentLength")
        is_even = 0 < size < entry.size and -(-entry.size // size) == int(etag.partition("-")[2])
        return size if is_even else None

    def _head(self, path: str, **more: Any) -> Mapping[str, Any]:
        where = {"Bucket": self._bucket, "Key": self._key_of(path)}
        return self._requests.call(path, lambda: self._client.head_object(**where, **more))

    def _field(self, path: str, answer: Mapping[str, Any], name: str) -> Any:
        return self._requests.field(path, answer, name)

    # Copies.

    def copy(self, source: Inside, original: Original, path: str) -> Proof | None:
        """Copy an object whole; see ``CopiesInside.copy_inside``."""
        require_may_replace(original, self._requests.url_of(path))
        algorithm = {}
        if original.checksums and (original.md5 is None or self._hides_md5):
            name = original.checksums[0][0]
            algorithm = {"ChecksumAlgorithm": name.removeprefix("Checksum")}
        # An empty set of tags unless [s3] has some: streamed objects don't get the source's either.
        directives = {"MetadataDirective": "REPLACE", "TaggingDirective": "REPLACE"}
        arguments = self._access.connection.arguments

        def send(told: Told) -> dict[str, Any]:
            def request() -> Any:
                return self._client.copy_object(
                    Bucket=self._bucket,
                    Key=self._key_of(path),
                    **source._named(original),
                    **directives,
                    **algorithm,
                    **told.for_boto3,
                    **arguments.class_of(original.size),
                )

            return self._ask(source, original, path, request)

        answer, notes = telling(self._typed(path, original.attributes), send)
        proof = self._proof(original, answer)
        return proof and replace(proof, version=answer.get("VersionId"), notes=notes)

    def copy_part(
        self,
        source: Inside,
        original: Original,
        upload: Upload,
        number: int,
        offset: int,
        size: int,
    ) -> Part:
        """Copy a part of an object into an upload; see ``CopiesInside``."""
        where = quote(self._requests.url_of(upload.path))
        if sha256.is_marked(upload.token):
            raise NotCopiedError(f"{where}: the ETags of its parts aren't MD5s")
        try:
            answer = self._ask(
                source,
                original,
                upload.path,
                lambda: self._client.upload_part_copy(
                    Bucket=self._bucket,
                    Key=self._key_of(upload.path),
                    UploadId=sha256.upload_id_of(upload.token),
                    PartNumber=number,
                    **source._named(original),
                    CopySourceRange=f"bytes={offset}-{offset + size - 1}",
                ),
            )
        except NotFoundError as error:
            raise StoreError(f"the upload or its source is gone: {error}") from None
        etag = etag_of(answer.get("CopyPartResult", {}).get("ETag"))
        if etag is None or not _PLAIN.fullmatch(etag):
            raise FileError(
                f"{where}: expected an MD5 as the ETag of a copied part; the server told "
                f"{quote(str(etag))}"
            )
        return Part(number=number, offset=offset, size=size, md5=etag, etag=etag)

    def _ask(
        self, source: Inside, original: Original, path: str, request: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        """Send a request to copy the original if it has its ETag still."""
        try:
            return self._requests.call(path, request)
        except ArchivedError as error:
            key = source._key_of(original.path)
            raise source._objects.restores.answer_to(error, original.path, key) from None
        except ExistsError:
            url = quote(source._requests.url_of(original.path))
            raise SourceChangedError(f"{url} was changed since it was listed") from None

    def _named(self, original: Original) -> dict[str, Any]:
        """Return an object of this bucket as a request names its source."""
        owner = self._access.connection.arguments.always.get("ExpectedBucketOwner")
        return {
            "CopySource": {"Bucket": self._bucket, "Key": self._key_of(original.path)},
            "CopySourceIfMatch": f'"{original.etag}"',
            **({} if owner is None else {"ExpectedSourceBucketOwner": owner}),
        }

    def _proof(self, original: Original, answer: Mapping[str, Any]) -> Proof | None:
        """Return the proof of a whole copy by the server's answer, as after a PUT."""
        result = answer.get("CopyObjectResult", {})
        etag = etag_of(result.get("ETag"))
        is_md5 = etag is not None and _PLAIN.fullmatch(etag) is not None
        md5 = etag if is_md5 and not (self._hides_md5 or _hides_md5(answer)) else None
        if md5 is not None and original.md5 is not None:
            is_same = md5 == original.md5
            return Proof(md5=md5, verified_by="etag-md5", etag=etag) if is_same else None
        known = md5 or original.md5
        copied = dict(_checksums_in(result))
        for name, checksum in original.checksums:
            if known is not None and copied.get(name) == checksum:
                return Proof(md5=known, verified_by=_CHECKSUMS[name], etag=etag)
        return None


def _hides_md5(answer: Mapping[str, Any]) -> bool:
    """Return True if an answer says that the object's ETag isn't an MD5 (AWS, "Object", ETag)."""
    by_kms = str(answer.get("ServerSideEncryption", "")).startswith("aws:kms")
    return by_kms or "SSECustomerAlgorithm" in answer


def _checksums_in(answer: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return the checksums of the whole object. Those of its parts have a dash and a number."""
    found = ((name, str(answer.get(name) or "")) for name in _CHECKSUMS)
    return tuple((name, value) for name, value in found if value and "-" not in value)
