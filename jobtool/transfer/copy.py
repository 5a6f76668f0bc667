"""One file, proven: read once, hashed while read, written unseen, proven, published."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Protocol

from jobtool.errors import (
    CredentialsError,
    DigestMismatchError,
    FileError,
    NotFoundError,
    SourceDigestError,
    StoppedError,
)
from jobtool.names import quote
from jobtool.stop import Stop
from jobtool.stores.store import Attributes, Part, Proof, Upload, composite_md5
from jobtool.transfer.checksum import DEFAULT_PART_BYTES, md5_of, part_size_for, ranges
from jobtool.transfer.plan import Item
from jobtool.transfer.resume import Unfinished

DEFAULT_BUFFER_BYTES = 192 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """A file that arrived: the MD5 of what was read, the proof, the part size if it had parts.

    ``was_there`` tells that nothing was sent: the destination held it already.
    """

    md5: str
    proof: Proof
    part_size: int | None
    was_there: bool = False


class FileLog(Protocol):
    """Where a copy in parts writes what it has done, and reads what was done before."""

    @property
    def unfinished(self) -> Unfinished | None:
        """The upload that may be taken up."""

    def beginning(self) -> int | None:
        """Note that an upload is about to be begun.

        Returns when (nanoseconds since 1970) one was about to be that no answer told of, None if
        there was none.
        """

    def begun(self, upload: Upload, part_size: int) -> None:
        """Note an upload."""

    def sent(self, part: Part) -> None:
        """Note a part; called from any thread."""

    def dropped(self) -> None:
        """Forget the upload: it can't be taken up."""


