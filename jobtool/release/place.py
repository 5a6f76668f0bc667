"""The protocol of a place that files are removed from, by way of its trash."""

from __future__ import annotations

from typing import Protocol

import msgspec

from jobtool.stores.store import Entry, Store

#: The folder of the trash, beside the place.
TRASH = ".jobtool-trash"

#: In the folder of a release: its record, and the files with their paths below the place.
RECORD = "release.json"
FILES = "files"


class Fingerprint(msgspec.Struct, frozen=True, kw_only=True):
    """The identity of a file at one moment; any change to the file changes it.

    Size in bytes, times in nanoseconds since 1970. Files of a filesystem have ``file``, their
    device and inode, and ``changed_ns``, the time of the last change of any kind, which programs
    can't set. Objects have an ETag.
    """

    size: int
    mtime_ns: int
    file: tuple[int, int] | None = None
    changed_ns: int = 0
    etag: str | None = None

    def entry(self, path: str) -> Entry:
        """Return the entry to read the file by."""
        return Entry(path, self.size, self.mtime_ns, self.etag)

    def is_same_file(self, other: Fingerprint) -> bool:
        """Return True for the same content under another name: a rename changes ``changed_ns``."""
        return msgspec.structs.replace(self, changed_ns=0) == msgspec.structs.replace(
            other, changed_ns=0
        )


class Place(Protocol):
    """Where files are removed. Paths are relative to ``url``, those in the trash to ``trash_url``.

    Methods raise ``UnprovenError`` with the reason for a file that may not be touched, and the
    errors of stores.
    """

    @property
    def url(self) -> str:
        """The root of the place."""

    @property
    def trash_url(self) -> str:
        """The trash: a folder or a prefix."""

    @property
    def store(self) -> Store:
        """The store that files of the place are read from."""

    @property
    def trash_store(self) -> Store:
        """The store that files in the trash are read from."""

    def fingerprint(self, path: str) -> Fingerprint:
        """Return the identity of a file. Raises ``NotFoundError``.

        Raises ``UnprovenError`` for a link, a file behind a link, and a hard-linked file.
        """

    def fingerprint_in_trash(self, trashed: str) -> Fingerprint | None:
        """Return the identity of a file in the trash; None if there is none."""

    def check_trash(self) -> None:
        """Raise ``UnprovenError`` if it shows already that ``make_trash`` would. Change nothing."""

    def make_trash(self, folder: str, record: bytes) -> None:
        """Make a folder in the trash that holds ``record``, durably.

        Raises ``UnprovenError`` if the trash can't be used or can't take files of this place.
        """

    def read_record(self, folder: str) -> bytes | None:
        """Return the record of a folder in the trash; None if it has none."""

    def to_trash(self, path: str, fingerprint: Fingerprint, trashed: str, md5: str) -> None:
        """Move a file that still has this fingerprint. ``md5`` is that of its bytes, in hex.

        Nothing in the trash is replaced. The file is at one of the two paths at any moment.
        """

    def is_at_both(self, path: str, trashed: str) -> bool:
        """Return True if the same bytes are at both paths, as a kill between two calls leaves them.

        A file that somebody else has put at ``path`` since isn't the same.
        """

    def put_back(self, trashed: str, path: str) -> None:
        """Move a file of the trash to where it was, unless something else is there now.

        If it is at both, the one in the trash is removed.
        """

    def remove(self, trashed: str, fingerprint: Fingerprint) -> None:
        """Remove a file of the trash that still has this fingerprint, for good."""

    def remove_folder(self, folder: str) -> None:
        """Remove a folder of the trash with its record, if no file is left in it."""

    def clock_ns(self, folder: str) -> int | None:
        """Return the time by the clock of the service that holds the trash; None if unknown."""
