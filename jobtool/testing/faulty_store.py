"""A store that fails as told: a wrapper around any other, for tests of what must survive faults.

::

    store = FaultyStore(
        inner,
        [
            Fault(method="put", error=StoreError("connection reset"), times=2),
            Corruption(method="put_part", path="big.bin"),
        ],
    )

The first two calls of ``put`` fail, then it works; the first part sent for ``big.bin`` has one
byte flipped on its way, while the MD5 that goes with it stays the honest one.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from jobtool.stores.store import (
    Attributes,
    Capabilities,
    Child,
    Content,
    Entry,
    FolderStore,
    Note,
    Part,
    PathKind,
    Proof,
    Special,
    Store,
    Unlisted,
    Upload,
    has_folders,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """An error that a method raises.

    ``path`` limits it to calls for that path; ``times`` is how often it strikes (None: always);
    ``skip`` how many calls it lets pass before. With ``late`` the method does its work first, as
    when an answer is lost on its way back. A fault of ``list`` or ``children`` strikes before
    their first item; one that is ``late`` after the last.
    """

    method: str
    error: Exception
    path: str | None = None
    times: int | None = 1
    skip: int = 0
    late: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Corruption:
    """One flipped byte in data on its way.

    To the store by ``put`` and ``put_part``, from it by ``read``. Limits as those of ``Fault``;
    calls without data aren't struck.
    """

    method: Literal["put", "put_part", "read"]
    path: str | None = None
    times: int | None = 1
    skip: int = 0


class FaultyStore:
    """Wraps a store and makes it fail as told; the first fault of the list that fits strikes.

    ``calls`` counts the calls of each method, failed ones included; ``bytes_written`` what was
    given to ``put`` and ``put_part`` by calls that returned. Threads may use it at once.
    """

    def __init__(self, inner: Store, faults: Sequence[Fault | Corruption] = ()) -> None:
        self.inner = inner
        self.calls: Counter[str] = Counter()
        self.bytes_written = 0
        self._lock = threading.Lock()
        self._pending = [_Pending(fault) for fault in faults]

    @property
    def faults_left(self) -> list[Fault | Corruption]:
        """The faults that have yet to strike, but for those that always do."""
        with self._lock:
            return [pending.fault for pending in self._pending if pending.times_left]

    @property
    def url(self) -> str:
        """The wrapped store's root."""
        return self.inner.url

    @property
    def capabilities(self) -> Capabilities:
        """What the wrapped store can do."""
        return self.inner.capabilities

    def url_of(self, path: str) -> str:
        """Return the wrapped store's URL of ``path``."""
        return self.inner.url_of(path)

    def kind(self, path: str) -> PathKind:
        """Tell what is at ``path``."""
        late = self._strike("kind", path)
        kind = self.inner.kind(path)
        _raise(late)
        return kind

    def children(self, path: str) -> Iterator[Child | Unlisted]:
        """Yield what is directly inside ``path``."""
        late = self._strike("children", path)
        yield from self.inner.children(path)
        _raise(late)

    def check_access(self, *, write: bool) -> None:
        """Try access as the inner store does."""
        self.inner.check_access(write=write)

    def list(self) -> Iterator[Entry | Special | Unlisted]:
        """Yield everything below the root."""
        late = self._strike("list", "")
        yield from self.inner.list()
        _raise(late)

    def head(self, path: str) -> Entry:
        """Return one file's entry."""
        late = self._strike("head", path)
        entry = self.inner.head(path)
        _raise(late)
        return entry

    def read(self, entry: Entry, offset: int, length: int) -> Content:
        """Return bytes of a file, one of them flipped if so told."""
        late = self._strike("read", entry.path)
        content = self.inner.read(entry, offset, length)
        _raise(late)
        data = self._corrupt("read", entry.path, content.data)
        return Content(data=data, attributes=content.attributes)

    def put(self, path: str, data: bytes | memoryview, attributes: Attributes) -> Proof:
        """Write a whole file, with one byte flipped if so told."""
        late = self._strike("put", path)
        proof = self.inner.put(path, self._corrupt("put", path, data), attributes)
        self._count(len(data))
        _raise(late)
        return proof

    def begin(self, path: str, attributes: Attributes) -> Upload:
        """Start a file in parts."""
        late = self._strike("begin", path)
        upload = self.inner.begin(path, attributes)
        _raise(late)
        return upload

    def put_part(
        self, upload: Upload, number: int, offset: int, data: bytes | memoryview, md5: str
    ) -> Part:
        """Write one part, with one byte flipped if so told."""
        late = self._strike("put_part", upload.path)
        sent = self._corrupt("put_part", upload.path, data)
        part = self.inner.put_part(upload, number, offset, sent, md5)
        self._count(len(data))
        _raise(late)
        return part

    def complete(self, upload: Upload, parts: Sequence[Part], attributes: Attributes) -> Proof:
        """Put the parts together."""
        late = self._strike("complete", upload.path)
        proof = self.inner.complete(upload, parts, attributes)
        _raise(late)
        return proof

    def held_parts(self, upload: Upload, parts: Sequence[Part]) -> Sequence[Part]:
        """Return the parts that are still held."""
        late = self._strike("held_parts", upload.path)
        held = self.inner.held_parts(upload, parts)
        _raise(late)
        return held

    def leftovers(self, path: str, since_ns: int) -> Sequence[Upload]:
        """Return unfinished uploads."""
        late = self._strike("leftovers", path)
        found = self.inner.leftovers(path, since_ns)
        _raise(late)
        return found

    def is_leftover(self, path: str) -> bool:
        """Tell whether a listed file is an unfinished write."""
        return self.inner.is_leftover(path)

    def prove(
        self, path: str, md5: str, composite: str, attributes: Attributes | None = None
    ) -> Proof | None:
        """Prove that a file has this MD5."""
        late = self._strike("prove", path)
        proof = self.inner.prove(path, md5, composite, attributes)
        _raise(late)
        return proof

    def make_special(self, special: Special) -> None:
        """Make an empty folder or a link."""
        late = self._strike("make_special", special.path)
        self.inner.make_special(special)
        _raise(late)

    def folder_attributes(self, path: str) -> Attributes:
        """Return the attributes of a folder, if the wrapped store's have any."""
        late = self._strike("folder_attributes", path)
        attributes = self._folders.folder_attributes(path)
        _raise(late)
        return attributes

    def set_folder_attributes(self, path: str, attributes: Attributes) -> tuple[Note, ...]:
        """Give a folder its attributes, if the wrapped store's have any."""
        late = self._strike("set_folder_attributes", path)
        notes = self._folders.set_folder_attributes(path, attributes)
        _raise(late)
        return notes

    @property
    def _folders(self) -> FolderStore:
        assert has_folders(self.inner), "capabilities.folders says that there are none"
        return self.inner

    def abort(self, upload: Upload) -> None:
        """Drop an upload."""
        late = self._strike("abort", upload.path)
        self.inner.abort(upload)
        _raise(late)

    def digest(self, path: str) -> str:
        """Read a file and return its MD5."""
        late = self._strike("digest", path)
        digest = self.inner.digest(path)
        _raise(late)
        return digest

    def delete(self, path: str) -> None:
        """Remove a file."""
        late = self._strike("delete", path)
        self.inner.delete(path)
        _raise(late)

    def sync(self) -> None:
        """Make everything that was published durable."""
        late = self._strike("sync", "")
        self.inner.sync()
        _raise(late)

    def _strike(self, method: str, path: str) -> Exception | None:
        # Raises the error of a fault that strikes now; returns that of one that strikes late.
        with self._lock:
            self.calls[method] += 1
            fault = self._take(Fault, method, path)
        if isinstance(fault, Fault):
            if fault.late:
                return fault.error
            raise fault.error
        return None

    def _corrupt(self, method: str, path: str, data: bytes | memoryview) -> bytes | memoryview:
        if not data:
            return data
        with self._lock:
            if self._take(Corruption, method, path) is None:
                return data
        flipped = bytearray(data)
        flipped[len(flipped) // 2] ^= 0x01
        return bytes(flipped)

    def _take(
        self, kind: type[Fault | Corruption], method: str, path: str
    ) -> Fault | Corruption | None:
        for pending in self._pending:
            fault = pending.fault
            fits = isinstance(fault, kind) and fault.method == method and fault.path in (None, path)
            if fits and pending.take():
                return fault
        return None

    def _count(self, size: int) -> None:
        with self._lock:
            self.bytes_written += size


class _Pending:
    def __init__(self, fault: Fault | Corruption) -> None:
        self.fault = fault
        self.times_left = fault.times
        self._to_skip = fault.skip

    def take(self) -> bool:
        if self.times_left == 0:
            return False
        if self._to_skip:
            self._to_skip -= 1
            return False
        if self.times_left is not None:
            self.times_left -= 1
        return True


def _raise(error: Exception | None) -> None:
    if error is not None:
        raise error
