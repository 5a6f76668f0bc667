"""What can be asked about paths: size and identity, of an fsspec-like filesystem or local files."""

from __future__ import annotations

import contextlib
import os
from typing import Any

import msgspec

#: What tells a version of a file from another, as filesystems of fsspec's kind name it in ``info``.
_IDENTITY = (
    "etag ETag generation version_id VersionId md5Hash content_md5 "
    "modificationTime mtime last_modified LastModified modified updated ino"
).split()


class Look(msgspec.Struct, frozen=True):
    """A file's size in bytes, None if it isn't known, and its identity, which may be empty."""

    size: int | None
    identity: str


class Side:
    """Asks a filesystem about its files; None stands for local files.

    ``knows`` is False if it has neither ``info`` nor ``size``.
    """

    def __init__(self, fs: Any | None) -> None:
        self._fs = fs
        self.is_local = fs is None
        self.knows = fs is None or hasattr(fs, "info") or hasattr(fs, "size")

    def look(self, path: str) -> Look | None:
        """Return what is known of a file, or None if it isn't there.

        Raises what the filesystem raises, but for ``FileNotFoundError``.
        """
        try:
            return self._look(path)
        except FileNotFoundError:
            return None

    def _look(self, path: str) -> Look:
        if self._fs is None:
            found = os.stat(path)
            return Look(found.st_size, f"mtime={found.st_mtime_ns} ino={found.st_ino}")
        if not self.knows:
            return Look(None, "")
        if hasattr(self._fs, "invalidate_cache"):
            self._fs.invalidate_cache(path)  # fsspec's may remember an earlier listing
        if not hasattr(self._fs, "info"):
            return Look(_whole(self._fs.size(path)), "")
        info = self._fs.info(path)
        keys = [key for key in _IDENTITY if info.get(key) is not None]
        if not keys and info.get("created") is not None:
            keys = ["created"]
        return Look(
            _whole(info.get("size", info.get("length"))),
            " ".join(f"{key}={info[key]}" for key in keys),
        )

    @staticmethod
    def create(fs: Any, path: str, length: int) -> None:
        """Make an empty local file, whatever is there."""
        with open(path, "wb"):
            pass

    def remove(self, path: str) -> None:
        """Remove a temporary file if it is there and can be removed. A leftover does no harm."""
        if self._fs is None:
            with contextlib.suppress(OSError):
                os.unlink(path)
        elif hasattr(self._fs, "rm_file"):
            with contextlib.suppress(Exception):  # of any client; the file may be gone
                self._fs.rm_file(path)


def _whole(size: Any) -> int | None:
    return None if size is None else int(size)
