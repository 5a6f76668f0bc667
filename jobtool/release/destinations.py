"""The copies of a file at the required destinations, and a look at each of them now."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping

import msgspec

from jobtool.errors import FileError, NotFoundError
from jobtool.jobs.forms import ENDINGS, Form
from jobtool.jobs.records import Receipt
from jobtool.jobs.stamps import stamp_of
from jobtool.md5 import hasher_for
from jobtool.names import quote
from jobtool.release.context import ReleaseContext
from jobtool.release.records import Evidence
from jobtool.stores.location import inside, is_local, parent_of
from jobtool.stores.optional import Prover, supports
from jobtool.stores.store import READ_BYTES, Entry, Part, Store, composite_md5, entry_of
from jobtool.transfer.packing.contents import contents_of, read_through

#: How many stores are kept open.
_MOST_STORES = 1000


class UnprovenError(FileError):
    """What is to be removed isn't proven now, so it stays."""


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    """A copy that must be proven before its original goes.

    ``size`` in bytes and ``md5`` in hex are those of the bytes at ``url``, as a receipt or a
    manifest has them; the MD5 is None if the file was never read. ``root`` is a folder that ``url``
    is below. ``holds`` and ``form`` are as in ``Evidence``, ``content_size`` the size in bytes of a
    compressed file's content. ``part_size`` is the size in bytes of the parts that its ETag may
    depend on. ``known_etag`` is an ETag that an earlier release has proven.
    """

    url: str
    size: int
    md5: str | None
    root: str | None = None
    holds: str = "file"
    form: Form | None = None
    content_size: int | None = None
    part_size: int | None = None
    known_etag: str | None = None


class Digests(msgspec.Struct, frozen=True, kw_only=True):
    """What was read of a file: its MD5 in hex, and its composite ETags by size of the parts."""

    md5: str
    composites: Mapping[int, str] = {}


def copy_of(receipt: Receipt, *, root: str | None = None) -> Copy:
    """Return the copy that a receipt proves. Raises ``UnprovenError`` for one that proves none."""
    if not receipt.is_proof:
        raise UnprovenError(
            f"its receipt for {quote(receipt.dst_path)} has two MD5s, {receipt.hashsum_src} and "
            f"{receipt.hashsum_dst}, so it proves nothing. jobtool verify --repair sends it again"
        )
    if receipt.compression is not None and not receipt.is_packed:
        raise UnprovenError(
            f"{quote(receipt.dst_path)} was unpacked on its way, so it holds other bytes. Such "
            "files aren't released."
        )
    form = next((form for form in ENDINGS if form == receipt.compression), None)
    return Copy(
        url=receipt.dst_path,
        root=root,
        size=receipt.stored_size,
        md5=receipt.stored_md5,
        holds="compressed" if receipt.is_packed else "file",
        form=form,
        content_size=receipt.size if receipt.is_packed else None,
        part_size=receipt.part_size,
    )


def copy_seen(evidence: Evidence) -> Copy:
    """Return the copy that was looked at when its original went to the trash."""
    return Copy(
        url=evidence.url,
        size=evidence.size,
        md5=evidence.md5,
        holds=evidence.holds,
        form=next((form for form in ENDINGS if form == evidence.form), None),
        content_size=evidence.content_size,
        known_etag=evidence.etag,
    )


