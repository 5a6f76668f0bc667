"""A wrapper around a store that fails as configured, to test code that must survive faults.

::

    store = FaultyStore(
        inner,
        [
            Fault(method="write", error=StoreError("connection reset"), times=2),
            Corruption(method="put_part", path="big.bin"),
        ],
    )

The first two calls of ``write`` fail, later ones succeed. The first part sent for ``big.bin`` has
one flipped byte, while the MD5 sent with it is that of the original bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal, Self

from msgspec.structs import replace

from jobtool.stores.optional import (
    AccessCheck,
    ComparesInside,
    CopiesInside,
    FolderAttributes,
    Multipart,
    Prover,
    Prunes,
    Specials,
    TakesFiles,
    Temporaries,
)
from jobtool.stores.original import Original
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
)
from jobtool.testing.faults import Corruption, Fault, Faulty


class FaultyStore(Faulty):
    """Wraps a store and makes it fail. The first fault of the list that fits strikes.

    It has the protocols of the wrapped store, but for ``ReadsTogether`` and ``WritesTogether``: a
    fault is about one file. ``calls`` counts the calls of each method,
    including failed ones. ``bytes_written`` counts the bytes passed to ``write`` and ``put_part``
    by calls that returned. Thread-safe.
    """

    def __new__(cls, inner: Store, faults: Sequence[Fault | Corruption] = ()) -> Self:
        """Make an instance of a class with the protocols of ``inner``."""
        extras = tuple(extra for protocol, extra in _EXTRAS.items() if isinstance(inner, protocol))
        return object.__new__(type(cls.__name__, (*extras, cls), {}))

    @property
    def url(self) -> str:
        """The wrapped store's root."""
        return self.inner.url

    @property
    def capabilities(self) -> Capabilities:
        """The properties of the wrapped store."""
        return self.inner.capabilities

    def url_of(self, path: str) -> str:
        """Return the wrapped store's URL of ``path``."""
        return self.inner.url_of(path)

    def stat(self, path: str, *, file_only: bool = False) -> StatResult:
        """Return what is at ``path``."""
        late = self.strike("stat", path)
        found = self.inner.stat(path, file_only=file_only)
        _raise(late)
        return found

    def children(self, path: str) -> Iterator[Child | Unlisted]:
        """Yield what is directly inside ``path``."""
        late = self.strike("children", path)
        yield from self.inner.children(path)
        _raise(late)

    def list(self) -> Iterator[Entry | Special | Unlisted]:
        """Yield everything below the root."""
        late = self.strike("list", "")
        yield from self.inner.list()
        _raise(late)

    def read(self, entry: Entry, offset: int, length: int) -> Content:
        """Return bytes of a file, one of them flipped if a corruption strikes."""
        late = self.strike("read", entry.path)
        content = self.inner.read(entry, offset, length)
        _raise(late)
        data = self.corrupt("read", entry.path, content.data)
        return replace(content, data=data)

    def write(
        self, path: str, chunks: Iterable[bytes | memoryview], attributes: Attributes
    ) -> Proof | None:
        """Write a whole file, with one byte of a chunk flipped if a corruption strikes."""
        late = self.strike("write", path)
        size = 0

        def passed_on() -> Iterator[bytes | memoryview]:
            nonlocal size
            for chunk in chunks:
                size += len(chunk)
                yield self.corrupt("write", path, chunk)

        proof = self.inner.write(path, passed_on(), attributes)
        self.count(size)
        _raise(late)
        return proof

    def digest(self, path: str) -> str:
        """Read a file and return its MD5."""
        late = self.strike("digest", path)
        digest = self.inner.digest(path)
        _raise(late)
        return digest

    def delete(self, path: str) -> None:
        """Remove a file."""
        late = self.strike("delete", path)
        self.inner.delete(path)
        _raise(late)

    def sync(self) -> None:
        """Make everything that was published durable."""
        late = self.strike("sync", "")
        self.inner.sync()
        _raise(late)


class _FaultyLeftovers(Faulty):
    inner: Multipart | Temporaries

    def abort(self, upload: Upload) -> None:
        """Drop an upload."""
        late = self.strike("abort", upload.path)
        self.inner.abort(upload)
        _raise(late)

    def leftovers(self, path: str, since_ns: int) -> Sequence[Upload]:
        """Return unfinished uploads."""
        late = self.strike("leftovers", path)
        found = self.inner.leftovers(path, since_ns)
        _raise(late)
        return found


class _FaultyMultipart(_FaultyLeftovers):
    inner: Multipart

    def begin(self, path: str, attributes: Attributes) -> Upload:
        """Start a file in parts."""
        late = self.strike("begin", path)
        upload = self.inner.begin(path, attributes)
        _raise(late)
        return upload

    def put_part(
        self, upload: Upload, number: int, offset: int, data: bytes | memoryview, md5: str
    ) -> Part:
        """Write one part, with one byte flipped if a corruption strikes."""
        late = self.strike("put_part", upload.path)
        sent = self.corrupt("put_part", upload.path, data)
        part = self.inner.put_part(upload, number, offset, sent, md5)
        self.count(len(data))
        _raise(late)
        return part

    def complete(self, upload: Upload, parts: Sequence[Part], attributes: Attributes) -> Proof:
        """Put the parts together."""
        late = self.strike("complete", upload.path)
        proof = self.inner.complete(upload, parts, attributes)
        _raise(late)
        return proof

    def held_parts(self, upload: Upload, parts: Sequence[Part]) -> Sequence[Part]:
        """Return the parts that are still held."""
        late = self.strike("held_parts", upload.path)
        held = self.inner.held_parts(upload, parts)
        _raise(late)
        return held


