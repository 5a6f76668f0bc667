"""What boto3 is given to send."""

from __future__ import annotations

import io
import os


def body_of(data: bytes | memoryview) -> bytes | View:
    """Return ``data`` in a form that boto3 takes, without a copy of it.

    boto3 takes no ``memoryview``, which is what was read from S3.
    """
    return data if isinstance(data, bytes) else View(data)


class View(io.RawIOBase):
    """A file of bytes that lie in memory already; ``io.BytesIO`` would copy them."""

    def __init__(self, data: memoryview) -> None:
        super().__init__()
        self._data = data
        self._at = 0

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that it can be read again."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Read into a buffer; return how many bytes."""
        piece = self._data[self._at : self._at + len(buffer)]
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place; return it."""
        begin = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: len(self._data)}[whence]
        self._at = min(max(begin + offset, 0), len(self._data))
        return self._at

    def tell(self) -> int:
        """Return the place."""
        return self._at
