"""A file that Arrow writes to, which can be given up at any point."""

from __future__ import annotations

import contextlib
import os
from typing import Any

_BUFFER_BYTES = 1024 * 1024


class ChunkFile:
    """A file for Arrow to write to, as a file object of Python.

    Arrow's own files wrap errors of the filesystem, and its writers write the end of a file when
    they are freed. Here an ``OSError`` stays what it is, and after ``abort`` writes go nowhere.

    A file that is there already belongs to somebody else, such as another worker that took this
    one for dead: ``FileExistsError``.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._position = 0
        self._file = open(path, "xb", buffering=_BUFFER_BYTES)  # noqa: SIM115
        self._own = os.fstat(self._file.fileno())

    @property
    def closed(self) -> bool:
        """False: Arrow may write to it, even to no effect, as long as it likes."""
        return False

    def write(self, data: Any) -> int:
        """Write bytes."""
        size = len(data)
        if not self._file.closed:
            self._file.write(data)
        self._position += size
        return size

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self._position

    def flush(self) -> None:
        """Do nothing: ``finish`` flushes."""

    def close(self) -> None:
        """Do nothing: Arrow's file on top of this one is closed before the rows are complete."""

    def finish(self) -> None:
        """Write what is buffered, and close the file, even if this raises ``OSError``."""
        self._file.close()

    def abort(self) -> None:
        """Close the file and remove it. Raises nothing."""
        # A full disk fails the flush too. Python closes the file nonetheless.
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            if os.path.samestat(self._own, os.lstat(self._path)):
                os.unlink(self._path)
