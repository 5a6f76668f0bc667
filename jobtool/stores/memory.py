"""A store in memory, ``memory://name``, for tests or experiments."""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Iterable, Iterator, Sequence

import msgspec
from msgspec.structs import replace

from jobtool.errors import NotFoundError, SourceChangedError, StoreError
from jobtool.names import quote
from jobtool.stores.location import Location
from jobtool.stores.preserve import KEEP_ALL
from jobtool.stores.store import (
    Attributes,
    Capabilities,
    Child,
    Content,
    Entry,
    Part,
    Proof,
    StatResult,
    Upload,
    check_path,
    composite_md5,
    digest_by_reading,
    kind_of,
    require_same,
)
from jobtool.stores.storetype import Opening, Setup, StoreType

Files = dict[str, tuple[bytes, Attributes]]


class Memory(msgspec.Struct):
    """The contents of all stores of one ``memory://name``: files and unfinished uploads."""

    files: Files = msgspec.field(default_factory=dict)
    uploads: dict[str, tuple[str, dict[int, bytes]]] = msgspec.field(default_factory=dict)
    lock: threading.Lock = msgspec.field(default_factory=threading.Lock)


class MemoryStore:
    """A store whose files are in a ``Memory``, under a prefix."""

    capabilities = Capabilities(cheap_reads=True, keeps=KEEP_ALL, takes_many=True)

    def __init__(self, memory: Memory, url: str, prefix: str = "") -> None:
        self.memory = memory
        self.url = url
        self._prefix = prefix

    def _key(self, path: str) -> str:
        return f"{self._prefix}/{path}".strip("/")

    def url_of(self, path: str) -> str:
        """Return the URL of ``path``."""
        return f"{self.url}/{path}" if path else self.url

    def stat(self, path: str, *, file_only: bool = False) -> StatResult:
        """Return what is at ``path``."""
        key = self._key(path)
        with self.memory.lock:
            if key in self.memory.files:
                data, attributes = self.memory.files[key]
                return Entry(path, len(data), attributes.mtime_ns)
            inside = f"{key}/" if key else ""
            found = any(other.startswith(inside) for other in self.memory.files)
        return "folder" if found else "missing"

    def children(self, path: str) -> Iterator[Child]:
        """Yield what is directly inside ``path``."""
        if self.stat(path) != "folder":
            raise NotFoundError(f"expected a folder at {quote(self.url_of(path))}; found none")
        inside = f"{self._key(path)}/".lstrip("/")
        with self.memory.lock:
            rests = [key[len(inside) :] for key in self.memory.files if key.startswith(inside)]
        found = {(rest.partition("/")[0], "/" in rest) for rest in rests}
        yield from (Child(name, is_folder) for name, is_folder in sorted(found))

    def list(self) -> Iterator[Entry]:
        """Yield every file below the root."""
        inside = f"{self._prefix}/" if self._prefix else ""
        with self.memory.lock:
            found = [
                Entry(key[len(inside) :], len(data), attributes.mtime_ns)
                for key, (data, attributes) in self.memory.files.items()
                if key.startswith(inside)
            ]
        yield from sorted(found, key=lambda entry: entry.path.encode("utf-8", "surrogateescape"))

    def read(self, entry: Entry, offset: int, length: int) -> Content:
        """Return bytes of a file."""
        data, attributes = self._get(entry.path)
        if (len(data), attributes.mtime_ns) != (entry.size, entry.mtime_ns):
            raise SourceChangedError(f"{quote(self.url_of(entry.path))} was changed meanwhile")
        return Content(data=memoryview(data)[offset : offset + length], attributes=attributes)

    def write(
        self, path: str, chunks: Iterable[bytes | memoryview], attributes: Attributes
    ) -> Proof:
        """Write a whole file."""
        key = self._key(check_path(path))
        held = b"".join(chunks)
        found = hashlib.md5(held, usedforsecurity=False).hexdigest()
        require_same(self.url_of(path), sent=attributes.md5 or found, found=found)
        with self.memory.lock:
            self.memory.files[key] = (held, attributes)
        return Proof(md5=found, verified_by="read-back", etag=found, notes=attributes.notes)

    def begin(self, path: str, attributes: Attributes) -> Upload:
        """Start a file in parts."""
        token = secrets.token_hex(8)
        with self.memory.lock:
            self.memory.uploads[token] = (self._key(check_path(path)), {})
        return Upload(path=path, token=token, attributes=attributes)

    def put_part(
        self, upload: Upload, number: int, offset: int, data: bytes | memoryview, md5: str
    ) -> Part:
        """Write one part."""
        held = bytes(data)
        found = hashlib.md5(held, usedforsecurity=False).hexdigest()
        require_same(f"{self.url_of(upload.path)} part {number}", sent=md5, found=found)
        with self.memory.lock:
            if upload.token not in self.memory.uploads:
                raise StoreError(f"there is no upload {upload.token} at {quote(self.url)}")
            self.memory.uploads[upload.token][1][number] = held
        return Part(number=number, offset=offset, size=len(held), md5=found, etag=found)

    def complete(self, upload: Upload, parts: Sequence[Part], attributes: Attributes) -> Proof:
        """Put the parts together."""
        with self.memory.lock:
            held = self.memory.uploads.pop(upload.token, None)
        if held is None:
            raise StoreError(f"there is no upload {upload.token} at {quote(self.url)}")
        pieces = [held[1][part.number] for part in parts]
        proof = self.write(upload.path, pieces, attributes)
        return replace(proof, verified_by="multipart-etag", etag=composite_md5(parts))

    def held_parts(self, upload: Upload, parts: Sequence[Part]) -> Sequence[Part]:
        """Return the parts that are still held as they were sent."""
        with self.memory.lock:
            if upload.token not in self.memory.uploads:
                raise NotFoundError(f"there is no upload {upload.token} at {quote(self.url)}")
            held = self.memory.uploads[upload.token][1]
            return [part for part in parts if _md5(held.get(part.number)) == part.md5]

    def abort(self, upload: Upload) -> None:
        """Drop an upload."""
        with self.memory.lock:
            self.memory.uploads.pop(upload.token, None)

    def leftovers(self, path: str, since_ns: int) -> Sequence[Upload]:
        """Return the unfinished uploads of ``path``."""
        key = self._key(path)
        with self.memory.lock:
            tokens = [token for token, (of, _) in self.memory.uploads.items() if of == key]
        unknown = Attributes(mtime_ns=0)
        return [Upload(path=path, token=token, attributes=unknown) for token in tokens]

    def prove(
        self, path: str, md5: str, composite: str, attributes: Attributes | None = None
    ) -> Proof | None:
        """Prove that a file has this MD5."""
        if kind_of(self, path) != "file" or self.digest(path) != md5:
            return None
        return Proof(md5=md5, verified_by="read-back", etag=md5)

    def digest(self, path: str) -> str:
        """Return a file's MD5."""
        return digest_by_reading(self, path)

    def delete(self, path: str) -> None:
        """Remove a file."""
        with self.memory.lock:
            self.memory.files.pop(self._key(check_path(path)), None)

    def sync(self) -> None:
        """Do nothing: memory has no medium to sync to."""

    def _get(self, path: str) -> tuple[bytes, Attributes]:
        with self.memory.lock:
            found = self.memory.files.get(self._key(path))
        if found is None:
            raise NotFoundError(f"expected a file at {quote(self.url_of(path))}; found none")
        return found


def _md5(data: bytes | None) -> str | None:
    return None if data is None else hashlib.md5(data, usedforsecurity=False).hexdigest()


def _open(location: Location, opening: Opening) -> MemoryStore:
    memory = opening.shared.setdefault(location.name, Memory())
    return MemoryStore(memory, location.url, location.path)


def _no_memories(setup: Setup) -> dict[str, Memory]:
    return {}


STORE_TYPE = StoreType(open=_open, share=_no_memories, lists_own_times=True)
