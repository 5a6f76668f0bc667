"""The S3 store: a bucket, or a prefix of one, by the protocol of stores.

A single PUT is proven by its ETag if that is the object's MD5. Parts are proven by the MD5 that the
store returned for each of them and for the whole. If ETags aren't MD5s (SSE-KMS, SSE-C, other
servers), the object is read back.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from msgspec.structs import replace

from jobtool.errors import (
    FileError,
    JobtoolError,
    NotFoundError,
    RefusedError,
    StoreError,
)
from jobtool.md5 import md5_of
from jobtool.names import quote
from jobtool.stores.s3.access import S3Access
from jobtool.stores.s3.body import body_of
from jobtool.stores.s3.codes import ExistsError, PartsLostError
from jobtool.stores.s3.listing import Listing
from jobtool.stores.s3.metadata import (
    base64_of,
    condition_of,
    etag_of,
    in_whole_seconds,
    telling,
    told_of,
)
from jobtool.stores.s3.objects import Objects
from jobtool.stores.s3.proofs import Proofs
from jobtool.stores.s3.requests import Requests
from jobtool.stores.s3.stream import write_stream
from jobtool.stores.store import (
    Attributes,
    Capabilities,
    Child,
    Content,
    Entry,
    Note,
    Part,
    Proof,
    Special,
    StatResult,
    Unlisted,
    Upload,
    check_path,
    composite_md5,
    digest_by_reading,
)

_CLOCK_SKEW_NS = 15 * 60 * 1_000_000_000


class S3Store:
    """A bucket, or a prefix of one. With ``read_back`` ETags aren't accepted as proof."""

    def __init__(
        self,
        access: S3Access,
        bucket: str,
        prefix: str = "",
        *,
        read_back: bool = False,
    ) -> None:
        #: The MD5 of a file in parts can be metadata only if it is known before the first part.
        self.capabilities = Capabilities(
            attributes_first=access.whole_md5 == "metadata", keeps=frozenset({"times"})
        )
        self._access = access
        self._client = access.client
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self.url = f"s3://{bucket}/{prefix}".rstrip("/")
        self._requests = Requests(access, bucket, self.url)
        self._objects = Objects(access, bucket, self._requests)
        self._listing = Listing(access.client, bucket, self._prefix, self._requests)
        self._proofs = Proofs(self, self._head, read_back=read_back)
        self._begun: dict[str, tuple[Note, ...]] = {}  # what their requests left out

    def url_of(self, path: str) -> str:
        """Return the URL of ``path``."""
        return self._requests.url_of(path)

    def _key(self, path: str) -> str:
        try:
            path.encode()
        except UnicodeEncodeError:
            raise FileError(
                f"{quote(self.url_of(path))}: S3 keys are UTF-8, but this name isn't. "
                "Rename the file."
            ) from None
        key = self._prefix + path
        if len(key.encode()) > 1024:
            raise FileError(f"{quote(self.url_of(path))}: S3 keys have at most 1024 bytes")
        return key

    def stat(self, path: str, *, file_only: bool = False) -> StatResult:
        """Return what is at ``path``. A folder takes a second request."""
        refused: RefusedError | None = None
        if path:
            try:
                return self._entry(path)
            except NotFoundError:
                if file_only:
                    return "missing"
            except RefusedError as error:  # the answer to a listing says more, since it has a body
                if file_only:
                    raise
                refused = error
        inside = f"{self._key(path)}/" if path else self._prefix
        if self._listing.is_any(path, inside):
            return "folder"
        if refused is not None:
            raise refused
        return "missing"

    def children(self, path: str) -> Iterator[Child | Unlisted]:
        """Yield what is directly inside ``path``."""
        inside = f"{self._key(path)}/" if path else self._prefix
        yield from self._listing.children(path, inside)

    def check_access(self, *, write: bool) -> None:
        """List one key or, with ``write``, begin an upload and abort it. Makes no object."""
        if not write:
            self._listing.try_it()
            return
        name = f".jobtool-access-{secrets.token_hex(8)}"
        self.abort(self.begin(name, Attributes(mtime_ns=0)))

    def list(self) -> Iterator[Entry | Special | Unlisted]:
        """Yield every object below the root, a thousand to a request."""
        yield from self._listing.entries()

    def _entry(self, path: str) -> Entry:
        found = self._head(path)
        size = self._requests.field(path, found, "ContentLength")
        modified_ns = in_whole_seconds(self._requests.field(path, found, "LastModified"))
        return Entry(path, size, modified_ns, etag_of(found.get("ETag")))

    def _head(self, path: str) -> Mapping[str, Any]:
        key = self._key(path)
        return self._requests.call(
            path, lambda: self._client.head_object(Bucket=self._bucket, Key=key)
        )

    def read(self, entry: Entry, offset: int, length: int) -> Content:
        """Return bytes of an object by one ranged GET."""
        return self._objects.read(entry, self._key(entry.path), offset, length)

    def write(
        self, path: str, chunks: Iterable[bytes | memoryview], attributes: Attributes
    ) -> Proof | None:
        """Write a whole object: one chunk by one PUT, longer streams in parts."""
        check_path(path)
        rest = iter(chunks)
        first = next(rest, b"")
        second = next(rest, None)
        if second is not None:
            return write_stream(self, path, chain((first, second), rest), attributes)
        if attributes.md5 is None:
            md5 = md5_of(first)
            attributes = replace(attributes, md5=md5)
        return self._put(path, first, attributes)

    def _put(self, path: str, data: bytes | memoryview, attributes: Attributes) -> Proof:
        """Write a whole object by one PUT.

        If the write must not replace anything and finds the same bytes, they are its proof: an
        earlier try wrote them but its answer was lost, or they are what it would write.
        """
        key = self._key(path)
        try:
            etag, notes = telling(
                attributes, lambda told: self._objects.put(path, key, data, attributes, told)
            )
        except ExistsError as error:
            proof = self._proofs.of_lost_answer(path, len(data), attributes.md5, None, error)
            return replace(proof, notes=told_of(attributes).notes)
        proof = self._proofs.by_etag(etag, attributes.md5) or self._proofs.by_reading(
            path, attributes, etag
        )
        return replace(proof, notes=notes)

    def begin(self, path: str, attributes: Attributes) -> Upload:
        """Start a multipart upload. Its metadata can't be changed later."""
        key = self._key(check_path(path))
        try:
            answer, untold = telling(
                replace(attributes, notes=()),
                lambda told: self._requests.call(
                    path,
                    lambda: self._access.client_asking_once.create_multipart_upload(
                        Bucket=self._bucket, Key=key, **told.for_boto3
                    ),
                ),
            )
        except NotFoundError as error:  # a missing bucket has its own code
            raise RefusedError(f"can't write: {error}. Is the endpoint right?") from None
        token = self._requests.field(path, answer, "UploadId")
        self._begun[token] = untold
        return Upload(path=path, token=token, attributes=attributes)

    def put_part(
        self, upload: Upload, number: int, offset: int, data: bytes | memoryview, md5: str
    ) -> Part:
        """Send one part with its ``Content-MD5``, which the server checks."""
        try:
            answer = self._requests.call(
                upload.path,
                lambda: self._client.upload_part(
                    **self._where(upload),
                    PartNumber=number,
                    Body=body_of(data),
                    ContentMD5=base64_of(md5),
                ),
            )
        except NotFoundError as error:
            raise StoreError(f"the upload was dropped at the server: {error}") from None
        etag = etag_of(answer.get("ETag"))
        return Part(number=number, offset=offset, size=len(data), md5=md5, etag=etag)

    def complete(self, upload: Upload, parts: Sequence[Part], attributes: Attributes) -> Proof:
        """Complete a multipart upload.

        The server may say that the upload or its parts are gone, or that an object exists where
        none may be. Perhaps it has completed the upload before, and its answer was lost.
        """
        assert attributes.md5 is not None, "complete() needs the MD5 of the whole"
        named = [{"PartNumber": part.number, "ETag": f'"{part.etag}"'} for part in parts]
        composite = composite_md5(parts)
        try:
            answer = self._requests.call(
                upload.path,
                lambda: self._client.complete_multipart_upload(
                    **self._where(upload),
                    MultipartUpload={"Parts": named},
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
        proof = self._proofs.by_etag(etag, attributes.md5, composite) or self._proofs.by_reading(
            upload.path, attributes, etag
        )
        return replace(proof, notes=(*attributes.notes, *self._untold(upload, attributes)))

    def _untold(self, upload: Upload, attributes: Attributes) -> tuple[Note, ...]:
        """Return notes of the attributes that the request that began an upload left out."""
        # For an upload that another attempt began, they are computed again.
        known = told_of(replace(attributes, notes=())).notes
        return self._begun.pop(upload.token, known)

    def held_parts(self, upload: Upload, parts: Sequence[Part]) -> Sequence[Part]:
        """Return the parts that ``ListParts`` reports with the ETags of ``parts``."""
        held: dict[int, tuple[int, str | None]] = {}
        where = self._where(upload)
        for page in self._requests.pages(
            upload.path,
            lambda **more: self._client.list_parts(**where, **more),
            {"PartNumberMarker": "NextPartNumberMarker"},
        ):
            for part in page.get("Parts", ()):
                held[part["PartNumber"]] = (part["Size"], etag_of(part["ETag"]))
        return [part for part in parts if held.get(part.number) == (part.size, part.etag)]

    def leftovers(self, path: str, since_ns: int) -> Sequence[Upload]:
        """Return the multipart uploads of exactly this key, begun since then by server time."""
        key = self._key(path)
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
                        found.append(Upload(path=path, token=token, attributes=attributes))
        except NotFoundError:  # rclone's server answers so for a bucket without uploads
            return []
        return found

    def prove(
        self, path: str, md5: str, composite: str, attributes: Attributes | None = None
    ) -> Proof | None:
        """Prove an object by its ETag, or by reading it if that isn't the expected MD5."""
        return self._proofs.of_object(path, md5, composite)

    def _where(self, upload: Upload) -> dict[str, str]:
        return {
            "Bucket": self._bucket,
            "Key": self._key(upload.path),
            "UploadId": upload.token,
        }

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

    def digest(self, path: str) -> str:
        """Read an object and return its MD5."""
        return digest_by_reading(self, path)

    def delete(self, path: str) -> None:
        """Remove an object."""
        key = self._key(check_path(path))
        with contextlib.suppress(NotFoundError):
            self._requests.call(
                path, lambda: self._client.delete_object(Bucket=self._bucket, Key=key)
            )

    def sync(self) -> None:
        """Do nothing: S3 acknowledges only durable writes."""
