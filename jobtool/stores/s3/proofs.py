"""Proofs that an object holds what was written, by its ETag or by reading it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from jobtool.errors import DigestMismatchError, FileError, NotFoundError
from jobtool.stores.s3.metadata import etag_of
from jobtool.stores.s3.sha256 import FIELD
from jobtool.stores.store import Attributes, Proof, Store, require_same


class Proofs:
    """Proves the objects of a store. With ``read_back`` ETags aren't accepted as proof.

    ``head`` returns what the server says of the object at a path.
    """

    def __init__(
        self, store: Store, head: Callable[[str], Mapping[str, Any]], *, read_back: bool
    ) -> None:
        self._store = store
        self._head = head
        self._read_back = read_back

    def of_object(
        self, path: str, md5: str, composite: str | None, size: int | None = None
    ) -> Proof | None:
        """Return the proof that an object has this MD5 and size; None if it hasn't.

        ``composite`` is the ETag of the same bytes in parts. An ETag that is neither doesn't
        refute: the object is read then.
        """
        try:
            head = self._head(path)
            if size is not None and head.get("ContentLength") != size:
                return None
            etag, version = etag_of(head.get("ETag")), head.get("VersionId")
            proof = self.by_etag(etag, md5, composite)
            if proof is not None:
                return replace(proof, version=version)
            if self._store.digest(path) != md5:
                return None
        except NotFoundError:
            return None
        return Proof(md5=md5, verified_by="read-back", etag=etag, version=version)

    def of_lost_answer(
        self, path: str, size: int, md5: str | None, composite: str | None, error: FileError
    ) -> Proof:
        """Return the proof that an object holds what should be written, else raise ``error``."""
        assert md5 is not None, "a write needs the MD5 of the whole"
        proof = self.of_object(path, md5, composite, size)
        if proof is None:
            raise error
        return proof

    def by_etag(
        self, etag: str | None, md5: str | None, composite: str | None = None
    ) -> Proof | None:
        """Return the proof by an ETag. Some servers use the MD5 of the whole for parts, too."""
        if etag is None or md5 is None or self._read_back:
            return None
        if etag.lower() == md5:
            return Proof(md5=md5, verified_by="etag-md5", etag=etag)
        if etag.lower() == composite:
            return Proof(md5=md5, verified_by="multipart-etag", etag=etag)
        return None

    def by_checksum(
        self, answer: Mapping[str, Any], checksum: str | None, md5: str | None
    ) -> Proof | None:
        """Return the proof by the SHA-256 in the server's answer to a write.

        A HEAD proves nothing: ``rclone serve s3`` returns there whatever was sent.
        """
        if checksum is None or md5 is None or self._read_back or answer.get(FIELD) != checksum:
            return None
        return Proof(md5=md5, verified_by="stored-sha256", etag=etag_of(answer.get("ETag")))

    def by_answer(
        self, answer: Mapping[str, Any], md5: str | None, checksum: str | None
    ) -> Proof | None:
        """Return the proof of a whole object by the server's answer to its PUT."""
        by_etag = self.by_etag(etag_of(answer.get("ETag")), md5)
        return by_etag or self.by_checksum(answer, checksum, md5)

    @property
    def accepts_answers(self) -> bool:
        """Whether a server's answer to a write can be a proof."""
        return not self._read_back

    def by_reading(self, path: str, attributes: Attributes, etag: str | None) -> Proof:
        """Read what was just written, and remove it if it is something else."""
        found = self._store.digest(path)
        try:
            require_same(self._store.url_of(path), sent=attributes.md5, found=found)
        except DigestMismatchError:
            self._store.delete(path)
            raise
        return Proof(md5=found, verified_by="read-back", etag=etag)
