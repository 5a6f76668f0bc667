"""One file, proven: read once, hashed while read, written unseen, proven, published."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections import deque
from collections.abc import Callable, Container, Iterator
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
from jobtool.jobs.receipts import Journal, PartRecord, UploadRecord
from jobtool.names import quote
from jobtool.stop import Stop
from jobtool.stores.store import Attributes, Part, Proof, Upload, composite_md5
from jobtool.transfer.checksum import DEFAULT_PART_BYTES, md5_of, part_size_for, ranges
from jobtool.transfer.lending import BLOCK_BYTES, Lending
from jobtool.transfer.plan import Item
from jobtool.transfer.resume import Unfinished, part_of, part_record

#: How many parts of a file are read before a thread is free to send them.
_READ_AHEAD_PARTS = 2

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
        self._threads = threads
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
        lending: Lending | None = None,
    ) -> Copied:
        """Copy one file; one try.

        With ``may_replace`` False a file at the destination is never replaced, where the store
        knows how to do that. With ``lending`` others may be given some of its parts.

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
        ahead = self._threads + _READ_AHEAD_PARTS
        parts = _PartsCopy(
            self._budget, self._parts, ahead, item, log, stop, on_bytes, may_replace, lending
        )
        return parts.run(self._part_size(item, log))

    def send_parts(
        self,
        item: Item,
        upload: UploadRecord,
        numbers: Container[int],
        *,
        journal: Journal,
        stop: Stop,
        on_bytes: Callable[[int], None],
    ) -> None:
        """Send some parts of somebody else's upload, each recorded in ``journal``.

        Raises the errors of stores, and ``StoppedError`` between two parts.
        """
        attributes = Attributes(mtime_ns=upload.mtime_ns, md5=upload.md5)
        begun = Upload(path=item.destination_path, token=upload.token, attributes=attributes)
        pending: deque[Future[None]] = deque()

        def send(number: int, offset: int, data: bytes | memoryview) -> None:
            try:
                part = item.lane.destination.put_part(begun, number, offset, data, md5_of(data))
            finally:
                self._budget.give(len(data))
            journal.append(part_record(upload.token, part))
            on_bytes(part.size)

        try:
            for number, offset, length in ranges(item.entry.size, upload.part_size):
                if number not in numbers:
                    continue
                _require_going(stop, item)
                self._budget.take(length)
                try:
                    content = item.lane.source.read(item.entry, offset, length)
                    pending.append(self._parts.submit(send, number, offset, content.data))
                except BaseException:
                    self._budget.give(length)
                    raise
                while pending and pending[0].done():
                    pending.popleft().result()
            while pending:
                pending.popleft().result()
        finally:
            wait(pending)

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
        ahead: int,
        item: Item,
        log: FileLog,
        stop: Stop,
        on_bytes: Callable[[int], None],
        may_replace: bool,
        lending: Lending | None,
    ) -> None:
        self._lending = lending
        self._may_replace = may_replace
        self._budget = budget
        self._pool = pool
        self._ahead = ahead
        self._item = item
        self._log = log
        self._stop = stop
        self._on_bytes = on_bytes
        self._source, self._destination = item.lane.source, item.lane.destination
        self._upload: Upload | None = None
        self._parts: list[Part] = []
        self._pending: deque[tuple[Future[Part], int]] = deque()

    def run(self, part_size: int) -> Copied:
        # Who reads from afar would have to read the lent parts as well, to hash the whole.
        if self._lending is None or not self._source.capabilities.cheap_reads:
            return self._run(part_size, None)
        with self._lending.may_lend():
            return self._run(part_size, self._lending)

    def _run(self, part_size: int, lending: Lending | None) -> Copied:
        known = None
        if (
            self._destination.capabilities.attributes_first
            and self._source.capabilities.cheap_reads
        ):
            known = _hash(self._item, part_size, self._budget, self._stop)
        held = self._take_up(known)
        try:
            lent = _LentParts(lending, self._item, part_size, self._log)
            try:
                md5, attributes = self._send_parts(part_size, known, held, lent)
            finally:
                lent.settle(self._stop)
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
        self, part_size: int, known: _Digests | None, held: dict[int, Part], lent: _LentParts
    ) -> tuple[str, Attributes]:
        item = self._item
        self._whole = hashlib.md5(usedforsecurity=False)
        self._attributes = Attributes(mtime_ns=item.entry.mtime_ns)
        # In the order of the file, since the whole is hashed on the way; lent from the end.
        todo = deque(ranges(item.entry.size, part_size))
        while todo:
            self._send_part(*todo.popleft(), part_size, known, held)
            lent.lend(todo, self._upload)
        for sent, block in lent.returned(self._stop):
            for one in block:
                self._send_part(*one, part_size, known, held | sent)
        while self._pending:
            future, _ = self._pending[0]
            self._parts.append(future.result())
            self._pending.popleft()
        whole = self._whole.hexdigest() if known is None else known.whole
        return whole, self._attributes

    def _send_part(
        self,
        number: int,
        offset: int,
        length: int,
        part_size: int,
        known: _Digests | None,
        held: dict[int, Part],
    ) -> None:
        """Send one part, unless it is held; begin the upload with the first that isn't."""
        _require_going(self._stop, self._item)
        part = held.get(number)
        if known is not None and part is not None and part.md5 == known.parts[number - 1]:
            self._keep(part)
            return
        self._budget.take(length)
        try:
            content = self._source.read(self._item.entry, offset, length)
            if not offset or known is not None:
                self._attributes = content.attributes
            if self._upload is None:
                self._begin(content.attributes, known, part_size)
            md5 = None
            if known is not None:
                md5 = known.parts[number - 1]
            else:
                self._whole.update(content.data)
            if part is not None and part.md5 == md5_of(content.data):
                self._budget.give(length)
                self._keep(part)
                return
            future = self._pool.submit(self._send, number, offset, content.data, md5)
        except BaseException:
            self._budget.give(length)
            raise
        self._pending.append((future, length))
        # No further ahead than keeps the threads busy: the rest may be lent.
        while self._pending and (self._pending[0][0].done() or len(self._pending) > self._ahead):
            self._parts.append(self._pending.popleft()[0].result())

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


