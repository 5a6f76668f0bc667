"""Proofs that a file of HDFS holds what was sent, by its checksum or by reading it."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from jobtool.errors import FileError, InfrastructureError, StoreError
from jobtool.names import quote
from jobtool.stores.hdfs.client import Client, Extras
from jobtool.stores.hdfs.sums import CRC_BYTES, BlockSums, is_checksum_of
from jobtool.stores.store import READ_BYTES, Proof, require_same

#: From this size on, asking for a file's checksum takes less time than reading the file. A DataNode
#: connects to the NameNode and to the others for each checksum, which takes as long as 16 MiB.
CHECKSUM_BYTES = 16 * 1024 * 1024

_LOOKS, _LOOK_SECONDS = 200, 0.05


class Proofs:
    """Proves files. With ``read_back``, or without ``extras``, by reading them."""

    def __init__(self, client: Client, extras: Extras | None, *, read_back: bool) -> None:
        self._client = client
        self._extras = None if read_back else extras
        self._block_bytes: int | None = None

    def block_bytes(self, path: str) -> int | None:
        """Return the size of the blocks of new files, as a new file shows it.

        None if checksums aren't used.
        """
        if self._extras is None:
            return None
        if self._block_bytes is None:
            for _ in range(_LOOKS):  # a DataNode may not have made the file yet
                found = self._client.status(path)
                if found is not None:
                    self._block_bytes = found.block_bytes
                    break
                time.sleep(_LOOK_SECONDS)
        usable = self._block_bytes and self._block_bytes % CRC_BYTES == 0
        return self._block_bytes if usable else None

    def has(self, path: str, blocks: Sequence[str]) -> bool:
        """Return True if a file's checksum is that of these blocks.

        If False, the file may still hold the same bytes: it must be read.
        """
        if self._extras is None or not blocks:
            return False
        with contextlib.suppress(FileError, InfrastructureError):
            return is_checksum_of(self._extras.checksum(path), blocks)
        return False

    def md5_of(self, path: str, offset: int, length: int) -> str:
        """Read a range of a file and return its MD5."""
        digest = hashlib.md5(usedforsecurity=False)
        for data in self.bytes_of(path, offset, length):
            digest.update(data)
        return digest.hexdigest()

    def bytes_of(self, path: str, offset: int, length: int) -> Iterator[bytes]:
        """Read a range of a file, some MiB at a time. Raises ``StoreError`` if it has fewer."""
        end = offset + length
        for at in range(offset, end, READ_BYTES):
            asked = min(READ_BYTES, end - at)
            data = self._client.read(path, at, asked)
            if data is None or len(data) != asked:
                raise StoreError(f"{quote(path)}: expected {end} bytes; the file is shorter now")
            yield data

    def of_sent(self, path: str, url: str, sending: Sending) -> Proof:
        """Prove a file that was just written. Raises ``DigestMismatchError``."""
        if sending.md5 is not None:
            require_same(url, sent=sending.announced or sending.md5, found=sending.md5)
            if sending.size >= CHECKSUM_BYTES and self.has(path, sending.blocks()):
                return Proof(md5=sending.md5, verified_by="hdfs-checksum")
        found = self.md5_of(path, 0, sending.size)
        require_same(url, sent=sending.md5 or sending.announced, found=found)
        return Proof(md5=found, verified_by="read-back")


class Sending:
    """The chunks of a file, hashed on their way.

    ``announced`` is the MD5 that the caller expects. A single chunk with a known MD5 isn't hashed,
    since it is read again. ``block_bytes`` is asked when the second chunk comes.
    """

    def __init__(
        self,
        chunks: Iterable[bytes | memoryview],
        announced: str | None,
        block_bytes: Callable[[], int | None],
    ) -> None:
        self._chunks = chunks
        self._block_bytes = block_bytes
        self._sums: BlockSums | None = None
        self.announced = announced
        self.size = 0
        self.md5: str | None = None

    def __iter__(self) -> Iterator[bytes | memoryview]:
        """Yield the chunks."""
        digest = hashlib.md5(usedforsecurity=False)
        rest = iter(self._chunks)
        first = next(rest, b"")
        second = next(rest, None)
        if second is None and self.announced is not None and len(first) < CHECKSUM_BYTES:
            self.size = len(first)
            yield first
            return
        if second is not None or len(first) >= CHECKSUM_BYTES:
            block_bytes = self._block_bytes()
            self._sums = BlockSums(block_bytes) if block_bytes else None
        chunk: bytes | memoryview | None = first
        while chunk is not None:
            digest.update(chunk)
            if self._sums is not None:
                self._sums.update(chunk)
            self.size += len(chunk)
            yield chunk
            chunk, second = second, next(rest, None)
        self.md5 = digest.hexdigest()

    def blocks(self) -> list[str]:
        """Return the checksums of the file's blocks; none if they weren't computed."""
        return [] if self._sums is None else self._sums.blocks()
