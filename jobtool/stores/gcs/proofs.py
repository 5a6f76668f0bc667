"""Proofs that an object holds what was written: by its MD5, its CRC-32C, or by reading it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from jobtool.errors import DigestMismatchError, FileError, NotFoundError
from jobtool.names import quote
from jobtool.stores.gcs.crc32c import as_base64
from jobtool.stores.gcs.metadata import Found
from jobtool.stores.gcs.objects import Objects
from jobtool.stores.gcs.uploads import crc_of
from jobtool.stores.store import Part, Proof, Store, mismatch, require_same


class Proofs:
    """Proves the objects of a store. With ``read_back`` only reading them is accepted."""

    def __init__(self, store: Store, objects: Objects, *, read_back: bool) -> None:
        self._store = store
        self._objects = objects
        self._read_back = read_back

    def of_object(self, path: str, md5: str) -> Proof | None:
        """Return the proof that an object has this MD5; None if it hasn't.

        A composed object has no MD5, so it is read.
        """
        try:
            found = self._objects.head(path)
            if found.md5 not in (None, md5):
                return None
            if found.md5 is not None and not self._read_back:
                return Proof(md5=md5, verified_by="stored-md5", etag=found.generation)
            if self._store.digest(path) != md5:
                return None
        except NotFoundError:
            return None
        return Proof(md5=md5, verified_by="read-back", etag=found.generation)

    def of_lost_put(self, path: str, md5: str, error: FileError) -> Proof:
        """Return the proof that an object holds what should be written, else raise ``error``."""
        proof = self.of_object(path, md5)
        if proof is None:
            raise error
        return proof

    def of_put(self, path: str, md5: str, found: Found) -> Proof:
        """Return the proof of an object that one request has written, by the answer's MD5.

        Without one the object is read. Removes an object that holds something else, and raises
        ``DigestMismatchError``.
        """
        if found.md5 is None or self._read_back:
            return self._by_reading(path, md5, found)
        if found.md5 != md5:
            self._remove(path, found)
            raise mismatch(self._store.url_of(path), sent=md5, found=found.md5)
        return Proof(md5=md5, verified_by="stored-md5", etag=found.generation)

    def of_composed(self, path: str, md5: str, parts: Sequence[Part], found: Found) -> Proof:
        """Return the proof of an object that was composed of parts, by the answer's CRC-32C.

        Without one the object is read. Removes an object that holds something else, and raises
        ``DigestMismatchError``.
        """
        if found.crc32c is None or self._read_back:
            return self._by_reading(path, md5, found)
        if not is_of(found, parts):
            self._remove(path, found)
            raise DigestMismatchError(
                f"{quote(self._store.url_of(path))}: expected {_size_of(parts)} bytes with the "
                f"CRC-32C {as_base64(crc_of(parts))}, as computed of what was sent; the service "
                f"holds {found.size} with {found.crc32c}. What was written has been removed."
            )
        return Proof(md5=md5, verified_by="stored-crc32c", etag=found.generation)

    def of_lost_compose(
        self, path: str, md5: str, parts: Sequence[Part], error: FileError
    ) -> Proof:
        """Return the proof that an object is composed of parts already, else raise ``error``."""
        with contextlib.suppress(NotFoundError):
            found = self._objects.head(path)
            if is_of(found, parts):
                return self.of_composed(path, md5, parts, found)
        raise error

    def _by_reading(self, path: str, md5: str, found: Found) -> Proof:
        held = self._store.digest(path)
        try:
            require_same(self._store.url_of(path), sent=md5, found=held)
        except DigestMismatchError:
            self._remove(path, found)
            raise
        return Proof(md5=md5, verified_by="read-back", etag=found.generation)

    def _remove(self, path: str, found: Found) -> None:
        """Remove what was written, but nothing that another program has written since."""
        with contextlib.suppress(NotFoundError):
            self._objects.delete(path, self._objects.name(path), found.generation)


def is_of(found: Found, parts: Sequence[Part]) -> bool:
    """Return True if an object has the size and the CRC-32C of its parts."""
    return (found.size, found.crc32c) == (_size_of(parts), as_base64(crc_of(parts)))


def _size_of(parts: Sequence[Part]) -> int:
    return sum(part.size for part in parts)
