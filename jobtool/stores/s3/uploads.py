"""Objects in parts: multipart uploads."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from jobtool.errors import (
    CredentialsError,
    FileError,
    JobtoolError,
    NotFoundError,
    RefusedError,
    StoreError,
)
from jobtool.stores.s3 import sha256
from jobtool.stores.s3.access import S3Access
from jobtool.stores.s3.body import body_of
from jobtool.stores.s3.codes import ExistsError, PartsLostError
from jobtool.stores.s3.metadata import (
    base64_of,
    condition_of,
    etag_of,
    in_whole_seconds,
    telling,
    told_of,
)
from jobtool.stores.s3.proofs import Proofs
from jobtool.stores.s3.requests import Requests
from jobtool.stores.store import Attributes, Note, Part, Proof, Upload, composite_md5

_CLOCK_SKEW_NS = 15 * 60 * 1_000_000_000


class Uploads:
    """The multipart uploads of a bucket. ``key_of`` returns the key of a path."""

    def __init__(
        self,
        access: S3Access,
        bucket: str,
        requests: Requests,
        proofs: Proofs,
        key_of: Callable[[str], str],
    ) -> None:
        self._access = access
        self._client = access.client
        self._bucket = bucket
        self._requests = requests
        self._proofs = proofs
        self._key_of = key_of
        self._begun: dict[str, tuple[Note, ...]] = {}  # what their requests left out

    def begin(self, path: str, attributes: Attributes) -> Upload:
        """Start a multipart upload. Its metadata can't be changed later.

        If the answer says that the object's ETag won't be an MD5, the upload is begun again with
        checksums: then a worker that may only write can prove it.
        """
        known = self._access.has_checksums(self._bucket)
        has_checksums = bool(known)
        try:
            answer, untold = self._create(path, attributes, has_checksums=has_checksums)
        except RefusedError:
            if not has_checksums:
                raise
            has_checksums = False  # the server may not know them
            answer, untold = self._create(path, attributes, has_checksums=False)
            self._access.note_checksums(self._bucket, False)
        by_kms = str(answer.get("ServerSideEncryption", "")).startswith("aws:kms")
        if known is None and by_kms:
            with contextlib.suppress(RefusedError):  # it stays as it is, to be read back
                again, untold = self._create(path, attributes, has_checksums=True)
                first = Upload(path=path, token=answer["UploadId"], attributes=attributes)
                answer, has_checksums = again, True
                with contextlib.suppress(FileError, CredentialsError):
                    self.abort(first)  # which the credentials may not allow
        token = self._requests.field(path, answer, "UploadId")
        if has_checksums:
            token = sha256.marked(token)
        self._begun[token] = untold
        return Upload(path=path, token=token, attributes=attributes)

    def _create(
        self, path: str, attributes: Attributes, *, has_checksums: bool
    ) -> tuple[dict[str, Any], tuple[Note, ...]]:
        key = self._key_of(path)
        algorithm = sha256.ALGORITHM if has_checksums else {}
        try:
            answer, untold = telling(
                replace(attributes, notes=()),
                lambda told: self._requests.call(
                    path,
                    lambda: self._access.client_asking_once.create_multipart_upload(
                        Bucket=self._bucket, Key=key, **algorithm, **told.for_boto3
                    ),
                ),
            )
        except NotFoundError as error:  # a missing bucket has its own code
            raise RefusedError(f"can't write: {error}. Is the endpoint right?") from None
        self._requests.require(path, answer, "UploadId")
        return answer, untold

    def put_part(
        self, upload: Upload, number: int, offset: int, data: bytes | memoryview, md5: str
    ) -> Part:
        """Send one part with its ``Content-MD5``, which the server checks."""
        checksum = sha256.sha256_of(data) if sha256.is_marked(upload.token) else None
        checksums = {} if checksum is None else {sha256.FIELD: checksum}
        try:
            answer = self._requests.call(
                upload.path,
                lambda: self._client.upload_part(
                    **self._where(upload),
                    **checksums,
                    PartNumber=number,
                    Body=body_of(data),
                    ContentMD5=base64_of(md5),
                ),
            )
        except NotFoundError as error:
            raise StoreError(f"the upload was dropped at the server: {error}") from None
        etag = etag_of(answer.get("ETag"))
        if checksum is not None:
            etag = sha256.joined(etag, checksum)
        return Part(number=number, offset=offset, size=len(data), md5=md5, etag=etag)

    def complete(self, upload: Upload, parts: Sequence[Part], attributes: Attributes) -> Proof:
        """Complete a multipart upload.

        The server may say that the upload or its parts are gone, or that an object exists where
        none may be. Perhaps it has completed the upload before, and its answer was lost.
        """
        assert attributes.md5 is not None, "complete() needs the MD5 of the whole"
        composite = composite_md5(parts)
        try:
            answer = self._requests.call(
                upload.path,
                lambda: self._client.complete_multipart_upload(
                    **self._where(upload),
                    MultipartUpload={"Parts": [_named(part) for part in parts]},
                    **condition_of(attributes),
                ),
            )
        except (NotFoundError, PartsLostError, ExistsError) as error:
            failure: FileError = error
            if isinstance(error, NotFoundError):
                failure = StoreError(f"the upload was dropped at the server: {error}")
            size = sum(part.size for part in parts)
            proof = self._proofs.of_lost_answer(
                upload.path, size, attributes.md5, composite, failure
            )
            untold = self._untold(upload, attributes)
            # If another writer made the object, this upload may still exist.
            with contextlib.suppress(JobtoolError):
                self.abort(upload)
            return replace(proof, notes=(*attributes.notes, *untold))
        etag = etag_of(answer.get("ETag"))
        checksums = [checksum for part in parts if (checksum := sha256.split(part.etag)[1])]
        expected = sha256.composite_sha256(checksums) if len(checksums) == len(parts) else None
        proof = (
            self._proofs.by_etag(etag, attributes.md5, composite)
            or self._proofs.by_checksum(answer, expected, attributes.md5)
            or self._proofs.by_reading(upload.path, attributes, etag)
        )
        if expected is not None and proof.verified_by == "read-back":
            self._access.note_checksums(self._bucket, False)
        notes = (*attributes.notes, *self._untold(upload, attributes))
        return replace(proof, version=answer.get("VersionId"), notes=notes)

    def _untold(self, upload: Upload, attributes: Attributes) -> tuple[Note, ...]:
        """Return notes of the attributes that the request that began an upload left out."""
        # For an upload that another attempt began, they are computed again.
        known = told_of(replace(attributes, notes=())).notes
        return self._begun.pop(upload.token, known)

    def held_parts(self, upload: Upload, parts: Sequence[Part]) -> Sequence[Part]:
        """Return the parts that ``ListParts`` reports with the ETags of ``parts``."""
        held: dict[int, tuple[int, str | None, str | None]] = {}
        where = self._where(upload)
        for page in self._requests.pages(
            upload.path,
            lambda **more: self._client.list_parts(**where, **more),
            {"PartNumberMarker": "NextPartNumberMarker"},
        ):
            for part in page.get("Parts", ()):
                found = part["Size"], etag_of(part["ETag"]), part.get(sha256.FIELD)
                held[part["PartNumber"]] = found
        return [part for part in parts if _is_same(part, held.get(part.number))]

    def leftovers(self, path: str, since_ns: int) -> Sequence[Upload]:
        """Return the multipart uploads of exactly this key, begun since then by server time."""
        key = self._key_of(path)
        pages = self._requests.pages(
            path,
            lambda **more: self._client.list_multipart_uploads(
                Bucket=self._bucket, Prefix=key, **more
            ),
            {"KeyMarker": "NextKeyMarker", "UploadIdMarker": "NextUploadIdMarker"},
        )
        found: list[Upload] = []
        try:
            for page in pages:
                for item in page.get("Uploads", ()):
                    begun_ns = in_whole_seconds(item["Initiated"])
                    if item["Key"] == key and begun_ns >= since_ns - _CLOCK_SKEW_NS:
                        attributes = Attributes(mtime_ns=begun_ns)
                        token = item["UploadId"]
                        if item.get("ChecksumAlgorithm") in sha256.ALGORITHM.values():
                            token = sha256.marked(token)
                        found.append(Upload(path=path, token=token, attributes=attributes))
        except NotFoundError:  # rclone's server answers so for a bucket without uploads
            return []
        return found

    def abort(self, upload: Upload) -> None:
        """Abort a multipart upload."""
        self._begun.pop(upload.token, None)
        try:
            self._requests.call(
                upload.path,
                lambda: self._client.abort_multipart_upload(**self._where(upload)),
            )
        except NotFoundError:
            return

    def _where(self, upload: Upload) -> dict[str, str]:
        return {
            "Bucket": self._bucket,
            "Key": self._key_of(upload.path),
            "UploadId": sha256.upload_id_of(upload.token),
        }


def _named(part: Part) -> dict[str, Any]:
    """Return a part as the request that completes its upload names it."""
    etag, checksum = sha256.split(part.etag)
    checksums = {} if checksum is None else {sha256.FIELD: checksum}
    return {"PartNumber": part.number, "ETag": f'"{etag}"', **checksums}


def _is_same(part: Part, held: tuple[int, str | None, str | None] | None) -> bool:
    """Return True if the server holds a part as it was sent. It may not list checksums."""
    if held is None:
        return False
    size, etag, checksum = held
    sent_etag, sent_checksum = sha256.split(part.etag)
    return (size, etag) == (part.size, sent_etag) and checksum in (None, sent_checksum)
