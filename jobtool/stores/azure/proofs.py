"""Proofs that a blob holds what was written: by its MD5, by its blocks, or by reading it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from azure.storage.blob import BlobProperties

from jobtool.errors import DigestMismatchError, FileError, NotFoundError
from jobtool.stores.azure.blocks import uploads_in
from jobtool.stores.azure.metadata import etag_of, md5_in
from jobtool.stores.store import (
    Part,
    Proof,
    Store,
    composite_md5,
    mismatch,
    require_same,
)

#: IDs and sizes of blocks, in their order.
Blocks = Sequence[tuple[str, int]]


class Proofs:
    """Proves the blobs of a store. With ``read_back`` only reading them is accepted.

    ``head`` returns the properties of a blob. ``committed`` returns its blocks and its
    ETag.
    """

    def __init__(
        self,
        store: Store,
        head: Callable[[str], BlobProperties],
        committed: Callable[[str], tuple[Blocks, str | None]],
        *,
        read_back: bool,
        is_hierarchical: Callable[[], bool],
    ) -> None:
        self._store = store
        self._head = head
        self._committed = committed
        self._read_back = read_back
        self._is_hierarchical = is_hierarchical

    def of_blob(self, path: str, md5: str, composite: str, size: int | None = None) -> Proof | None:
        """Return the proof that a blob has this MD5 and size; None if it hasn't.

        ``composite`` is the ETag that S3 gives to the same bytes in parts.
        """
        try:
            found = self._head(path)
            stored, etag = md5_in(found.content_settings.content_md5), etag_of(found.etag)
            if size not in (None, found.size) or stored not in (None, md5):
                return None
            if not self._read_back:
                proof = self._by_service(path, md5, composite, stored, etag)
                if proof is not None:
                    return proof
            if self._store.digest(path) != md5:
                return None
        except NotFoundError:
            return None
        return Proof(md5=md5, verified_by="read-back", etag=etag)

    def _by_service(
        self, path: str, md5: str, composite: str, stored: str | None, etag: str | None
    ) -> Proof | None:
        """Return the proof by what the service computed or checked, if there is one.

        The MD5 of a blob in blocks is what its writer said. The service computes that of a blob
        that was written by one request, which has no blocks. In a hierarchical namespace, files
        that Data Lake Storage's own API wrote have none either, so the MD5 isn't believed there.
        """
        try:
            blocks, now = self._committed(path)
        except FileError as error:
            if error.retryable or isinstance(error, NotFoundError):
                raise
            return None  # a page blob or an append blob has no list
        if etag is not None and now != etag:
            return None
        if not blocks:
            if stored is None or self._is_hierarchical():
                return None
            return Proof(md5=md5, verified_by="stored-md5", etag=etag)
        uploads = uploads_in(blocks)
        if len(uploads) != 1:
            return None
        (held,) = uploads.values()
        parts = [
            Part(number=block.number, offset=0, size=block.size, md5=block.md5)
            for block in held.values()
        ]
        is_whole = [block.id for block in held.values()] == [name for name, _ in blocks]
        if not is_whole or composite_md5(parts) != composite:
            return None
        return Proof(md5=md5, verified_by="checked-blocks", etag=etag)

    def of_lost_answer(
        self, path: str, size: int, md5: str, composite: str, error: FileError
    ) -> Proof:
        """Return the proof that a blob holds what should be written, else raise ``error``."""
        proof = self.of_blob(path, md5, composite, size)
        if proof is None:
            raise error
        return proof

    def of_put(self, path: str, md5: str, stored: str | None, etag: str | None) -> Proof:
        """Return the proof of a blob that one request has written, by the answer's MD5.

        Without one the blob is read. Removes the blob and raises ``DigestMismatchError`` if it
        holds something else.
        """
        if stored is None or self._read_back:
            return self.by_reading(path, md5, etag)
        if stored != md5:
            self._store.delete(path)
            raise mismatch(self._store.url_of(path), sent=md5, found=stored)
        return Proof(md5=md5, verified_by="stored-md5", etag=etag)

    def of_commit(self, path: str, md5: str, parts: Sequence[Part], etag: str | None) -> Proof:
        """Return the proof of a blob whose blocks were just committed.

        The list of its blocks is read: it must be that of the parts, at the ETag of the commit.
        Otherwise the blob is read.
        """
        if not self._read_back:
            blocks, now = self._committed(path)
            if now == etag and blocks == [(part.etag, part.size) for part in parts]:
                return Proof(md5=md5, verified_by="checked-blocks", etag=etag)
        return self.by_reading(path, md5, etag)

    def by_reading(self, path: str, md5: str, etag: str | None) -> Proof:
        """Read what was just written, and remove it if it is something else."""
        found = self._store.digest(path)
        try:
            require_same(self._store.url_of(path), sent=md5, found=found)
        except DigestMismatchError:
            self._store.delete(path)
            raise
        return Proof(md5=found, verified_by="read-back", etag=etag)
