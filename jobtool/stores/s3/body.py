"""The body that boto3 sends."""

from __future__ import annotations

import io
import os


def body_of(data: bytes | memoryview) -> bytes | View:
    """Return ``data`` in a form that boto3 accepts, without a copy.

    boto3 doesn't accept the ``memoryview`` that reading from S3 returns.
    """
    return data if isinstance(data, bytes) else View(data)


class View(io.RawIOBase):
    """A file over bytes in memory. Unlike ``io.BytesIO``, it doesn't copy them."""

    def __init__(self, data: memoryview) -> None:
        super().__init__()
        self._data = data
        self._at = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True: boto3 may send the bytes again."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Read into a buffer. Return the number of bytes."""
        piece = self._data[self._at : self._at + len(buffer)]
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Set the position and return it."""
        begin = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: len(self._data)}[whence]
        self._at = min(max(begin + offset, 0), len(self._data))
        return self._at

    def tell(self) -> int:
        """Return the position."""
        return self._at
