"""The store of Google Cloud Storage: a bucket, or a prefix of one, by the protocol of stores.

An object written by one request is proven by the MD5 that the service computed and answered. A
composed one is proven by the CRC-32C that the service answers, which must be that of the bytes
sent.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence

from msgspec.structs import replace

from jobtool.errors import (
    DigestMismatchError,
    FileError,
    JobtoolError,
    NotFoundError,
    ServerError,
    StoreError,
)
from jobtool.md5 import md5_of
from jobtool.names import quote
from jobtool.stores.gcs.codes import ConditionError
from jobtool.stores.gcs.inside import Inside
from jobtool.stores.gcs.listing import Listing
from jobtool.stores.gcs.metadata import told_of
from jobtool.stores.gcs.objects import Objects
from jobtool.stores.gcs.proofs import Proofs
from jobtool.stores.gcs.service import Service
from jobtool.stores.gcs.uploads import MAX_PARTS, Uploads
from jobtool.stores.location import Location
from jobtool.stores.original import NotCopiedError, Original
from jobtool.stores.store import (
    Attributes,
    Capabilities,
    Child,
    Content,
    Entry,
    Part,
    Proof,
    Special,
    StatResult,
    Store,
    Unlisted,
    Upload,
    check_path,
    digest_by_reading,
    mismatch,
)
from jobtool.stores.stream import only_chunk, write_stream


class GcsStore:
    """A bucket, or a prefix of one.

    ``owner`` marks the unfinished uploads of this store. With ``read_back`` only reading proves
    what was written.
    """

    capabilities = Capabilities(keeps=frozenset({"times"}), takes_many=True)

    def __init__(
        self,
        service: Service,
        location: Location,
        *,
        owner: str = "",
        read_back: bool = False,
    ) -> None:
        self.url = location.url
        prefix = f"{location.path}/" if location.path else ""
        self._objects = Objects(service, location.name, prefix, self.url)
        self._listing = Listing(self._objects)
        self._uploads = Uploads(self._objects, self._listing, owner)
        self._proofs = Proofs(self, self._objects, read_back=read_back)
        self._copies = Inside(self._objects)
        self._is_read_back = read_back

    def url_of(self, path: str) -> str:
        """Return the URL of ``path``."""
        return self._objects.url_of(path)

    def _inside(self, path: str) -> str:
        """Return how the names begin of what is in a folder."""
        return f"{self._objects.name(path)}/" if path else self._objects.prefix

    def stat(self, path: str, *, file_only: bool = False) -> StatResult:
        """Return what is at ``path``. A folder takes a second request."""
        if path:
            try:
                return self._objects.head(path).entry(path)
            except NotFoundError:
                if file_only:
                    return "missing"
        return "folder" if self._listing.is_any(path, self._inside(path)) else "missing"

    def children(self, path: str) -> Iterator[Child | Unlisted]:
        """Yield what is directly inside ``path``."""
        yield from self._listing.children(path, self._inside(path))

    def list(self) -> Iterator[Entry | Special | Unlisted]:
        """Yield every object below the root."""
        yield from self._listing.entries()

    def require_name(self, path: str) -> None:
        """Raise ``FileError`` for a name that no object can have."""
        self._objects.new_name(path)

    def check_access(self, *, write: bool) -> None:
        """List one object or, with ``write``, ask for a write whose condition can't be met."""
        if write:
            self._objects.try_to_write(f".jobtool-access-{secrets.token_hex(8)}")
        else:
            self._listing.is_any("", self._objects.prefix)

    def read(self, entry: Entry, offset: int, length: int) -> Content:
        """Return bytes of an object by one request, which fails for another generation.

        If the object has metadata of a user, another request asks for it.
        """
        return self._objects.read(entry, offset, length)

    def write(
        self, path: str, chunks: Iterable[bytes | memoryview], attributes: Attributes
    ) -> Proof | None:
        """Write a whole object: one chunk by one request, longer streams in parts."""
        check_path(path)
        chunk, several = only_chunk(chunks)
        if chunk is None:
            return write_stream(self, path, several, attributes, most_parts=MAX_PARTS)
        return self._put(path, chunk, attributes.md5 or md5_of(chunk), attributes)

    def _put(self, path: str, data: bytes | memoryview, md5: str, attributes: Attributes) -> Proof:
        """Write a whole object by one request, which the service refuses if the MD5 is wrong.

        If the write must not replace anything and finds the same bytes, they are its proof: an
        earlier try wrote them but its answer was lost, or they are what it would write.
        """
        name, told = self._objects.new_name(path), told_of(attributes, with_md5=False)
        try:
            found = self._objects.put(
                path, name, data, md5, told, may_replace=attributes.may_replace
            )
        except ConditionError as error:
            proof = self._proofs.of_lost_put(path, md5, error)
        except DigestMismatchError:
            sent = md5_of(data)
            shown = "other bytes" if sent == md5 else sent
            raise mismatch(self.url_of(path), sent=md5, found=shown) from None
        else:
            proof = self._proofs.of_put(path, md5, found)
        return replace(proof, notes=told.notes)

    def begin(self, path: str, attributes: Attributes) -> Upload:
        """Name an upload. The service hears of it with its first part."""
        return Upload(path=path, token=self._uploads.begin(path), attributes=attributes)

    def put_part(
        self, upload: Upload, number: int, offset: int, data: bytes | memoryview, md5: str
    ) -> Part:
        """Write one part with its MD5, which the service checks."""
        try:
            etag = self._uploads.send(upload.path, upload.token, number, data, md5)
        except DigestMismatchError as error:
            raise DigestMismatchError(f"part {number}: {error}") from None
        return Part(number=number, offset=offset, size=len(data), md5=md5, etag=etag)

    def complete(self, upload: Upload, parts: Sequence[Part], attributes: Attributes) -> Proof:
        """Compose the parts. A second call after a lost answer finds what the first has made."""
        path, md5 = upload.path, attributes.md5
        assert md5 is not None, "complete() needs the MD5 of the whole"
        told = told_of(attributes, with_md5=True)
        try:
            found = self._uploads.compose(
                path, upload.token, parts, told, may_replace=attributes.may_replace
            )
        except (NotFoundError, ConditionError, ServerError) as error:
            failure: FileError = error
            if isinstance(error, NotFoundError):
                failure = StoreError(
                    f"{quote(self.url_of(path))}: the service lacks parts of the upload: {error}"
                )
            proof = self._proofs.of_lost_compose(path, md5, parts, failure)
        else:
            proof = self._proofs.of_composed(path, md5, parts, found)
        with contextlib.suppress(JobtoolError):  # the file is published; the parts are leftovers
            self.abort(upload)
        return replace(proof, notes=told.notes)

    def held_parts(self, upload: Upload, parts: Sequence[Part]) -> Sequence[Part]:
        """Return those of ``parts`` that the service still holds."""
        return self._uploads.held(upload.path, upload.token, parts)

    def abort(self, upload: Upload) -> None:
        """Remove the parts of an upload. Do nothing if it isn't this owner's."""
        self._uploads.drop(upload.path, upload.token)

    def leftovers(self, path: str, since_ns: int) -> Sequence[Upload]:
        """Return the unfinished uploads of this owner in the folder of ``path``."""
        unknown = Attributes(mtime_ns=0)
        return [
            Upload(path=path, token=token, attributes=unknown)
            for token in self._uploads.tokens(check_path(path))
        ]

    def is_leftover(self, path: str) -> bool:
        """Return True if an object is a part of an unfinished upload of this owner."""
        return self._uploads.owns(path)

    def why_not_inside(self, source: Store) -> str | None:
        """Return why the service can't copy from ``source``; None if it may be able to."""
        if self._is_read_back:
            return "each file is to be read back"
        return self._copies.why_not(_copies_of(source))

    def original(self, source: Store, entry: Entry, part_bytes: int) -> Original:
        """Return what the service says of an object of ``source``. All are copied whole."""
        return self._copies.original(_copies_of(source), entry)

    def copy_inside(
        self, source: Store, original: Original, path: str, require_going: Callable[[], None]
    ) -> Proof | None:
        """Copy an object by requests to rewrite it, if it is still the original's generation."""
        return self._copies.copy(_copies_of(source), original, path, require_going)

    def copy_part_inside(
        self, source: Store, original: Original, upload: Upload, number: int, offset: int, size: int
    ) -> Part:
        """Refuse to copy a part, since the service copies only whole objects."""
        raise NotCopiedError(
            f"{quote(self.url_of(upload.path))}: Google Cloud Storage copies no parts of objects"
        )

    def prove(
        self, path: str, md5: str, composite: str, attributes: Attributes | None = None
    ) -> Proof | None:
        """Prove that an object has this MD5: by the service's, or by reading a composed one."""
        return self._proofs.of_object(path, md5)

    def digest(self, path: str) -> str:
        """Return an object's MD5 by reading it."""
        return digest_by_reading(self, path)

    def delete(self, path: str) -> None:
        """Remove an object."""
        with contextlib.suppress(NotFoundError):
            self._objects.delete(check_path(path), self._objects.name(path))

    def delete_same(self, path: str, etag: str) -> bool:
        """Remove an object that has this generation; return False for another one."""
        try:
            self._objects.delete_same(check_path(path), self._objects.name(path), etag)
        except NotFoundError:
            pass
        except ConditionError:
            return False
        return True

    def sync(self) -> None:
        """Do nothing: what the service has confirmed is durable."""


def _copies_of(source: Store) -> Inside:
    assert isinstance(source, GcsStore), "only stores of the same class are copied from"
    return source._copies
