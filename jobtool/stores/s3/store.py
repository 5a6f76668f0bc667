"""The S3 store: a bucket, or a prefix of one, by the protocol of stores.

A single PUT is proven by its ETag where that is the object's MD5, several parts by the MD5 that
the store gave for each and for their composition; where ETags are no MD5 (SSE-KMS, SSE-C, other
servers) the object is read back.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from typing import Any

from jobtool.errors import DigestMismatchError, FileError, NotFoundError, SourceError, StoreError
from jobtool.names import quote
from jobtool.stores.s3.access import S3Access
from jobtool.stores.s3.metadata import (
    base64_of,
    condition_of,
    etag_of,
    in_whole_seconds,
    to_metadata,
)
from jobtool.stores.s3.objects import Objects
from jobtool.stores.s3.requests import Requests
from jobtool.stores.store import (
    Attributes,
    Capabilities,
    Child,
    Content,
    Entry,
    Kind,
    Part,
    Proof,
    Special,
    Unlisted,
    Upload,
    check_path,
    composite_md5,
    digest_by_reading,
    require_same,
)

_CLOCK_SKEW_NS = 15 * 60 * 1_000_000_000


class S3Store:
    """A bucket, or a prefix of one; with ``read_back`` ETags are no proof."""

    capabilities = Capabilities(
        attributes_first=True,
        cheap_reads=False,
        leaves_temporaries=False,
        specials=frozenset(),
    )

    def __init__(
        self,
        access: S3Access,
        bucket: str,
        prefix: str = "",
        *,
        read_back: bool = False,
    ) -> None:
        self._read_back = read_back
        self._access = access
        self._client = access.client
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self.url = f"s3://{bucket}/{prefix}".rstrip("/")
        self._requests = Requests(access, bucket, self.url)
        self._objects = Objects(access, bucket, self._requests)

    def url_of(self, path: str) -> str:
        """Return the URL of ``path``."""
        return self._requests.url_of(path)

    def _key(self, path: str) -> str:
        try:
            path.encode()
        except UnicodeEncodeError:
            raise FileError(
                f"{quote(self.url_of(path))}: S3 keys are UTF-8, and this name is not. "
                "Rename the file."
            ) from None
        key = self._prefix + path
        if len(key.encode()) > 1024:
            raise FileError(f"{quote(self.url_of(path))}: S3 keys have at most 1024 bytes")
        return key

    def kind(self, path: str) -> Kind:
        """Tell what is at ``path``."""
        if path:
            try:
                self.head(path)
            except NotFoundError:
                pass
            else:
                return "file"
        inside = f"{self._key(path)}/" if path else self._prefix
        answer = self._requests.call(
            path,
            lambda: self._client.list_objects_v2(Bucket=self._bucket, Prefix=inside, MaxKeys=1),
        )
        return "folder" if answer.get("Contents") else "missing"

    def children(self, path: str) -> Iterator[Child]:
        """Yield what is directly inside ``path``."""
        inside = f"{self._key(path)}/" if path else self._prefix
        found: set[tuple[str, bool]] = set()
        for page in self._pages(path, Prefix=inside, Delimiter="/"):
            for item in page.get("CommonPrefixes", ()):
                found.add((item["Prefix"][len(inside) : -1], True))
            for item in page.get("Contents", ()):
                found.add((item["Key"][len(inside) :], False))
        found.discard(("", False))  # a marker that makes an empty folder visible
        if not found:
            raise NotFoundError(f"expected a folder at {quote(self.url_of(path))}; found nothing")
        yield from (Child(name, is_folder) for name, is_folder in sorted(found))

    def check_access(self, *, write: bool) -> None:
        """List one key or, with ``write``, begin an upload and abort it; no object is made."""
        if not write:
            self._requests.call(
                "",
                lambda: self._client.list_objects_v2(
                    Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1
                ),
            )
            return
        name = f".jobtool-access-{secrets.token_hex(8)}"
        self.abort(self.begin(name, Attributes(mtime_ns=0)))

    def list(self) -> Iterator[Entry | Special | Unlisted]:
        """Yield every object below the root, a thousand to a request."""
        for page in self._pages("", Prefix=self._prefix):
            for item in page.get("Contents", ()):
                path = item["Key"][len(self._prefix) :]
                if path.endswith("/") or not path:
                    if item["Size"] == 0:  # the marker of a folder, mostly an empty one
                        if path:
                            yield Special(path.rstrip("/"), "empty-folder")
                        continue
                    raise SourceError(
                        f"{quote(self.url_of(path))}: expected no bytes under a name that ends "
                        f"in a slash; found {item['Size']}"
                    )
                modified_ns = in_whole_seconds(item["LastModified"])
                yield Entry(path, item["Size"], modified_ns, etag_of(item.get("ETag")))

    def _pages(self, path: str, **arguments: Any) -> Iterator[dict[str, Any]]:
        yield from self._requests.pages(
            path,
            lambda **more: self._client.list_objects_v2(Bucket=self._bucket, **arguments, **more),
            {"ContinuationToken": "NextContinuationToken"},
        )

    def head(self, path: str) -> Entry:
        """Return one object's entry."""
        key = self._key(path)
        found = self._requests.call(
            path, lambda: self._client.head_object(Bucket=self._bucket, Key=key)
        )
        modified_ns = in_whole_seconds(found["LastModified"])
        return Entry(path, found["ContentLength"], modified_ns, etag_of(found.get("ETag")))

    def read(self, entry: Entry, offset: int, length: int) -> Content:
        """Return bytes of an object by one ranged GET."""
        return self._objects.read(entry, self._key(entry.path), offset, length)

    def put(self, path: str, data: bytes | memoryview, attributes: Attributes) -> Proof:
        """Write a whole object by one PUT."""
        etag = self._objects.put(path, self._key(check_path(path)), data, attributes)
        return self._proof_by_etag(etag, attributes.md5) or self._proof_by_reading(
            path, attributes, etag
        )

    def begin(self, path: str, attributes: Attributes) -> Upload:
        """Start a multipart upload; its metadata can't be changed any more."""
        key = self._key(check_path(path))
        answer = self._requests.call(
            path,
            lambda: self._access.client_asking_once.create_multipart_upload(
                Bucket=self._bucket, Key=key, Metadata=to_metadata(attributes)
            ),
        )
        return Upload(path=path, token=answer["UploadId"], attributes=attributes)

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
                    Body=bytes(data),
                    ContentMD5=base64_of(md5),
                ),
            )
        except NotFoundError as error:
            raise StoreError(f"the upload was dropped at the server: {error}") from None
        etag = etag_of(answer.get("ETag"))
        return Part(number=number, offset=offset, size=len(data), md5=md5, etag=etag)

    def complete(self, upload: Upload, parts: Sequence[Part], attributes: Attributes) -> Proof:
        """Complete a multipart upload."""
        assert attributes.md5 is not None, "complete() needs the MD5 of the whole"
        ordered = sorted(parts, key=lambda part: part.number)
        named = [{"PartNumber": part.number, "ETag": f'"{part.etag}"'} for part in ordered]
        composite = composite_md5(ordered)
        try:
            answer = self._requests.call(
                upload.path,
                lambda: self._client.complete_multipart_upload(
                    **self._where(upload),
                    MultipartUpload={"Parts": named},
                    **condition_of(attributes),
                ),
            )
        except NotFoundError as error:
            # An earlier completion may have succeeded without its answer reaching us.
            proof = self.prove(upload.path, attributes.md5, composite)
            if proof is None:
                raise StoreError(f"the upload was dropped at the server: {error}") from None
            return proof
        etag = etag_of(answer.get("ETag"))
        return self._proof_by_etag(etag, attributes.md5, composite) or self._proof_by_reading(
            upload.path, attributes, etag
        )

    def held_parts(self, upload: Upload, parts: Sequence[Part]) -> Sequence[Part]:
        """Return the parts that ``ListParts`` tells with the ETags that we were given."""
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
        """Return the multipart uploads of this very key, begun since then by the server's clock."""
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
        except NotFoundError:  # what rclone's server says of a bucket without any upload
            return []
        return found

    def is_leftover(self, path: str) -> bool:
        """Tell that nothing is: uploads aren't listed."""
        return False

    def prove(
        self, path: str, md5: str, composite: str, attributes: Attributes | None = None
    ) -> Proof | None:
        """Prove an object by its ETag, or by reading it where that is no MD5 of ours."""
        key = self._key(path)
        try:
            head = self._requests.call(
                path, lambda: self._client.head_object(Bucket=self._bucket, Key=key)
            )
            etag = etag_of(head.get("ETag"))
            proof = self._proof_by_etag(etag, md5, composite)
            if proof is not None:
                return proof
            if self.digest(path) != md5:
                return None
        except NotFoundError:
            return None
        return Proof(md5=md5, verified_by="read-back", etag=etag)

    def make_special(self, special: Special) -> None:
        """Refuse: there is nothing but objects here."""
        raise FileError(f"{quote(self.url_of(special.path))}: S3 has no {special.what}")

    def _where(self, upload: Upload) -> dict[str, str]:
        return {
            "Bucket": self._bucket,
            "Key": self._key(upload.path),
            "UploadId": upload.token,
        }

    def _proof_by_etag(
        self, etag: str | None, md5: str | None, composite: str | None = None
    ) -> Proof | None:
        """Return what an ETag proves; some servers give the MD5 of the whole for parts, too."""
        if etag is None or md5 is None or self._read_back:
            return None
        if etag.lower() == md5:
            return Proof(md5=md5, verified_by="etag-md5", etag=etag)
        if etag.lower() == composite:
            return Proof(md5=md5, verified_by="multipart-etag", etag=etag)
        return None

    def _proof_by_reading(self, path: str, attributes: Attributes, etag: str | None) -> Proof:
        found = self.digest(path)
        try:
            require_same(self.url_of(path), sent=attributes.md5, found=found)
        except DigestMismatchError:
            self.delete(path)
            raise
        return Proof(md5=found, verified_by="read-back", etag=etag)

    def abort(self, upload: Upload) -> None:
        """Abort a multipart upload."""
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
        self._requests.call(path, lambda: self._client.delete_object(Bucket=self._bucket, Key=key))

    def sync(self) -> None:
        """Do nothing: what S3 has acknowledged is durable."""
