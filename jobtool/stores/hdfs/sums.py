"""HDFS's checksum of a file, computed here: MD5 of MD5s of CRC32C.

A DataNode keeps the CRC32C of each 512 bytes of a block. The checksum of a block is the MD5 of
these, as 4 bytes each, the most significant first. That of a file is the MD5 of the checksums of
its blocks, in order, and of zeros: Hadoop digests the whole buffer, whose size doubles when it is
full. Source: Hadoop, ``FileChecksumHelper`` and ``DataOutputBuffer.getData``.
"""

from __future__ import annotations

import hashlib
import re
import sys
from array import array
from collections.abc import Iterable

import google_crc32c

from jobtool.stores.hdfs.client import Checksummed

#: The bytes of a CRC, the default of ``dfs.bytes-per-checksum``. Files with others are read.
CRC_BYTES = 512

_ALGORITHM = re.compile(r"MD5-of-\d+MD5-of-512CRC32C")

_BUFFER_BYTES = 32

#: At most so many bytes are copied at a time.
_PIECE_BYTES = 1024 * 1024


class BlockSums:
    """Computes the checksums of a file's blocks while its bytes are sent.

    ``block_bytes`` is the size of a block, a multiple of 512.
    """

    def __init__(self, block_bytes: int) -> None:
        assert block_bytes > 0
        assert block_bytes % CRC_BYTES == 0
        self._block_bytes = block_bytes
        self._left = block_bytes  # in the current block
        self._rest = b""  # less than a chunk
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._is_begun = False
        self._done: list[str] = []

    def update(self, data: bytes | memoryview) -> None:
        """Add bytes."""
        view = memoryview(data).cast("B")
        while len(view):
            piece = view[: min(self._left, _PIECE_BYTES)]
            view = view[len(piece) :]
            self._left -= len(piece)
            self._is_begun = True
            self._add(self._rest + bytes(piece), is_end=not self._left)
            if not self._left:
                self._end_block()

    def blocks(self) -> list[str]:
        """Return the checksums of all blocks, in hex. Nothing may be added afterwards."""
        if self._is_begun:
            self._add(self._rest, is_end=True)
            self._end_block()
        return self._done

    def _add(self, data: bytes, *, is_end: bool) -> None:
        whole = len(data) if is_end else len(data) - len(data) % CRC_BYTES
        value = google_crc32c.value
        sums = array("I", [value(data[at : at + CRC_BYTES]) for at in range(0, whole, CRC_BYTES)])
        if sys.byteorder == "little":
            sums.byteswap()
        self._md5.update(sums)
        self._rest = data[whole:]

    def _end_block(self) -> None:
        self._done.append(self._md5.hexdigest())
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._left, self._is_begun = self._block_bytes, False


def is_checksum_of(found: Checksummed, blocks: Iterable[str]) -> bool:
    """Return True if a file's checksum is that of these blocks. Another kind of checksum isn't."""
    if not _ALGORITHM.fullmatch(found.algorithm):
        return False
    joined = b"".join(map(bytes.fromhex, blocks))
    size = _BUFFER_BYTES
    while size < len(joined):
        size *= 2
    padded = joined.ljust(size, b"\0")
    return hashlib.md5(padded, usedforsecurity=False).hexdigest() == found.value
