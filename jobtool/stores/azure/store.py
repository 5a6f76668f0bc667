"""The Azure store: a container, or a prefix of one, by the protocol of stores.

A blob written by one request is proven by the MD5 that the service computed and answered. A blob
written in blocks is proven by the list of its committed blocks: the service has checked the MD5 of
each, and the ID of each names that MD5.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence

from msgspec.structs import replace

from jobtool.errors import DigestMismatchError, FileError, JobtoolError, NotFoundError
from jobtool.md5 import md5_of
from jobtool.stores.azure.blobs import Blobs
from jobtool.stores.azure.blocks import MAX_BLOCKS, is_of, mark_of, new_token
from jobtool.stores.azure.codes import BlocksLostError, ExistsError
from jobtool.stores.azure.container import Container
from jobtool.stores.azure.inside import Inside
from jobtool.stores.azure.listing import Listing
from jobtool.stores.azure.metadata import etag_of, is_folder, modified_ns, told_of
from jobtool.stores.azure.proofs import Proofs
from jobtool.stores.azure.uploads import Uploads
from jobtool.stores.original import Original
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
    composite_md5,
    digest_by_reading,
    mismatch,
)
from jobtool.stores.stream import only_chunk, write_stream


class AzureStore:
    """A container, or a prefix of one.

    ``root`` is the URL of the container, and ``owner`` marks the uploads of this store. With
    ``read_back`` only reading proves what was written. With ``is_source`` archived blobs are asked
    for, if the settings say so.
    """

    capabilities = Capabilities(keeps=frozenset({"times"}), takes_many=True)

    def __init__(
        self,
        container: Container,
        prefix: str,
        root: str,
        *,
        owner: str = "",
        read_back: bool = False,
        is_source: bool = False,
    ) -> None:
        self._prefix = f"{prefix}/" if prefix else ""
        self._owner = owner
        self.url = f"{root}/{prefix}".rstrip("/")
        self._blobs = Blobs(container, self._prefix, self.url, is_source=is_source)
        self._uploads = Uploads(self._blobs)
        self._listing = Listing(container, self._prefix, self.url)
        self._copies = Inside(self._blobs, self._uploads)
        self._is_read_back = read_back
        self._proofs = Proofs(
            self,
            self._blobs.head,
            self._uploads.committed,
            read_back=read_back,
            is_hierarchical=lambda: container.is_hierarchical(self.url),
        )

    def url_of(self, path: str) -> str:
        """Return the URL of ``path``."""
        return self._blobs.url_of(path)

    def _inside(self, path: str) -> str:
        """Return how the names begin of what is in a folder."""
        return f"{self._blobs.name(path)}/" if path else self._prefix

    def stat(self, path: str, *, file_only: bool = False) -> StatResult:
        """Return what is at ``path``. A folder takes a second request."""
        if path:
            try:
                found = self._blobs.head(path)
            except NotFoundError:
                if file_only:
                    return "missing"
            else:
                if is_folder(found.metadata):
                    return "folder"
                return Entry(path, found.size, modified_ns(found), etag_of(found.etag))
        return "folder" if self._listing.is_any(path, self._inside(path)) else "missing"

    def children(self, path: str) -> Iterator[Child | Unlisted]:
        """Yield what is directly inside ``path``."""
        yield from self._listing.children(path, self._inside(path))

    def list(self) -> Iterator[Entry | Special | Unlisted]:
        """Yield every blob below the root."""
        yield from self._listing.entries()

    def require_name(self, path: str) -> None:
        """Raise ``FileError`` for a name that no blob can have."""
        self._blobs.new_name(path)

    def check_access(self, *, write: bool) -> None:
        """List one blob or, with ``write``, ask for a write whose condition can't be met."""
        if write:
            self._blobs.try_to_write(f".jobtool-access-{secrets.token_hex(8)}")
        else:
            self._listing.try_it()

    def read(self, entry: Entry, offset: int, length: int) -> Content:
        """Return bytes of a blob by one request, which fails if its ETag isn't the listed one."""
        return self._blobs.read(entry, offset, length)

    def write(
        self, path: str, chunks: Iterable[bytes | memoryview], attributes: Attributes
    ) -> Proof | None:
        """Write a whole blob: one chunk by one request, longer streams in blocks."""
        check_path(path)
        chunk, several = only_chunk(chunks)
        if chunk is None:
            return write_stream(self, path, several, attributes, most_parts=MAX_BLOCKS)
        return self._put(path, chunk, attributes.md5 or md5_of(chunk), attributes)

    def _put(self, path: str, data: bytes | memoryview, md5: str, attributes: Attributes) -> Proof:
        """Write a whole blob by one request, which the service refuses if the MD5 is wrong.

        If the write must not replace anything and finds the same bytes, they are its proof: an
        earlier try wrote them but its answer was lost, or they are what it would write.
        """
        told = told_of(attributes)
        try:
            etag, stored = self._blobs.put(
                path, data, md5, told, may_replace=attributes.may_replace
            )
        except ExistsError as error:
            proof = self._proofs.of_lost_answer(path, len(data), md5, "", error)
        except DigestMismatchError:
            found = md5_of(data)
            shown = "other bytes" if found == md5 else found
            raise mismatch(self.url_of(path), sent=md5, found=shown) from None
        else:
            proof = self._proofs.of_put(path, md5, stored, etag)
        return replace(proof, notes=told.notes)

    def begin(self, path: str, attributes: Attributes) -> Upload:
        """Name an upload. The service hears of it with its first block."""
        self._blobs.new_name(path)
        return Upload(path=path, token=new_token(self._owner), attributes=attributes)

    def put_part(
        self, upload: Upload, number: int, offset: int, data: bytes | memoryview, md5: str
    ) -> Part:
        """Send one block with its ``Content-MD5``, which the service checks."""
        sent_id = self._uploads.send(upload.path, upload.token, number, data, md5)
        return Part(number=number, offset=offset, size=len(data), md5=md5, etag=sent_id)

    def complete(self, upload: Upload, parts: Sequence[Part], attributes: Attributes) -> Proof:
        """Commit the blocks. A second call after a lost answer commits the same ones again."""
        path, md5 = upload.path, attributes.md5
        assert md5 is not None, "complete() needs the MD5 of the whole"
        told = told_of(attributes)
        try:
            etag = self._uploads.commit(path, parts, md5, told, may_replace=attributes.may_replace)
        except (NotFoundError, BlocksLostError, ExistsError) as error:
            failure: FileError = error
            if isinstance(error, NotFoundError):
                failure = BlocksLostError(f"the upload was dropped at the service: {error}")
            # Perhaps an earlier try has committed them, and its answer was lost.
            size, composite = sum(part.size for part in parts), composite_md5(parts)
            proof = self._proofs.of_lost_answer(path, size, md5, composite, failure)
            with contextlib.suppress(JobtoolError):
                self.abort(upload)
        else:
            proof = self._proofs.of_commit(path, md5, parts, etag)
        return replace(proof, notes=told.notes)

    def held_parts(self, upload: Upload, parts: Sequence[Part]) -> Sequence[Part]:
        """Return those of ``parts`` whose blocks the service still holds."""
        held = self._uploads.of(upload.path, upload.token)
        return [part for part in parts if is_of(part, held.get(part.number))]

    def abort(self, upload: Upload) -> None:
        """Mark an upload as dropped. Its blocks are invisible, and end within a week."""
        self._uploads.drop(upload.path, upload.token)

    def leftovers(self, path: str, since_ns: int) -> Sequence[Upload]:
        """Return the unfinished uploads of ``path`` that this owner began, at any time."""
        mark, unknown = mark_of(self._owner), Attributes(mtime_ns=0)
        return [
            Upload(path=path, token=token, attributes=unknown)
            for token in self._uploads.unfinished(check_path(path))
            if token.startswith(mark)
        ]

    def why_not_inside(self, source: Store) -> str | None:
        """Return why the service can't copy from ``source``; None if it may be able to."""
        if self._is_read_back:
            return "each file is to be read back"
        return self._copies.why_not(_copies_of(source))

    def original(self, source: Store, entry: Entry, part_bytes: int) -> Original:
        """Return what the service says of a blob of ``source`` and of its blocks."""
        return self._copies.original(_copies_of(source), entry, part_bytes)

    def copy_inside(
        self, source: Store, original: Original, path: str, require_going: Callable[[], None]
    ) -> Proof | None:
        """Copy a blob by "Copy Blob From URL", with the MD5 that it must have."""
        return self._copies.copy(_copies_of(source), original, path)

    def copy_part_inside(
        self, source: Store, original: Original, upload: Upload, number: int, offset: int, size: int
    ) -> Part:
        """Copy a block by "Put Block From URL", with the MD5 that it must have."""
        return self._copies.copy_part(_copies_of(source), original, upload, number, offset, size)

    def prove(
        self, path: str, md5: str, composite: str, attributes: Attributes | None = None
    ) -> Proof | None:
        """Prove that a blob has this MD5, by what the service says of it or by reading it."""
        return self._proofs.of_blob(path, md5, composite)

    def digest(self, path: str) -> str:
        """Return a blob's MD5 by reading it."""
        return digest_by_reading(self, path)

    def delete(self, path: str) -> None:
        """Remove a blob."""
        with contextlib.suppress(NotFoundError):
            self._blobs.delete(check_path(path))

    def delete_same(self, path: str, etag: str) -> bool:
        """Remove a blob that has this ETag; return False for another one."""
        try:
            self._blobs.delete_same(check_path(path), etag)
        except NotFoundError:
            pass
        except ExistsError:  # also for one that is gone
            return self.stat(path, file_only=True) == "missing"
        return True

    def sync(self) -> None:
        """Do nothing: what the service has confirmed is durable."""


def _copies_of(source: Store) -> Inside:
    assert isinstance(source, AzureStore), "only stores of the same class are copied from"
    return source._copies
