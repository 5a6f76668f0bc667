"""What the suites of stores share: difficult names, raw access, small helpers."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar, Protocol

import pytest

from jobtool.errors import FileError, StoreError
from jobtool.stores.optional import Multipart, Temporaries, supports
from jobtool.stores.store import Attributes, Entry, Part, Proof, Special, Store, Upload

MEBIBYTE = 1024 * 1024

#: How long an unfinished write waits for the test around it.
_WRITE_SECONDS = 60

#: Names that filesystems allow but software often handles wrongly.
ODD_NAMES: Sequence[str] = (
    "with space",
    " leading space",
    "trailing space ",
    'double"quote',
    "single'quote",
    "#hash",
    "query?a=b&c=d",
    "100%",
    "%2F",
    "%zz",
    "a+b",
    "a=b;c:d,e@f!$(g)[h]{i}|j~k^l`m*n",
    "<tag>&amp;",
    "a -> b",
    "-dash",
    "~tilde",
    ".hidden",
    "...",
    "..a",
    "back\\slash",
    "emoji 🧬",
    "composed \u00e9",
    "combining e\u0301",
    "beyond the basic plane \U0001f9ec\U0010fffd",
    "right to left \u202e",
    "line separator \u2028",
    "new\nline",
    "carriage\rreturn",
    "tab\t",
    "control \x01\x1f\x7f",
    "not UTF-8 \udcff\udc80",
    "long " + "x" * 250,
)

#: Paths that would leave the store, or don't name a file.
ESCAPING_PATHS: Sequence[str] = (
    "",
    ".",
    "..",
    "/x",
    "../x",
    "a/../x",
    "a/..",
    "a/./b",
    "a//b",
    "a/",
    "nul\0",
)

MTIME_NS = 1_700_000_000_123_456_000
MTIMES_NS = (0, 1, MTIME_NS, 4_102_444_800_000_001_000, -1_500_000_000, -86_400_000_000_000)
PART_BYTES = 5 * MEBIBYTE
THREADS = 8
FILES_PER_THREAD = 20


class RawAccess(Protocol):
    """The bytes below the store's root, by other means than the store."""

    def write(self, path: str, data: bytes, mtime_ns: int | None = None) -> None:
        """Write a file and make its folders."""

    def read(self, path: str) -> bytes:
        """Return a file's bytes. Raise any error if it doesn't exist."""

    def paths(self) -> set[str]:
        """Return the paths of all files, including temporary ones."""


class RawSpecials(RawAccess, Protocol):
    """Raw access that can also make empty folders and links."""

    def make_special(self, special: Special) -> None:
        """Make it and the folders above it."""


class Suite:
    """What all suites share: the fixtures that a subclass defines, and its exceptions.

    ``page_size`` is the number of names in a page of the server's listing, if it has pages.
    ``time_resolution_ns`` is what times of the store may differ by from those of the source, and
    ``times_held_ns`` are the first and the last time that it can keep.
    """

    page_size: ClassVar[int] = 1000
    time_resolution_ns: ClassVar[int] = 1000
    times_held_ns: ClassVar[tuple[int, int]] = (-(2**63), 2**63 - 1)
    refused_names: ClassVar[Mapping[str, str]] = {}
    unsupported_names: ClassVar[Mapping[str, str]] = {}

    @pytest.fixture
    def store(self) -> Store:
        """Return an empty store."""
        raise NotImplementedError("a subclass of StoreSuite must define the fixture 'store'")

    @pytest.fixture
    def raw(self) -> RawAccess:
        """Return access to the bytes of ``store`` by other means."""
        raise NotImplementedError("a subclass of StoreSuite must define the fixture 'raw'")

    def held_names(self) -> list[str]:
        """Return those of ``ODD_NAMES`` that the store and the server under test can hold."""
        lacking = {*self.refused_names, *self.unsupported_names}
        return sorted({*ODD_NAMES} - lacking, key=os.fsencode)

    def is_time(self, found_ns: int, expected_ns: int) -> bool:
        """Return True if a time is as exact as the store keeps it."""
        return abs(found_ns - expected_ns) < self.time_resolution_ns

    def require_held_time(self, mtime_ns: int) -> None:
        """Skip the test for a time that the store can't keep."""
        first, last = self.times_held_ns
        if not first <= mtime_ns <= last:
            pytest.skip("this store can't keep such a time")