class ByteBudget:
    """A bound on the bytes in flight; whoever wants more waits until others have finished."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._used = 0
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()

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
        ticket = object()

        def is_my_turn() -> bool:
            fits = self._used == 0 or self._used + size <= self._limit
            return fits and self._waiting[0] is ticket

        with self._changed:
            self._waiting.append(ticket)  # in order, so that the large aren't overtaken for ever
            try:
                self._changed.wait_for(is_my_turn)
                self._used += size
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()

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

    def copy(
        self,
        item: Item,
        log: FileLog,
        *,
        stop: Stop,
        on_bytes: Callable[[int], None],
        may_replace: bool = True,
    ) -> Copied:
        """Copy one file; one try.

        With ``may_replace`` False a file at the destination is never replaced, where the store
        knows how to do that.

        ``on_bytes`` is told the bytes that have arrived, from any thread, as they do. Raises the
        errors of stores, and ``StoppedError`` between two parts once ``stop`` is set. Nothing of a
        failed try is visible at the destination; what it sent of a file in parts is in ``log``.
        """
        if item.entry.size < self.part_bytes:
            if log.unfinished is not None:  # it had parts once
                item.lane.destination.abort(log.unfinished.upload(item))
                log.dropped()
            copied = self._copy_whole(item, may_replace)
            on_bytes(item.entry.size)
            return copied
        parts = _PartsCopy(self._budget, self._parts, item, log, stop, on_bytes, may_replace)
        return parts.run(self._part_size(item, log))

    def adopt(self, item: Item, log: FileLog, *, stop: Stop) -> Copied | None:
        """Return the proof that the destination holds this very file already, None if not."""
        part_size = self._part_size(item, log)
        digests = _hash(item, part_size, self._budget, stop)
        composite = digests.composite(part_size, item.entry.size)
        proof = item.lane.destination.prove(
            item.destination_path, digests.whole, composite, digests.attributes
        )
        if proof is None:
            return None
        has_parts = item.entry.size >= self.part_bytes
        return Copied(
            md5=digests.whole,
            proof=proof,
            part_size=part_size if has_parts else None,
            was_there=True,
        )

    def _part_size(self, item: Item, log: FileLog) -> int:
        if log.unfinished is not None:
            return log.unfinished.part_size
        return part_size_for(item.entry.size, self.part_bytes)

    def _copy_whole(self, item: Item, may_replace: bool) -> Copied:
        with self._budget.holding(item.entry.size):
            content = item.lane.source.read(item.entry, 0, item.entry.size)
            md5 = md5_of(content.data)
            _require_recorded(item, recorded=content.attributes.md5, found=md5)
            attributes = replace(content.attributes, md5=md5, may_replace=may_replace)
            proof = item.lane.destination.put(item.destination_path, content.data, attributes)
        return Copied(md5=md5, proof=proof, part_size=None)


class _PartsCopy:
    """One try at one file in parts, which takes up what earlier tries have sent."""

    def __init__(
        self,
        budget: ByteBudget,
        pool: ThreadPoolExecutor,
        item: Item,
        log: FileLog,
        stop: Stop,
        on_bytes: Callable[[int], None],
        may_replace: bool,
    ) -> None:
        self._may_replace = may_replace
        self._budget = budget
        self._pool = pool
        self._item = item
        self._log = log
        self._stop = stop
        self._on_bytes = on_bytes
        self._source, self._destination = item.lane.source, item.lane.destination
        self._upload: Upload | None = None
        self._parts: list[Part] = []
        self._pending: deque[tuple[Future[Part], int]] = deque()

    def run(self, part_size: int) -> Copied:
        known = None
        if (
            self._destination.capabilities.attributes_first
            and self._source.capabilities.cheap_reads
        ):
            known = _hash(self._item, part_size, self._budget, self._stop)
        held = self._take_up(known)
        try:
            md5, attributes = self._send_parts(part_size, known, held)
        finally:
            self._wait_for_pending()
        _require_recorded(self._item, recorded=attributes.md5, found=md5)
        assert self._upload is not None, "a file in parts has at least one"
        # Those that need not be sent have overtaken those under way.
        parts = sorted(self._parts, key=lambda part: part.number)
        try:
            attributes = replace(attributes, md5=md5, may_replace=self._may_replace)
            proof = self._destination.complete(self._upload, parts, attributes)
        except (DigestMismatchError, NotFoundError):
            self._log.dropped()
            raise
        return Copied(md5=md5, proof=proof, part_size=part_size)

    def _take_up(self, known: _Digests | None) -> dict[int, Part]:
        """Return the parts that need not be sent, and make their upload this one."""
        unfinished = self._log.unfinished
        if unfinished is None:
            return {}
        upload = unfinished.upload(self._item)
        if known is not None and unfinished.md5 != known.whole:
            self._destination.abort(upload)  # its attributes name a digest that isn't the file's
            self._log.dropped()
            return {}
        try:
            held = self._destination.held_parts(upload, [*unfinished.parts.values()])
        except (NotFoundError, CredentialsError):  # gone, or not ours to look at: begin afresh
            self._log.dropped()
            return {}
        self._upload = upload
        return {part.number: part for part in held}

    def _send_parts(
        self, part_size: int, known: _Digests | None, held: dict[int, Part]
    ) -> tuple[str, Attributes]:
        item = self._item
        whole = hashlib.md5(usedforsecurity=False)
        attributes = Attributes(mtime_ns=item.entry.mtime_ns)
        for number, offset, length in ranges(item.entry.size, part_size):
            _require_going(self._stop, item)
            part = held.get(number)
            if known is not None and part is not None and part.md5 == known.parts[number - 1]:
                self._keep(part)
                continue
            self._budget.take(length)
            try:
                content = self._source.read(item.entry, offset, length)
                if not offset or known is not None:
                    attributes = content.attributes
                if self._upload is None:
                    self._begin(attributes, known, part_size)
                md5 = None
                if known is not None:
                    md5 = known.parts[number - 1]
                else:
                    whole.update(content.data)
                if part is not None and part.md5 == md5_of(content.data):
                    self._budget.give(length)
                    self._keep(part)
                    continue
                future = self._pool.submit(self._send, number, offset, content.data, md5)
            except BaseException:
                self._budget.give(length)
                raise
            self._pending.append((future, length))
            while self._pending and self._pending[0][0].done():
                self._parts.append(self._pending.popleft()[0].result())
        while self._pending:
            future, _ = self._pending[0]
            self._parts.append(future.result())
            self._pending.popleft()
        return whole.hexdigest() if known is None else known.whole, attributes

    def _begin(self, attributes: Attributes, known: _Digests | None, part_size: int) -> None:
        if known is not None:
            attributes = replace(attributes, md5=known.whole)
        since_ns = self._log.beginning()
        if since_ns is not None:
            self._drop_lost(since_ns)
        self._upload = self._destination.begin(self._item.destination_path, attributes)
        self._log.begun(self._upload, part_size)

    def _drop_lost(self, since_ns: int) -> None:
        """Drop an upload that was begun without its answer reaching us."""
        path = self._item.destination_path
        try:
            for upload in self._destination.leftovers(path, since_ns):
                self._destination.abort(upload)
        except (CredentialsError, FileError) as error:
            if error.retryable:
                raise
            # Who may only write, or at a server that can't tell, leaves it.

    def _keep(self, part: Part) -> None:
        self._parts.append(part)
        self._on_bytes(part.size)

    def _send(self, number: int, offset: int, data: bytes | memoryview, md5: str | None) -> Part:
        assert self._upload is not None
        try:
            # Hashed here rather than by the reader: the threads share the work.
            part = self._destination.put_part(
                self._upload, number, offset, data, md5 or md5_of(data)
            )
        finally:
            self._budget.give(len(data))
        self._log.sent(part)
        self._on_bytes(part.size)
        return part

    def _wait_for_pending(self) -> None:
        for future, length in self._pending:
            if future.cancel():
                self._budget.give(length)
        wait([future for future, _ in self._pending])


@dataclass(frozen=True, slots=True)
class _Digests:
    whole: str
    parts: tuple[str, ...]
    attributes: Attributes

    def composite(self, part_size: int, size: int) -> str:
        return composite_md5(
            [
                Part(number=number, offset=offset, size=length, md5=md5)
                for (number, offset, length), md5 in zip(
                    ranges(size, part_size), self.parts, strict=True
                )
            ]
        )


def _hash(item: Item, part_size: int, budget: ByteBudget, stop: Stop) -> _Digests:
    whole = hashlib.md5(usedforsecurity=False)
    parts = []
    for _, offset, length in ranges(item.entry.size, part_size):
        _require_going(stop, item)
        with budget.holding(length):
            content = item.lane.source.read(item.entry, offset, length)
            if not offset:
                attributes = content.attributes
            whole.update(content.data)
            parts.append(md5_of(content.data))
    return _Digests(whole.hexdigest(), tuple(parts), attributes)


def _require_going(stop: Stop, item: Item) -> None:
    if stop.is_set():
        raise StoppedError(f"stopped in the middle of {quote(item.source_url)}")


def _require_recorded(item: Item, *, recorded: str | None, found: str) -> None:
    if recorded is not None and recorded != found:
        raise SourceDigestError(
            f"{quote(item.source_url)}: its metadata says MD5 {recorded}; what was read has {found}"
        )
