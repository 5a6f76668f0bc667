"""The tar of a package as a file of a store, composed of its members while it is read.

Nothing is copied to a disk. The tar is read in any ranges, so it is sent like any large file: in
parts, resumed, hashed, shared by workers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from jobtool.errors import (
    NotFoundError,
    PackageError,
    SourceChangedError,
    SourceError,
)
from jobtool.names import MAX_FILENAME_BYTES, quote
from jobtool.packages.compose import Composer
from jobtool.packages.memberdigests import MemberDigests
from jobtool.packages.members import MemberList
from jobtool.packages.tarlayout import TarLayout
from jobtool.stores.sourceonly import SourceOnly
from jobtool.stores.store import (
    Attributes,
    Capabilities,
    Child,
    Content,
    Entry,
    StatResult,
    Store,
    digest_by_reading,
)

TAR_SUFFIX = ".tar"

#: How many small members are read at the same time.
DEFAULT_READERS = 16


class PackageStore(SourceOnly):
    """A store with one file, the tar ``NAME.tar`` of a package.

    ``source`` is the store that the members lie in. The URL holds the fingerprint of the members,
    so receipts and parts of a package that was planned with other members don't count for this one.
    The tar's time is that of its newest member. ``digests`` collects the members' MD5s; without it
    they are kept in memory. ``readers`` members are read at the same time, if ``source``
    isn't cheap to read or is slow; each thread calls ``on_thread`` first (``Liveness.join``). Close
    the store to end them.
    """

    def __init__(
        self,
        name: str,
        members: MemberList,
        source: Store,
        *,
        layout: TarLayout | None = None,
        digests: MemberDigests | None = None,
        readers: int = DEFAULT_READERS,
        on_thread: Callable[[], None] | None = None,
    ) -> None:
        require_package_name(name)
        self.name = name
        self.members = members
        self.layout = layout or TarLayout(members)
        self.digests = digests or MemberDigests(members)
        self.file_name = name + TAR_SUFFIX
        self.capabilities = Capabilities(reads_ranges=source.capabilities.reads_ranges)
        self._fingerprint = members.fingerprint()
        self.url = f"package://{self._fingerprint}"
        self.entry = Entry(self.file_name, self.layout.total_size, members.newest_ns)
        self._composer = Composer(
            self.layout,
            source,
            self.digests,
            package=self.file_name,
            readers=readers,
            on_thread=on_thread,
        )

    def close(self) -> None:
        """End the threads, and write the MD5s that wait to their log."""
        self._composer.close()
        self.digests.flush()

    def stat(self, path: str, *, file_only: bool = False) -> StatResult:
        """Return what is at ``path``."""
        if path == self.file_name:
            return self.entry
        return "missing" if path else "folder"

    def children(self, path: str) -> Iterator[Child]:
        """Yield the tar."""
        if path:
            raise NotFoundError(f"expected a folder at {quote(self.url_of(path))}; found none")
        yield Child(self.file_name, is_folder=False)

    def list(self) -> Iterator[Entry]:
        """Yield the tar."""
        yield self.entry

    def read(self, entry: Entry, offset: int, length: int) -> Content:
        """Return bytes of the tar, and collect the MD5s of the members that they hold.

        Raises ``SourceChangedError`` that names a member whose size or time has changed since the
        package was planned, and the errors of the members' store.
        """
        if entry.path != self.file_name:
            raise NotFoundError(f"expected a file at {quote(self.url_of(entry.path))}; found none")
        if entry.etag not in (None, self._fingerprint) or (entry.size, entry.mtime_ns) != (
            self.entry.size,
            self.entry.mtime_ns,
        ):
            raise SourceChangedError(
                f"{quote(self.url_of(entry.path))}: expected the package as it was planned before; "
                "its members are others now"
            )
        if offset < 0 or length < 0 or offset + length > self.entry.size:
            raise SourceError(
                f"{quote(self.url_of(entry.path))}: expected a range within {self.entry.size} "
                f"bytes; found {length} bytes from {offset} on"
            )
        return Content(
            data=self._composer.compose(offset, length),
            attributes=Attributes(mtime_ns=self.entry.mtime_ns),
            etag=self._fingerprint,
        )

    def digest(self, path: str) -> str:
        """Return the MD5 of the tar, read once."""
        return digest_by_reading(self, path)

    def finish_index(self, require_going: Callable[[], None] | None = None) -> None:
        """Read the members again whose MD5s aren't known, such as those that a kill has lost.

        Afterwards ``digests`` has the MD5 of every member. Raises the errors of ``read``, and those
        of ``require_going``, which is called between reads from any thread. What was hashed until
        then isn't read again.
        """
        try:
            self._composer.finish(require_going or (lambda: None))
        finally:
            self.digests.flush()


def require_package_name(name: str) -> None:
    """Raise ``PackageError`` unless a name can be that of a package's files in a folder."""
    size = len(os.fsencode(name))
    is_part = name not in ("", ".", "..") and "/" not in name and "\0" not in name
    if not is_part or size > MAX_FILENAME_BYTES:
        raise PackageError(
            f"{quote(name[:200])}: expected the name of a package, without slash and NUL and of at "
            f"most {MAX_FILENAME_BYTES} bytes; found one of {size} bytes. Use another one."
        )
