"""Compressing data and opening the result at once, so that no compressor is believed."""

from __future__ import annotations

from jobtool.errors import StoreError
from jobtool.md5 import MD5, md5_of
from jobtool.names import quote
from jobtool.transfer.packing.codecs import Codec
from jobtool.transfer.packing.trailer import Original, trailer_of

#: How much of a file is tried.
TRIED_BYTES = 1024 * 1024

#: Smaller files aren't tried: a trailer has 40 or 58 bytes.
LEAST_BYTES = 128

#: What must be saved: a tenth.
_WORTH = 0.9


class CheckedCompressor:
    """Compresses the file ``url`` of ``size`` bytes, and opens what came out, piece by piece.

    ``packed_md5`` and ``packed_size`` are those of the whole result, with its trailer.
    """

    def __init__(self, url: str, codec: Codec, size: int) -> None:
        self._url, self._codec, self._size = url, codec, size
        self._packing, self._opening = codec.compress(size), codec.decompress()
        self._digest, self._packed = MD5(), MD5()
        self.packed_size = 0

    @property
    def md5(self) -> str:
        """The MD5 of the data fed so far, in hex."""
        return self._digest.hexdigest()

    @property
    def packed_md5(self) -> str:
        """The MD5 of the result so far, in hex."""
        return self._packed.hexdigest()

    def feed(self, data: bytes | memoryview) -> bytes:
        """Return the compressed form of a piece. Raises ``StoreError`` if it opens to another."""
        self._digest.update(data)
        packed = self._packing.feed(data)
        self._require_opened(packed, bytes(data))
        return self._counted(packed)

    def finish(self) -> bytes:
        """Return the end of the compressed data, and the trailer."""
        packed = self._packing.finish()
        self._require_opened(packed, b"", is_end=True)
        return self._counted(packed + trailer_of(self._codec.form, Original(self.md5, self._size)))

    def _counted(self, packed: bytes) -> bytes:
        self._packed.update(packed)
        self.packed_size += len(packed)
        return packed

    def _require_opened(self, packed: bytes, data: bytes, *, is_end: bool = False) -> None:
        try:
            is_same = self._opening.feed(packed) == data and self._opening.is_ended == is_end
        except self._codec.errors:
            is_same = False
        if not is_same:
            raise StoreError(
                f"{quote(self._url)}: what {self._codec.form} made of it doesn't open to the same "
                "bytes. Nothing was written."
            )


def saved_share(codec: Codec, data: bytes | memoryview) -> float | None:
    """Return the compressed size of a file's beginning as a share; None if it isn't worth it."""
    if len(data) < LEAST_BYTES:
        return None
    made = codec.compress(len(data))
    share = (len(made.feed(data)) + len(made.finish())) / len(data)
    return share if share <= _WORTH else None


def compressed(url: str, codec: Codec, data: bytes | memoryview) -> tuple[bytes, str] | None:
    """Return the compressed form of a whole file and its MD5; None if it isn't worth it."""
    if saved_share(codec, memoryview(data)[:TRIED_BYTES]) is None:
        return None
    made = CheckedCompressor(url, codec, len(data))
    packed = made.feed(data) + made.finish()
    if len(packed) > _WORTH * len(data):
        return None
    return packed, md5_of(packed)