def md5_of(data: bytes) -> str:
    """Return an MD5 in hex."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def require_refused(attempt: Callable[[], object], path: str) -> None:
    """Fail the test unless an attempt to use a path raises ``FileError``."""
    try:
        attempt()
    except FileError:
        return
    pytest.fail(f"the path {path!r} wasn't refused")


def named_files(names: Sequence[str]) -> dict[str, bytes]:
    """Return a file for each name, in a folder of the same name, with bytes of its own."""
    return {f"{name}/{name}": os.fsencode(name) for name in names}


def some_bytes(size: int, seed: int = 0) -> bytes:
    """Return random bytes, the same at each call."""
    return random.Random(seed).randbytes(size)


def pieces_of(*sizes: int) -> list[bytes]:
    """Return pieces of random bytes of these sizes."""
    return [some_bytes(size, seed) for seed, size in enumerate(sizes)]


def write(store: Store, path: str, data: bytes, mtime_ns: int = MTIME_NS) -> Proof | None:
    """Write a whole file, from one chunk."""
    return store.write(path, [data], Attributes(mtime_ns=mtime_ns, md5=md5_of(data)))


def send(
    store: Multipart,
    path: str,
    pieces: Sequence[bytes],
    *,
    order: Sequence[int] = (),
    mtime_ns: int = MTIME_NS,
) -> tuple[Upload, list[Part]]:
    """Begin an upload and send its parts."""
    attributes = Attributes(mtime_ns=mtime_ns, md5=md5_of(b"".join(pieces)))
    upload = store.begin(path, attributes)
    parts = {}
    for number in order or range(1, len(pieces) + 1):
        offset = sum(len(piece) for piece in pieces[: number - 1])
        data = pieces[number - 1]
        parts[number] = store.put_part(upload, number, offset, data, md5_of(data))
    return upload, [parts[number] for number in sorted(parts)]


def write_in_parts(
    store: Multipart, path: str, pieces: Sequence[bytes], mtime_ns: int = MTIME_NS
) -> Proof:
    """Write a file in parts."""
    upload, parts = send(store, path, pieces, mtime_ns=mtime_ns)
    attributes = Attributes(mtime_ns=mtime_ns, md5=md5_of(b"".join(pieces)))
    return store.complete(upload, parts, attributes)


@contextlib.contextmanager
def unfinished(store: Temporaries, path: str) -> Iterator[None]:
    """Leave a file unfinished while the block runs: an upload, or else a write."""
    if supports(store, Multipart):
        upload, _ = send(store, path, [b"data"])
        yield
        store.abort(upload)
        return
    begun, ended = threading.Event(), threading.Event()

    def chunks() -> Iterator[bytes]:
        yield b"data"
        begun.set()
        ended.wait(_WRITE_SECONDS)
        raise StoreError("broken off")

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(store.write, path, chunks(), Attributes(mtime_ns=MTIME_NS))
        begun.wait(_WRITE_SECONDS)
        try:
            yield
        finally:
            ended.set()
        with pytest.raises(StoreError):
            writing.result()


def tokens_of(store: Multipart | Temporaries, path: str) -> set[str]:
    """Return the tokens of the unfinished uploads of a path."""
    return {upload.token for upload in store.leftovers(path, 0)}


def files_of(store: Store) -> list[Entry]:
    """Return the files that a store lists."""
    return [entry for entry in store.list() if isinstance(entry, Entry)]
