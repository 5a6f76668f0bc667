"""The S3 store: a bucket, or a prefix of one, by the protocol of stores.

A single PUT is proven by its ETag if that is the object's MD5. Parts are proven by the MD5 that the
store returned for each of them and for the whole. If ETags aren't MD5s (SSE-KMS, SSE-C, directory
buckets), the server's SHA-256 is the proof. Without either, the object is read back.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from jobtool.errors import (
    FileError,
    NotFoundError,
    RefusedError,
)
from jobtool.md5 import md5_of
from jobtool.names import quote
from jobtool.stores.original import Original
from jobtool.stores.s3.access import S3Access
from jobtool.stores.s3.codes import ExistsError
from jobtool.stores.s3.inside import Inside
from jobtool.stores.s3.listing import Listing
from jobtool.stores.s3.metadata import (
    condition_of,
    etag_of,
    in_whole_seconds,
    telling,
    told_of,
)
from jobtool.stores.s3.objects import Objects
from jobtool.stores.s3.proofs import Proofs
from jobtool.stores.s3.requests import Requests
from jobtool.stores.s3.sha256 import sha256_of
from jobtool.stores.s3.uploads import Uploads
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
    Store,
    Unlisted,
    Upload,
    check_path,
    digest_by_reading,
)
from jobtool.stores.stream import only_chunk, write_stream

#: The parts of a stream: how many (AWS, "Amazon S3 multipart upload limits"), of how many bytes.
_MOST_PARTS = 10_000
_STREAM_PART_BYTES = 64 * 1024 * 1024


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
            attributes_first=access.whole_md5 == "metadata",
            keeps=frozenset({"times"}),
            takes_many=True,
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
        self._uploads = Uploads(access, bucket, self._requests, self._proofs, self._key)
        self._inside = Inside(access, bucket, self._requests, self._objects, self._key, self._typed)

    def url_of(self, path: str) -> str:
        """Return the URL of ``path``."""
        return f"{self.url}/{path}" if path else self.url

    def _key(self, path: str) -> str:
        key = self._prefix + path
        try:
            size = len(key.encode())
        except UnicodeEncodeError:
            raise FileError(
                f"{quote(self.url_of(path))}: S3 keys are UTF-8, but this name isn't. "
                "Rename the file."
            ) from None
        if size > 1024:
            raise FileError(f"{quote(self.url_of(path))}: S3 keys have at most 1024 bytes")
        return key

    def require_name(self, path: str) -> None:
        """Raise ``FileError`` for a name that no key can have."""
        self._key(check_path(path))

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
        chunk, several = only_chunk(chunks)
        if chunk is None:
            return write_stream(
                self,
                path,
                several,
                attributes,
                most_parts=_MOST_PARTS,
                part_bytes=_STREAM_PART_BYTES,
            )
        if attributes.md5 is None:
            attributes = replace(attributes, md5=md5_of(chunk))
        return self._put(path, chunk, self._typed(path, attributes))

    def _put(self, path: str, data: bytes | memoryview, attributes: Attributes) -> Proof:
        """Write a whole object by one PUT.

        If the write must not replace anything and finds the same bytes, they are its proof: an
        earlier try wrote them but its answer was lost, or they are what it would write.
        """
        key = self._key(path)
        has_checksums = self._access.has_checksums(self._bucket)
        # As long as it isn't known, one more header costs nothing where boto3 writes anyway. AWS
        # knows it. Other servers may refuse the request for it, and need not be asked in vain.
        is_first = has_checksums is None and self._proofs.accepts_answers
        may_tell = self._access.only_boto3_writes or self._access.connection.is_aws
        is_told = has_checksums or (is_first and may_tell)
        checksum = sha256_of(data) if is_told else None
        try:
            answer, notes = self._send(path, key, data, attributes, checksum)
            found = self._proofs.by_answer(answer, attributes.md5, checksum)
            etag = etag_of(answer.get("ETag"))
            can_repeat = attributes.may_replace or etag is not None
            if found is None and is_first and checksum is None and can_repeat:
                # The first object whose ETag isn't an MD5. Perhaps its checksum proves it.
                answer, checksum = self._again(path, key, data, attributes, etag)
                found = self._proofs.by_answer(answer, attributes.md5, checksum)
                etag = etag_of(answer.get("ETag")) or etag
        except ExistsError as error:
            proof = self._proofs.of_lost_answer(path, len(data), attributes.md5, None, error)
            return replace(proof, notes=told_of(attributes).notes)
        if checksum is not None and self._proofs.accepts_answers:
            is_proof = found is not None and found.verified_by == "stored-sha256"
            self._access.note_checksums(self._bucket, is_proof)
        proof = found or self._proofs.by_reading(path, attributes, etag)
        version = answer.get("VersionId")
        if version is None and not notes and not proof.notes:
            return proof
        return replace(proof, version=version, notes=notes)

    def _again(
        self,
        path: str,
        key: str,
        data: bytes | memoryview,
        attributes: Attributes,
        etag: str | None,
    ) -> tuple[Mapping[str, Any], str | None]:
        """Send an object that was just sent, now with its checksum. Return answer and checksum.

        Both are empty if the data has changed, or if the request fails: what the first request left
        must be read then. Raises ``ExistsError`` if another writer has replaced it.
        """
        if md5_of(data) != attributes.md5:
            return {}, None
        checksum = sha256_of(data)
        try:
            answer, _ = self._send(path, key, data, attributes, checksum, replaced=etag)
        except ExistsError:
            raise
        except RefusedError:  # the server may not know this header
            return {}, checksum
        except FileError:
            return {}, None
        return answer, checksum

    def _send(
        self,
        path: str,
        key: str,
        data: bytes | memoryview,
        attributes: Attributes,
        checksum: str | None,
        *,
        replaced: str | None = None,
    ) -> tuple[Mapping[str, Any], tuple[Note, ...]]:
        """Send a whole object. ``replaced`` is the ETag of the one that this run has just sent."""
        condition = condition_of(attributes)
        if replaced is not None and condition:
            condition = {"IfMatch": f'"{replaced}"'}
        try:
            return telling(
                attributes,
                lambda told: self._objects.put(path, key, data, told, checksum, condition),
            )
        except RefusedError:
            if checksum is None or replaced is not None:
                raise
            self._access.note_checksums(self._bucket, False)  # if that isn't why, it fails again
            return self._send(path, key, data, attributes, None)

    def _typed(self, path: str, attributes: Attributes) -> Attributes:
        """Return the attributes of a new object with what ``[s3]`` adds to them."""
        return self._access.descriptions.added_to(attributes, path)

    def begin(self, path: str, attributes: Attributes) -> Upload:
        """Start a multipart upload. Its metadata can't be changed later."""
        return self._uploads.begin(check_path(path), self._typed(path, attributes))

    def put_part(
        self, upload: Upload, number: int, offset: int, data: bytes | memoryview, md5: str
    ) -> Part:
        """Send one part with its ``Content-MD5``, which the server checks."""
        return self._uploads.put_part(upload, number, offset, data, md5)

    def complete(self, upload: Upload, parts: Sequence[Part], attributes: Attributes) -> Proof:
        """Complete a multipart upload, and prove the object."""
        return self._uploads.complete(upload, parts, self._typed(upload.path, attributes))

    def held_parts(self, upload: Upload, parts: Sequence[Part]) -> Sequence[Part]:
        """Return the parts that ``ListParts`` reports with the ETags of ``parts``."""
        return self._uploads.held_parts(upload, parts)

    def leftovers(self, path: str, since_ns: int) -> Sequence[Upload]:
        """Return the multipart uploads of exactly this key, begun since then by server time."""
        return self._uploads.leftovers(path, since_ns)

    def abort(self, upload: Upload) -> None:
        """Abort a multipart upload."""
        self._uploads.abort(upload)

    def why_not_inside(self, source: Store) -> str | None:
        """Return why the server can't copy from ``source``; None if it may be able to."""
        if not self._proofs.accepts_answers:
            return "each file is to be read back"
        return self._inside.why_not(_inside_of(source))

    def original(self, source: Store, entry: Entry, part_bytes: int) -> Original:
        """Return what the server says of an object of ``source``, by one or two HEADs."""
        return self._inside.original(_inside_of(source), entry, part_bytes)

    def copy_inside(
        self, source: Store, original: Original, path: str, require_going: Callable[[], None]
    ) -> Proof | None:
        """Copy an object by ``CopyObject``, if its ETag is still that of the original."""
        return self._inside.copy(_inside_of(source), original, check_path(path))

    def copy_part_inside(
        self, source: Store, original: Original, upload: Upload, number: int, offset: int, size: int
    ) -> Part:
        """Copy a part by ``UploadPartCopy``, if the ETag is still that of the original."""
        return self._inside.copy_part(_inside_of(source), original, upload, number, offset, size)

    def prove(
        self, path: str, md5: str, composite: str, attributes: Attributes | None = None
    ) -> Proof | None:
        """Prove an object by its ETag, or by reading it if that isn't the expected MD5."""
        return self._proofs.of_object(path, md5, composite)

    def digest(self, path: str) -> str:
        """Read an object and return its MD5."""
        return digest_by_reading(self, path)

    def delete(self, path: str) -> None:
        """Remove an object."""
        self._objects.delete(path, self._key(check_path(path)))

    def delete_same(self, path: str, etag: str) -> bool:
        """Remove an object if it has this ETag; return False for another one."""
        return self._objects.delete(path, self._key(check_path(path)), etag)

    def sync(self) -> None:
        """Do nothing: S3 acknowledges only durable writes."""


def _inside_of(source: Store) -> Inside:
    assert isinstance(source, S3Store), "only stores of the same class are copied from"
    return source._inside