class _LentParts:
    """The parts of one upload that are lent, block by block from the end of the file."""

    def __init__(self, lending: Lending | None, item: Item, part_size: int, log: FileLog) -> None:
        self._log = log
        self._lending = lending
        self._item = item
        self._part_size = part_size
        self._blocks: list[tuple[int, list[tuple[int, int, int]]]] = []
        self._token = ""

    def lend(self, todo: deque[tuple[int, int, int]], upload: Upload | None) -> None:
        """Lend some of the parts that would be sent last, and remove them from ``todo``."""
        if self._lending is None or upload is None:
            return
        while len(todo) > 1:
            most = max(1, BLOCK_BYTES // self._part_size)
            count = min(self._lending.portion(len(todo)), most)
            if not count:
                return
            parts = [todo.pop() for _ in range(count)][::-1]
            self._token = upload.token
            record = UploadRecord(
                src_path=self._item.source_url,
                dst_path=self._item.destination_url,
                size=self._item.entry.size,
                mtime_ns=self._item.entry.mtime_ns,
                part_size=self._part_size,
                token=upload.token,
                md5=upload.attributes.md5,
            )
            block = self._lending.lend_parts(record, parts[0][0], parts[-1][0])
            self._blocks.append((block, parts))

    def returned(self, stop: Stop) -> Iterator[tuple[dict[int, Part], list[tuple[int, int, int]]]]:
        """Yield each block once it is over, in the order of the file: the parts sent, and all.

        Ends early if asked to stop.
        """
        assert self._lending is not None or not self._blocks
        while self._blocks and self._lending is not None:
            block, parts = self._blocks.pop()
            if not self._lending.wait_for(block, stop):
                raise StoppedError(f"stopped in the middle of {quote(self._item.source_url)}")
            sent = {
                record.number: part_of(record)
                for record in self._lending.records(block)
                if isinstance(record, PartRecord) and record.token == self._token
            }
            unfinished = self._log.unfinished
            if unfinished is not None and unfinished.token == self._token:
                for part in sent.values():
                    self._log.sent(part)
            yield sent, parts

    def settle(self, stop: Stop) -> None:
        """Wait for what is still out: nobody else may write to the file after this try."""
        with contextlib.suppress(StoppedError):
            for _ in self.returned(stop):
                pass


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
