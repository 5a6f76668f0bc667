"""One file, proven: read once, hashed while read, written unseen, proven, published."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial

from jobtool.errors import DigestMismatchError, JobtoolError, StoppedError
from jobtool.names import quote
from jobtool.stores.store import Attributes, Part, Proof, Store, Upload
from jobtool.transfer.checksum import DEFAULT_PART_BYTES, md5_of, part_size_for, ranges
from jobtool.transfer.plan import Item

DEFAULT_BUFFER_BYTES = 192 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """A file that arrived: the MD5 of what was read, the proof, the part size if it had parts."""

    md5: str
    proof: Proof
    part_size: int | None


class ByteBudget:
    """A bound on the bytes in flight; whoever wants more waits until others have finished."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._used = 0
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def holding(self, size: int) -> Iterator[None]:
        """Hold ``size`` bytes for the length of the block."""
        self.take(size)
        try:
            yield
        finally:
            self.give(size)

    def take(self, size: int) -> None:
        """Take ``size`` bytes, waiting for room; more than the limit only when nobody has any."""
        with self._changed:
            self._changed.wait_for(lambda: self._used == 0 or self._used + size <= self._limit)
            self._used += size

    def give(self, size: int) -> None:
        """Give back what was taken."""
        with self._changed:
            self._used -= size
            self._changed.notify_all()


class Copier:
    """Copies files for the threads of a worker, within a common bound on memory.

    Files smaller than ``part_bytes`` are written whole, larger ones in parts of at least that
    size, ``threads`` parts at a time over all files.
    """

    def __init__(
        self,
        *,
        threads: int,
        part_bytes: int = DEFAULT_PART_BYTES,
        buffer_bytes: int = DEFAULT_BUFFER_BYTES,
    ) -> None:
        self.part_bytes = part_bytes
        self._budget = ByteBudget(max(buffer_bytes, 2 * part_bytes))
        self._parts = ThreadPoolExecutor(threads, thread_name_prefix="part")

    def close(self) -> None:
        """Wait for the threads that send parts, and end them."""
        self._parts.shutdown()

    def copy(self, item: Item, *, stop: threading.Event, on_bytes: Callable[[int], None]) -> Copied:
        """Copy one file; one try.

        ``on_bytes`` is told the bytes that have arrived, from any thread, as they do. Raises the
        errors of stores, and ``StoppedError`` between two parts once ``stop`` is set. Nothing of a
        failed try is visible at the destination.
        """
        if item.entry.size < self.part_bytes:
            copied = self._copy_whole(item)
            on_bytes(item.entry.size)
            return copied
        return self._copy_in_parts(item, stop, on_bytes)

    def _copy_whole(self, item: Item) -> Copied:
        with self._budget.holding(item.entry.size):
            content = item.lane.source.read(item.entry, 0, item.entry.size)
            md5 = md5_of(content.data)
            _require_recorded(item, recorded=content.attributes.md5, found=md5)
            attributes = replace(content.attributes, md5=md5)
            proof = item.lane.destination.put(item.destination_path, content.data, attributes)
        return Copied(md5=md5, proof=proof, part_size=None)

    def _copy_in_parts(
        self, item: Item, stop: threading.Event, on_bytes: Callable[[int], None]
    ) -> Copied:
        part_size = part_size_for(item.entry.size, self.part_bytes)
        source, destination = item.lane.source, item.lane.destination
        known = None
        if destination.capabilities.attributes_first and source.capabilities.cheap_reads:
            known = self._hash(item, part_size, stop)
        whole = hashlib.md5(usedforsecurity=False)
        pending: deque[tuple[Future[Part], int]] = deque()
        parts: list[Part] = []
        upload: Upload | None = None
        attributes = Attributes(mtime_ns=item.entry.mtime_ns)
        try:
            for number, offset, length in ranges(item.entry.size, part_size):
                _require_going(stop, item)
                self._budget.take(length)
                try:
                    content = source.read(item.entry, offset, length)
                    if upload is None:
                        attributes = content.attributes
                        if known is not None:
                            attributes = replace(attributes, md5=known.whole)
                        upload = destination.begin(item.destination_path, attributes)
                    if known is None:
                        whole.update(content.data)
                        md5 = md5_of(content.data) if destination.capabilities.part_digests else ""
                    else:
                        md5 = known.parts[number - 1]
                    send = partial(destination.put_part, upload, number, offset, content.data, md5)
                    future = self._parts.submit(self._send, send, length, on_bytes)
                except BaseException:
                    self._budget.give(length)
                    raise
                pending.append((future, length))
                while pending and pending[0][0].done():
                    parts.append(pending.popleft()[0].result())
            while pending:
                parts.append(pending.popleft()[0].result())
            assert upload is not None, "a file in parts has at least one"
            md5 = whole.hexdigest() if known is None else known.whole
            _require_recorded(item, recorded=attributes.md5, found=md5)
            attributes = replace(attributes, md5=md5)
            proof = destination.complete(upload, parts, attributes)
        except BaseException:
            self._give_up(destination, upload, pending)
            raise
        return Copied(md5=md5, proof=proof, part_size=part_size)

    def _send(self, send: Callable[[], Part], length: int, on_bytes: Callable[[int], None]) -> Part:
        try:
            part = send()
        finally:
            self._budget.give(length)
        on_bytes(length)
        return part

    def _give_up(
        self,
        destination: Store,
        upload: Upload | None,
        pending: Iterable[tuple[Future[Part], int]],
    ) -> None:
        for future, length in pending:
            if future.cancel():
                self._budget.give(length)
        wait([future for future, _ in pending])
        if upload is not None:
            # What failed is told by the error under way, not by a failure to tidy up after it.
            with contextlib.suppress(JobtoolError):
                destination.abort(upload)

    def _hash(self, item: Item, part_size: int, stop: threading.Event) -> _Digests:
        whole = hashlib.md5(usedforsecurity=False)
        parts = []
        for _, offset, length in ranges(item.entry.size, part_size):
            _require_going(stop, item)
            with self._budget.holding(length):
                data = item.lane.source.read(item.entry, offset, length).data
                whole.update(data)
                parts.append(md5_of(data))
        return _Digests(whole.hexdigest(), tuple(parts))


@dataclass(frozen=True, slots=True)
class _Digests:
    whole: str
    parts: tuple[str, ...]


def _require_going(stop: threading.Event, item: Item) -> None:
    if stop.is_set():
        raise StoppedError(f"stopped in the middle of {quote(item.source_url)}")


def _require_recorded(item: Item, *, recorded: str | None, found: str) -> None:
    if recorded is not None and recorded != found:
        raise DigestMismatchError(
            f"{quote(item.source_url)}: its metadata says MD5 {recorded}; what was read has {found}"
        )
