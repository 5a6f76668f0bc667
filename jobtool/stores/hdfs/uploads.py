"""Files in parts: each part is a file in a folder beside the target.

The folder has a temporary name. Its file ``whole`` is made empty. When all parts are there, HDFS
moves their blocks to it (``concat``), and it is renamed to the target. ``concat`` removes the parts
it has moved, so that after an interruption the beginning of the file may be in ``whole``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

from jobtool.errors import DigestMismatchError, NotFoundError, StoreError
from jobtool.names import quote
from jobtool.stores.hdfs.client import Client, Extras
from jobtool.stores.hdfs.errors import UnsupportedError
from jobtool.stores.hdfs.proofs import Proofs
from jobtool.stores.hdfs.sums import BlockSums
from jobtool.stores.local.temporaries import Temporaries
from jobtool.stores.store import Part, Proof, require_same

_WHOLE, _NEW = "whole", "new"
_PART_MODE = 0o600


class Uploads:
    """Writes and joins parts. ``folder`` is an upload's, by its absolute path."""

    def __init__(
        self, client: Client, extras: Extras | None, proofs: Proofs, temporaries: Temporaries
    ) -> None:
        self._client = client
        self._extras = extras
        self._proofs = proofs
        self._temporaries = temporaries

    def begin(self, target: str, mode: int) -> str:
        """Make the folder of an upload, with an empty file. Return its path."""
        folder = f"{target.rpartition('/')[0]}/{self._temporaries.new()}"
        self._client.create(f"{folder}/{_WHOLE}", (), mode=mode, parents=True)
        return folder

    def put(
        self, folder: str, number: int, data: bytes | memoryview, md5: str, url: str
    ) -> str | None:
        """Write one part. Return the checksums of its blocks, or None if they aren't used."""
        found = hashlib.md5(data, usedforsecurity=False).hexdigest()
        require_same(url, sent=md5, found=found)
        try:
            block_bytes = self._proofs.block_bytes(f"{folder}/{_WHOLE}")
            self._client.create(_part(folder, number), (data,), mode=_PART_MODE, parents=False)
        except NotFoundError as error:
            raise StoreError(f"the upload was dropped: {error}") from None
        if block_bytes is None:
            return None
        sums = BlockSums(block_bytes)
        sums.update(data)
        return ",".join(sums.blocks())

    def held(self, folder: str, parts: Sequence[Part]) -> list[Part]:
        """Return the parts that are held as they were sent.

        Raises ``NotFoundError`` if the upload doesn't exist.
        """
        sizes = self._sizes(folder)
        joined = sizes[_WHOLE]
        found = [part for part in parts if self._is_held(folder, part, sizes)]
        lost = {part.number for part in parts} - {part.number for part in found}
        if joined and any(part.number in lost and part.offset < joined for part in parts):
            # A part can't be replaced in what is joined: all are sent again.
            self._replace_whole(folder, ())
            return [part for part in found if part.offset >= joined]
        return found

    def _is_held(self, folder: str, part: Part, sizes: dict[str, int]) -> bool:
        if part.offset + part.size <= sizes[_WHOLE]:
            return self._proofs.md5_of(f"{folder}/{_WHOLE}", part.offset, part.size) == part.md5
        path = _part(folder, part.number)
        if sizes.get(path.rpartition("/")[2]) != part.size:
            return False
        if self._proofs.has(path, _blocks_of([part])):
            return True
        return self._proofs.md5_of(path, 0, part.size) == part.md5

    def join(self, folder: str, parts: Sequence[Part], md5: str, url: str) -> tuple[str, Proof]:
        """Join the parts to one file and prove it. Return its path and the proof.

        Raises ``StoreError`` if a part is gone, and ``DigestMismatchError`` after removing all.
        """
        whole = f"{folder}/{_WHOLE}"
        try:
            sizes = self._sizes(folder)
        except NotFoundError as error:
            raise StoreError(f"the upload was dropped: {error}") from None
        joined, size = sizes[_WHOLE], sum(part.size for part in parts)
        rest = [part for part in parts if part.offset >= joined and part.size]
        for part in rest:
            found = sizes.get(_part("", part.number).lstrip("/"))
            if found != part.size:
                raise StoreError(
                    f"{quote(url)}: expected part {part.number} of {part.size} bytes in "
                    f"{quote(folder)}; found {'none' if found is None else f'{found} bytes'}"
                )
        can_join = self._extras is not None or not joined
        if joined + sum(part.size for part in rest) != size or not can_join:
            self.abort(folder)
            raise StoreError(f"{quote(url)}: {quote(whole)} doesn't end where a part does")
        self._move(folder, rest)
        blocks = _blocks_of(parts)
        if self._proofs.has(whole, blocks):
            return whole, Proof(md5=md5, verified_by="hdfs-checksum")
        try:
            require_same(url, sent=md5, found=self._proofs.md5_of(whole, 0, size))
        except DigestMismatchError:
            self.abort(folder)
            raise
        return whole, Proof(md5=md5, verified_by="read-back")

    def _move(self, folder: str, parts: Sequence[Part]) -> None:
        """Move parts to the whole file; copy them where HDFS can't, as in an encryption zone."""
        if not parts:
            return
        whole, paths = f"{folder}/{_WHOLE}", [_part(folder, part.number) for part in parts]
        if self._extras is not None:
            try:
                self._extras.concat(whole, paths)
            except UnsupportedError:
                pass
            else:
                return
        self._replace_whole(folder, self._bytes_of(folder, parts))

    def _replace_whole(self, folder: str, chunks: Iterable[bytes]) -> None:
        whole, new = f"{folder}/{_WHOLE}", f"{folder}/{_NEW}"
        status = self._client.status(whole)
        mode = _PART_MODE if status is None else status.mode
        self._client.create(new, chunks, mode=mode, parents=False)
        self._client.rename(new, whole, replace=True)

    def set_mode(self, folder: str, mode: int) -> None:
        """Set the permissions of a joined file, if it has others."""
        whole = f"{folder}/{_WHOLE}"
        status = self._client.status(whole)
        if status is not None and status.mode != mode:
            self._client.set_mode(whole, mode)

    def _bytes_of(self, folder: str, parts: Sequence[Part]) -> Iterator[bytes]:
        for part in parts:
            yield from self._proofs.bytes_of(_part(folder, part.number), 0, part.size)

    def abort(self, folder: str) -> None:
        """Remove an upload's folder with all that is in it."""
        self._client.delete(folder, recursive=True)

    def _sizes(self, folder: str) -> dict[str, int]:
        """Return the sizes of an upload's files. Raises ``NotFoundError`` if it doesn't exist."""
        try:
            sizes = {each.name: each.size for each in self._client.list(folder)}
        except NotFoundError:
            sizes = {}
        if _WHOLE not in sizes:
            raise NotFoundError(f"there is no upload in {quote(folder)}")
        return sizes


def _part(folder: str, number: int) -> str:
    return f"{folder}/{number:06}"


def _blocks_of(parts: Sequence[Part]) -> list[str]:
    """Return the checksums of all blocks of parts; none if one lacks them."""
    if any(part.size and not part.etag for part in parts):
        return []
    return [block for part in parts if part.etag for block in part.etag.split(",")]