class Destinations:
    """Looks at copies. Threads may use it. Nothing is remembered: each call asks the store."""

    def __init__(self, context: ReleaseContext) -> None:
        self._context = context
        self._stores: dict[str, Store] = {}
        self._lock = threading.Lock()

    def entry(self, copy: Copy) -> Entry:
        """Return the copy's entry of now.

        Raises ``UnprovenError`` if it is missing or has another size, and the errors of stores.
        """
        store, path = self._at(copy)
        try:
            found = self._context.retry.call(lambda: entry_of(store, path))
        except NotFoundError:
            raise UnprovenError(
                f"expected it at {quote(copy.url)}; found nothing there now. jobtool verify "
                "--repair sends it again"
            ) from None
        if found.size != copy.size:
            raise UnprovenError(
                f"expected {copy.size} bytes at {quote(copy.url)}, as its receipt says; found "
                f"{found.size} now. jobtool verify --repair sends it again"
            )
        return found

    def require_there(self, copy: Copy) -> None:
        """Raise ``UnprovenError`` or another ``FileError`` unless a copy can be opened now.

        A file of a filesystem is opened: a mount may answer from memory whether it is there.
        """
        entry = self.entry(copy)
        if is_local(copy.url):
            store, path = self._at(copy)
            store.read(Entry(path, entry.size, entry.mtime_ns), 0, min(1, entry.size))

    def look(self, copy: Copy, digests: Digests) -> Evidence:
        """Prove that a copy holds the bytes that were read of the original, or of its package.

        By the digest that the store computed itself, or else by reading it. With ``deep`` it is
        read. A compressed copy is always read and opened. Raises ``UnprovenError`` if it holds
        other bytes, and the errors of stores.
        """
        entry = self.entry(copy)
        store, path = self._at(copy)
        if copy.form is not None:
            return self._look_inside(store, entry, copy, digests)
        if copy.md5 not in (None, digests.md5):
            raise UnprovenError(
                f"expected MD5 {copy.md5}, as the receipt of {quote(copy.url)} says; read "
                f"{digests.md5} now. The file has changed since, or the receipt is false."
            )
        verified_by: str = "read-back"
        etag = entry.etag
        if self._context.deep or not supports(store, Prover):
            is_same = self._context.retry.call(lambda: store.digest(path)) == digests.md5
        else:
            prover, composite = store, digests.composites.get(copy.part_size or 0, "")
            composite = composite or copy.known_etag or ""
            proof = self._context.retry.call(lambda: prover.prove(path, digests.md5, composite))
            is_same = proof is not None
            if proof is not None:
                verified_by, etag = proof.verified_by, proof.etag or etag
        if not is_same:
            raise UnprovenError(
                f"expected MD5 {digests.md5} at {quote(copy.url)}; it holds other bytes now. "
                "jobtool verify --deep --repair sends it again"
            )
        return self._evidence(copy, digests.md5, verified_by, etag)

    def _look_inside(self, store: Store, entry: Entry, copy: Copy, digests: Digests) -> Evidence:
        assert copy.form is not None
        form = copy.form

        def opened() -> tuple[str, str]:
            contents = contents_of(store, entry, form)
            read_through(contents, copy.content_size or 0, self._context.require_going)
            return contents.md5, contents.packed_md5

        content, packed = self._context.retry.call(opened)
        if content != digests.md5:
            raise UnprovenError(
                f"expected MD5 {digests.md5} inside {quote(copy.url)}; found {content} now. "
                "jobtool verify --deep --repair sends it again"
            )
        return self._evidence(copy, packed, "read-back", entry.etag)

    def _evidence(self, copy: Copy, md5: str, verified_by: str, etag: str | None) -> Evidence:
        return Evidence(
            url=copy.url,
            size=copy.size,
            md5=md5,
            verified_by=verified_by,
            looked_at=stamp_of(self._context.now()),
            holds=copy.holds,
            etag=etag,
            form=copy.form,
            content_size=copy.content_size,
        )

    def _at(self, copy: Copy) -> tuple[Store, str]:
        below = inside(copy.root, copy.url) if copy.root is not None else None
        if copy.root is not None and below:
            folder, path = copy.root, below
        else:
            folder, path = parent_of(copy.url)
        with self._lock:
            if folder not in self._stores:
                if len(self._stores) >= _MOST_STORES:
                    self._stores.clear()
                self._stores[folder] = self._context.stores.open(
                    folder, "destination", owner=self._context.owner
                )
            return self._stores[folder], path


def require_apart(copy: Copy, url: str, file: tuple[int, int] | None) -> None:
    """Raise ``UnprovenError`` if a copy is the original itself.

    ``url`` is that of the original, ``file`` its device and inode, None for an object. Links and
    bind mounts lead to the same device and inode.
    """
    is_same = copy.url == url
    if file is not None and is_local(copy.url):
        try:
            found = os.stat(copy.url)
        except OSError:
            return  # which the look at it reports
        is_same = is_same or (found.st_dev, found.st_ino) == file
    if is_same:
        raise UnprovenError(
            f"expected a copy at {quote(copy.url)}; found this file itself, reached by another "
            "path. It is the only one."
        )


def needed_part_sizes(copies: list[tuple[Copy, Entry]]) -> frozenset[int]:
    """Return the sizes of parts, in bytes, whose composite ETags the copies are compared with."""
    return frozenset(
        copy.part_size
        for copy, entry in copies
        if copy.part_size and copy.form is None and "-" in (entry.etag or "")
    )


def read_digests(
    store: Store, entry: Entry, part_sizes: frozenset[int], context: ReleaseContext
) -> Digests:
    """Read a file and return its digests.

    Raises ``SourceChangedError`` if it isn't as in its entry, and the errors of stores.
    """
    if not part_sizes and entry.size <= READ_BYTES:
        return Digests(md5=context.retry.call(lambda: store.digest(entry.path)))
    reading = PartDigests(entry.size, part_sizes)
    for offset in range(0, entry.size, READ_BYTES):
        context.require_going()
        length = min(READ_BYTES, entry.size - offset)

        def read(offset: int = offset, length: int = length) -> memoryview:
            return memoryview(store.read(entry, offset, length).data)

        reading.update(context.retry.call(read))
    return reading.digests()


class PartDigests:
    """The digests of a file of ``size`` bytes that is read in order."""

    def __init__(self, size: int, part_sizes: frozenset[int]) -> None:
        self._whole = hasher_for(size)
        self._parts = {each: _Parts(each) for each in part_sizes}

    def update(self, data: memoryview) -> None:
        """Add data."""
        self._whole.update(data)
        for one in self._parts.values():
            one.update(data)

    def digests(self) -> Digests:
        """Return the digests at the end of the file."""
        composites = {size: one.etag() for size, one in self._parts.items()}
        return Digests(md5=self._whole.hexdigest(), composites=composites)


class _Parts:
    """The MD5s of the parts of a file that is read in order."""

    def __init__(self, part_size: int) -> None:
        self._part_size = part_size
        self._md5s: list[str] = []
        self._hasher = hasher_for(part_size)
        self._left = part_size

    def update(self, data: memoryview) -> None:
        while data:
            piece, data = data[: self._left], data[self._left :]
            self._hasher.update(piece)
            self._left -= len(piece)
            if not self._left:
                self._end_part()

    def etag(self) -> str:
        if self._left < self._part_size or not self._md5s:
            self._end_part()
        return composite_md5(
            [Part(number=n, offset=0, size=0, md5=md5) for n, md5 in enumerate(self._md5s, start=1)]
        )

    def _end_part(self) -> None:
        self._md5s.append(self._hasher.hexdigest())
        self._hasher = hasher_for(self._part_size)
        self._left = self._part_size