class _FaultyTemporaries(_FaultyLeftovers):
    inner: Temporaries

    def is_leftover(self, path: str) -> bool:
        """Return True if a listed file is an unfinished write."""
        return self.inner.is_leftover(path)


class _FaultyTakesFiles(Faulty):
    inner: TakesFiles

    def incoming_for(self, path: str) -> str:
        """Return the path of the folder for files that are bound for a path."""
        return self.inner.incoming_for(path)

    def make_incoming(self, folder: str) -> None:
        """Make such a folder."""
        late = self.strike("make_incoming", folder)
        self.inner.make_incoming(folder)
        _raise(late)

    def take(self, path: str, target: str, size: int) -> bool:
        """Rename a file of such a folder."""
        late = self.strike("take", target)
        is_taken = self.inner.take(path, target, size)
        _raise(late)
        return is_taken

    def remove_incoming(self, folder: str) -> None:
        """Remove such a folder."""
        late = self.strike("remove_incoming", folder)
        self.inner.remove_incoming(folder)
        _raise(late)


class _FaultyProver(Faulty):
    inner: Prover

    def prove(
        self, path: str, md5: str, composite: str, attributes: Attributes | None = None
    ) -> Proof | None:
        """Prove that a file has this MD5."""
        late = self.strike("prove", path)
        proof = self.inner.prove(path, md5, composite, attributes)
        _raise(late)
        return proof


class _FaultyPrunes(Faulty):
    inner: Prunes

    def list_without(self, excludes: Callable[[str], bool]) -> Iterator[Entry | Special | Unlisted]:
        """Yield everything below the root but what is excluded; a fault of ``list`` strikes."""
        late = self.strike("list", "")
        yield from self.inner.list_without(excludes)
        _raise(late)


class _FaultySpecials(Faulty):
    inner: Specials

    @property
    def specials(self) -> frozenset[SpecialKind]:
        """The kinds that the wrapped store can hold."""
        return self.inner.specials

    def make_special(self, special: Special) -> None:
        """Make an empty folder or a link."""
        late = self.strike("make_special", special.path)
        self.inner.make_special(special)
        _raise(late)


class _FaultyFolders(Faulty):
    inner: FolderAttributes

    def folder_attributes(self, path: str) -> Attributes:
        """Return the attributes of a folder."""
        late = self.strike("folder_attributes", path)
        attributes = self.inner.folder_attributes(path)
        _raise(late)
        return attributes

    def set_folder_attributes(self, path: str, attributes: Attributes) -> tuple[Note, ...]:
        """Give a folder its attributes."""
        late = self.strike("set_folder_attributes", path)
        notes = self.inner.set_folder_attributes(path, attributes)
        _raise(late)
        return notes


class _FaultyAccess(Faulty):
    inner: AccessCheck

    def check_access(self, *, write: bool) -> None:
        """Check access as the wrapped store does."""
        self.inner.check_access(write=write)


class _FaultyInside(Faulty):
    inner: CopiesInside

    def why_not_inside(self, source: Store) -> str | None:
        """Return why the service can't copy from a store, wrapped or not."""
        return self.inner.why_not_inside(_unwrapped(source))

    def original(self, source: Store, entry: Entry, part_bytes: int) -> Original:
        """Return what the service says of a file."""
        late = self.strike("original", entry.path)
        original = self.inner.original(_unwrapped(source), entry, part_bytes)
        _raise(late)
        return original

    def copy_inside(
        self, source: Store, original: Original, path: str, require_going: Callable[[], None]
    ) -> Proof | None:
        """Copy a file whole."""
        late = self.strike("copy_inside", path)
        proof = self.inner.copy_inside(_unwrapped(source), original, path, require_going)
        _raise(late)
        return proof

    def copy_part_inside(
        self, source: Store, original: Original, upload: Upload, number: int, offset: int, size: int
    ) -> Part:
        """Copy a part of a file."""
        late = self.strike("copy_part_inside", upload.path)
        part = self.inner.copy_part_inside(
            _unwrapped(source), original, upload, number, offset, size
        )
        _raise(late)
        return part


class _FaultyCompares(Faulty):
    inner: ComparesInside

    def compare_inside(
        self, source: Store, entry: Entry, path: str, require_going: Callable[[], None]
    ) -> Proof | Literal["different"] | None:
        """Compare a file with one of a store, wrapped or not."""
        late = self.strike("compare_inside", path)
        proof = self.inner.compare_inside(_unwrapped(source), entry, path, require_going)
        _raise(late)
        return proof

    def is_still(self, path: str, checksum: str) -> bool | None:
        """Return whether a file has a checksum."""
        late = self.strike("is_still", path)
        found = self.inner.is_still(path, checksum)
        _raise(late)
        return found


_EXTRAS: Mapping[type, type[Faulty]] = {
    Multipart: _FaultyMultipart,
    Temporaries: _FaultyTemporaries,
    TakesFiles: _FaultyTakesFiles,
    Prover: _FaultyProver,
    Prunes: _FaultyPrunes,
    Specials: _FaultySpecials,
    FolderAttributes: _FaultyFolders,
    AccessCheck: _FaultyAccess,
    CopiesInside: _FaultyInside,
    ComparesInside: _FaultyCompares,
}


def _unwrapped(store: Store) -> Store:
    return store.inner if isinstance(store, FaultyStore) else store


def _raise(error: Exception | None) -> None:
    if error is not None:
        raise error
