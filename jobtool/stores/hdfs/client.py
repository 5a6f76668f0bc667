"""What the store needs of HDFS, whichever way it is reached."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import msgspec


class Status(msgspec.Struct, frozen=True):
    """What is at a path: its last name, size in bytes, time in milliseconds since 1970, mode.

    ``is_encrypted`` (the file is in an encryption zone) and its ``number`` in the cluster are known
    only to WebHDFS.
    """

    name: str
    size: int
    mtime_ms: int
    is_folder: bool
    mode: int
    block_bytes: int
    is_encrypted: bool = False
    number: int | None = None


class Checksummed(msgspec.Struct, frozen=True):
    """HDFS's checksum of a file: its ``algorithm``, and its ``value`` in hex.

    The value of one of MD5s is the MD5 alone, without the sizes that Hadoop puts before it.
    """

    algorithm: str
    value: str


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a folder's own quotas is used. A quota that isn't set is negative.

    ``names`` are files and folders. ``space_bytes`` count each copy of a block.
    """

    names: int
    names_quota: int
    space_bytes: int
    space_quota_bytes: int


class Client(Protocol):
    """Calls of HDFS. Paths are absolute. All raise the errors of ``hdfs.errors``."""

    def status(self, path: str) -> Status | None:
        """Return what is at a path, or None if nothing is."""

    def list(self, path: str) -> Iterator[Status]:
        """Yield what is in a folder, in any order. A file yields itself."""

    def read(self, path: str, offset: int, length: int) -> bytes | None:
        """Return bytes of a file; None if it is shorter."""

    def create(
        self, path: str, chunks: Iterable[bytes | memoryview], *, mode: int, parents: bool
    ) -> None:
        """Write a file and replace the one that is there. Make the folders above with ``parents``.

        Errors of ``chunks`` are passed on, and may leave a part of the file.
        """

    def rename(self, path: str, target: str, *, replace: bool) -> None:
        """Rename a file in one step, over an existing one if ``replace``."""

    def set_time(self, path: str, mtime_ms: int) -> None:
        """Set a file's time, 1970 or later."""

    def set_mode(self, path: str, mode: int) -> None:
        """Set a file's permissions."""

    def delete(self, path: str, *, recursive: bool = False) -> None:
        """Remove a file or folder, if it is there."""

    def usage(self, path: str) -> Usage:
        """Return a folder's own quotas, and how much of them is used."""

    def make_folder(self, path: str) -> None:
        """Make a folder and those above it. Keep an existing one."""


class Extras(Protocol):
    """Calls that only WebHDFS has, and one that it answers in more detail."""

    @property
    def servers(self) -> Sequence[str]:
        """The URLs of its NameNodes."""

    def status(self, path: str) -> Status | None:
        """Return what is at a path, or None if nothing is."""

    def checksum(self, path: str) -> Checksummed:
        """Return HDFS's checksum of a file."""

    def concat(self, path: str, others: Sequence[str]) -> None:
        """Move the blocks of other files of the same folder to the end of a file, in order."""
