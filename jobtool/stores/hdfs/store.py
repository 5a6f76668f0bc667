"""The store of HDFS: a folder of a cluster, by either of its clients.

A file is written under a temporary name beside its target, proven, and renamed over it in one
step. A small file is proven by reading it. A longer one is proven by HDFS's checksum of it, which
is also computed here while the file is sent (``sums``), if the cluster's WebHDFS is known. A file
that is there already is compared with one of HDFS by the checksums of both sides (``comparing``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Literal

from msgspec.structs import replace

from jobtool.errors import (
    FileError,
    JobtoolError,
    NotFoundError,
    SourceChangedError,
    SourceError,
    StoreError,
)
from jobtool.names import quote
from jobtool.stores.beforehand import Room
from jobtool.stores.hdfs import listing
from jobtool.stores.hdfs.client import Client, Extras
from jobtool.stores.hdfs.comparing import Cluster, is_still, text_of, verified_by
from jobtool.stores.hdfs.composites import Composites
from jobtool.stores.hdfs.errors import ExistsError, InTheWayError
from jobtool.stores.hdfs.proofs import Proofs, Sending
from jobtool.stores.hdfs.room import existing, rooms
from jobtool.stores.hdfs.uploads import Uploads
from jobtool.stores.local.temporaries import Temporaries
from jobtool.stores.location import Location
from jobtool.stores.store import (
    Attributes,
    Capabilities,
    Child,
    Content,
    Entry,
    Note,
    Part,
    Proof,
    Special,
    SpecialKind,
    StatResult,
    Store,
    Unlisted,
    Upload,
    check_path,
)

_MODE = 0o644  # of files whose source has none


class HdfsStore:
    """A folder of a cluster. ``extras`` is its WebHDFS, if it is known.

    ``owner`` marks temporary files. With ``read_back`` no checksum is accepted as proof.
    ``composites`` asks for composite CRCs of files of ``hdfs://``. With ``keeps_mode`` the
    permissions of files are read. ``copies`` of each block are written; None for the cluster's own.
    """

    capabilities = Capabilities(keeps=frozenset({"times", "mode"}))
    specials: frozenset[SpecialKind] = frozenset({"empty-folder"})

    def __init__(
        self,
        client: Client,
        extras: Extras | None,
        location: Location,
        *,
        owner: str = "",
        read_back: bool = False,
        composites: Composites | None = None,
        keeps_mode: bool = True,
        copies: int | None = None,
    ) -> None:
        self.url = location.url
        self._cluster_url, self._copies = location.root, copies
        self._client = client
        self._root = f"/{location.path}" if location.path else ""
        self._keeps_mode = keeps_mode
        self._temporaries = Temporaries(owner)
        self._proofs = Proofs(client, extras, read_back=read_back)
        self._uploads = Uploads(client, extras, self._proofs, self._temporaries)
        self._cluster: Cluster | None = None
        if extras is not None and not read_back:
            usable = composites if location.scheme == "hdfs" else None
            self._cluster = Cluster(client, extras, location.root, usable)

    def url_of(self, path: str) -> str:
        """Return the URL of ``path``."""
        return f"{self.url}/{path}" if path else self.url

    def _full(self, path: str) -> str:
        try:
            path.encode()
        except UnicodeEncodeError:
            raise FileError(
                f"{quote(self.url_of(path))}: names in HDFS are UTF-8, but this name isn't. "
                "Rename the file."
            ) from None
        return f"{self._root}/{path}" if path else self._root or "/"

    def _target(self, path: str) -> str:
        """Return the absolute path of a file to write. Raise ``FileError`` for a bad name."""
        full = self._full(check_path(path))
        if ":" in path:
            url = quote(self.url_of(path))
            raise FileError(f"{url}: HDFS allows no ':' in a name. Rename the file.")
        return full

    def stat(self, path: str, *, file_only: bool = False) -> StatResult:
        """Return what is at ``path``."""
        found = self._client.status(self._full(path))
        if found is None:
            return "missing"
        return "folder" if found.is_folder else listing.entry_of(path, found)

    def children(self, path: str) -> Iterator[Child | Unlisted]:
        """Yield what is directly inside ``path``."""
        yield from listing.children(self._client, self._full(path), self.url_of(path))

    def list(self) -> Iterator[Entry | Special | Unlisted]:
        """Yield everything below the root, a folder at a time."""
        yield from listing.tree(self._client, self._root, self.url)

    def list_without(self, excludes: Callable[[str], bool]) -> Iterator[Entry | Special | Unlisted]:
        """Yield everything below the root, without opening folders that are left out."""
        return listing.tree(self._client, self._root, self.url, excludes)

    def require_name(self, path: str) -> None:
        """Raise ``FileError`` for a name that HDFS can't hold."""
        self._target(path)

    def room(self) -> Sequence[Room]:
        """Return what quotas leave."""
        return [*rooms(self._client, self._cluster_url, self._root, self._copies)]

    def check_access(self, *, write: bool) -> None:
        """List the root or, with ``write``, make and remove a file in it.

        If the root doesn't exist yet, the next existing folder above it is used.
        """
        if not write:
            next(self._client.list(self._root or "/"), None)
            return
        temporary = f"{existing(self._client, self._root)}/{self._temporaries.new()}"
        try:
            self._client.create(temporary, [b"1"], mode=_MODE, parents=False)
        finally:
            with contextlib.suppress(JobtoolError):
                self._client.delete(temporary)

    def read(self, entry: Entry, offset: int, length: int) -> Content:
        """Return bytes of a file.

        It is looked at after the reading: a file that was replaced before then is noticed.
        """
        full, url = self._full(entry.path), quote(self.url_of(entry.path))
        failure: StoreError | None = None
        data: bytes | None = b""
        try:
            if length:
                data = self._client.read(full, offset, length)
        except StoreError as error:
            failure = error
        found = self._client.status(full)
        if found is None:
            raise NotFoundError(f"expected a file at {url}; found nothing")
        if found.is_folder:
            raise SourceError(f"expected a file at {url}; found a folder")
        now = listing.entry_of(entry.path, found)
        if (now.size, now.mtime_ns) != (entry.size, entry.mtime_ns):
            raise SourceChangedError(f"{url} has changed since it was listed")
        if failure is not None:
            raise failure
        if data is None or len(data) != length:
            raise StoreError(f"{url}: expected {length} bytes at {offset}; the store sent others")
        mode = found.mode if self._keeps_mode else None
        return Content(data=data, attributes=Attributes(mtime_ns=now.mtime_ns, mode=mode))

    def write(
        self, path: str, chunks: Iterable[bytes | memoryview], attributes: Attributes
    ) -> Proof:
        """Write a whole file under a temporary name, prove it, rename it."""
        target = self._target(path)
        temporary = f"{target.rpartition('/')[0]}/{self._temporaries.new()}"
        sending = Sending(chunks, attributes.md5, lambda: self._proofs.block_bytes(temporary))
        try:
            self._client.create(temporary, sending, mode=_mode_of(attributes), parents=True)
            proof = self._proofs.of_sent(temporary, self.url_of(path), sending)
            notes = self._publish(temporary, target, attributes)
        except BaseException:
            with contextlib.suppress(JobtoolError):
                self._client.delete(temporary)
            raise
        return replace(proof, notes=notes)

    def _publish(self, temporary: str, target: str, attributes: Attributes) -> tuple[Note, ...]:
        """Set a file's time and rename it. Return the notes of its attributes."""
        notes = (*attributes.notes, *self._set_time(temporary, attributes))
        self._client.rename(temporary, target, replace=attributes.may_replace)
        return notes

    def _set_time(self, full: str, attributes: Attributes) -> tuple[Note, ...]:
        mtime_ms = attributes.mtime_ns // 1_000_000
        if mtime_ms < 0:
            return (Note("times", "HDFS has no times before 1970"),)
        self._client.set_time(full, mtime_ms)
        return ()

    def begin(self, path: str, attributes: Attributes) -> Upload:
        """Start a file in parts: a folder beside the target, with an empty file."""
        token = self._uploads.begin(self._target(path), _mode_of(attributes))
        return Upload(path=path, token=token, attributes=attributes)

    def put_part(
        self, upload: Upload, number: int, offset: int, data: bytes | memoryview, md5: str
    ) -> Part:
        """Write one part as a file of its own. Its ETag holds the checksums of its blocks."""
        url = f"{self.url_of(upload.path)} part {number}"
        etag = self._uploads.put(self._held(upload), number, data, md5, url)
        return Part(number=number, offset=offset, size=len(data), md5=md5, etag=etag)

    def held_parts(self, upload: Upload, parts: Sequence[Part]) -> Sequence[Part]:
        """Return the parts whose files have their checksums, or their MD5s."""
        return self._uploads.held(self._held(upload), parts)

    def complete(self, upload: Upload, parts: Sequence[Part], attributes: Attributes) -> Proof:
        """Join the parts, prove the file, rename it."""
        assert attributes.md5 is not None, "complete() needs the MD5 of the whole"
        folder, target = self._held(upload), self._full(upload.path)
        url = self.url_of(upload.path)
        whole, proof = self._uploads.join(folder, parts, attributes.md5, url)
        try:
            if attributes.mode is not None:
                self._uploads.set_mode(folder, _mode_of(attributes))
            notes = self._publish(whole, target, attributes)
        except (ExistsError, InTheWayError):  # another try would fail the same way
            self._uploads.abort(folder)
            raise
        with contextlib.suppress(JobtoolError):  # the file is published; the folder is a leftover
            self._uploads.abort(folder)
        return replace(proof, notes=notes)

    def abort(self, upload: Upload) -> None:
        """Remove an upload's folder or temporary file. Do nothing if it isn't this owner's."""
        with contextlib.suppress(NotFoundError):
            self._uploads.abort(self._held(upload))

    def _held(self, upload: Upload) -> str:
        """Return an upload's folder. Raise ``NotFoundError`` if it isn't this owner's."""
        # A user may have edited the journal: touch only what can be this owner's.
        folder, _, name = upload.token.rpartition("/")
        if folder != self._full(upload.path).rpartition("/")[0] or not self._temporaries.owns(name):
            raise NotFoundError(f"{quote(upload.token)} isn't an unfinished upload of this job")
        return upload.token

    def leftovers(self, path: str, since_ns: int) -> Sequence[Upload]:
        """Return the owner's temporary files and folders in the folder of ``path``."""
        folder = self._full(check_path(path)).rpartition("/")[0]
        try:
            names = [each.name for each in self._client.list(folder or "/")]
        except NotFoundError:
            return ()
        nothing = Attributes(mtime_ns=0)
        return [
            Upload(path=path, token=f"{folder}/{name}", attributes=nothing)
            for name in names
            if self._temporaries.owns(name)
        ]

    def is_leftover(self, path: str) -> bool:
        """Return True if a file is a temporary one of this owner, or in such a folder."""
        return any(map(self._temporaries.owns, path.split("/")))

    def prove(
        self, path: str, md5: str, composite: str, attributes: Attributes | None = None
    ) -> Proof | None:
        """Prove a file by reading it, then set its time."""
        try:
            if self.digest(path) != md5:
                return None
        except SourceError:
            return None
        notes = () if attributes is None else attributes.notes
        if attributes is not None:
            notes = (*notes, *self._set_time(self._full(path), attributes))
        return Proof(md5=md5, verified_by="read-back", notes=notes)

    def compare_inside(
        self, source: Store, entry: Entry, path: str, require_going: Callable[[], None]
    ) -> Proof | Literal["different"] | None:
        """Compare a file with one of HDFS by the checksums of both, then set its time."""
        if not isinstance(source, HdfsStore) or not self._cluster or not source._cluster:
            return None
        full, source_full = self._full(path), source._full(entry.path)
        found = self._cluster.holds_same(full, source._cluster, source_full, entry, require_going)
        if found is None or found == "different":
            return found
        return Proof(
            md5=None,
            verified_by=verified_by(found),
            checksum=text_of(found),
            notes=self._set_time(full, Attributes(mtime_ns=entry.mtime_ns)),
        )

    def is_still(self, path: str, checksum: str) -> bool | None:
        """Read a file, and compute its checksum."""
        full, cluster = self._full(path), self._cluster
        ask = None if cluster is None else partial(cluster.checksum, full)
        return is_still(checksum, self._proofs.bytes_of(full, 0, self._size_of(path)), ask)

    def make_special(self, special: Special) -> None:
        """Make an empty folder."""
        full = self._target(special.path)
        if special.what != "empty-folder":
            raise FileError(f"{quote(self.url_of(special.path))}: can't make a {special.what}")
        self._client.make_folder(full)

    def digest(self, path: str) -> str:
        """Read a file from its DataNodes and return its MD5."""
        return self._proofs.md5_of(self._full(path), 0, self._size_of(path))

    def _size_of(self, path: str) -> int:
        """Return a file's size in bytes. Raises ``NotFoundError``, or ``SourceError``."""
        found = self._client.status(self._full(path))
        if found is None:
            raise NotFoundError(f"expected a file at {quote(self.url_of(path))}; found nothing")
        if found.is_folder:
            raise SourceError(f"expected a file at {quote(self.url_of(path))}; found a folder")
        return found.size

    def delete(self, path: str) -> None:
        """Remove a file."""
        full = self._full(check_path(path))
        with contextlib.suppress(NotFoundError, InTheWayError):
            self._client.delete(full)

    def sync(self) -> None:
        """Do nothing: DataNodes acknowledge the bytes of each file before it is closed."""


def _mode_of(attributes: Attributes) -> int:
    return _MODE if attributes.mode is None else attributes.mode & 0o777
