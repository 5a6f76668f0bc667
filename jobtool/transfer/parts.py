"""A file in parts: what earlier tries have sent is taken up, and some of the rest may be lent."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace
from functools import partial

from jobtool.errors import (
    CredentialsError,
    DigestMismatchError,
    FileError,
    NotFoundError,
    RefusedError,
    SourceChangedError,
    SourceDigestError,
)
from jobtool.jobs.journal import Journal
from jobtool.jobs.records import UploadRecord
from jobtool.names import quote
from jobtool.stop import Stop
from jobtool.stores.optional import Multipart
from jobtool.stores.store import Attributes, Part, Proof, Upload
from jobtool.transfer.capacity import Capacity
from jobtool.transfer.checksum import md5_of, ranges
from jobtool.transfer.digests import (
    add_part,
    fresh_digests,
    read_attributes,
    read_digests,
    require_going,
    require_held,
    require_recorded,
)
from jobtool.transfer.filelog import FileLog
from jobtool.transfer.lending import Lending
from jobtool.transfer.lentparts import LentParts, Range, ReturnedParts
from jobtool.transfer.plan import Item
from jobtool.transfer.resume import part_record

#: How many parts of a file are read before a thread is free to send them. They can't be lent any
#: more: with many, helpers would be idle at the end.
_READ_AHEAD_PARTS = 1


class _UnderWay:
    """The parts that are being sent, or wait for a thread to send them."""

    def __init__(self, capacity: Capacity) -> None:
        self._capacity = capacity
        self._lengths: dict[Future[Part], int] = {}

    def add(self, length: int, prepare: Callable[[], Callable[[], Part] | None]) -> None:
        """Read a part of ``length`` bytes by ``prepare``, and have what that returns send it.

        Waits for memory first. If it returns None, nothing is sent.
        """
        self._capacity.budget.take(length)
        is_sent = False
        try:
            send = prepare()
            if send is not None:
                future = self._capacity.senders.submit(self._send, send, length)
                self._lengths[future] = length
                is_sent = True
        finally:
            if not is_sent:
                self._capacity.budget.give(length)

    def _send(self, send: Callable[[], Part], length: int) -> Part:
        try:
            return send()
        finally:
            self._capacity.budget.give(length)

    def collect(self, most: int = 0) -> Iterator[Part]:
        """Yield what has arrived, until no more than ``most`` are under way.

        Raises what a part has met.
        """
        while True:
            for future in [future for future in self._lengths if future.done()]:
                del self._lengths[future]
                yield future.result()
            if len(self._lengths) <= most:
                return
            wait(self._lengths, return_when=FIRST_COMPLETED)

    def abandon(self) -> None:
        """Begin no other; wait for those that are being sent."""
        for future, length in self._lengths.items():
            if future.cancel():
                self._capacity.budget.give(length)
        wait(self._lengths)


class PartsCopy:
    """One try at one file in parts."""

    def __init__(
        self,
        item: Item,
        log: FileLog,
        capacity: Capacity,
        *,
        stop: Stop,
        on_bytes: Callable[[int], None],
        on_kept: Callable[[int], None],
        may_replace: bool,
        lending: Lending | None,
    ) -> None:
        self._item = item
        self._log = log
        self._capacity = capacity
        self._stop = stop
        self._on_bytes = on_bytes
        self._on_kept = on_kept
        self._may_replace = may_replace
        self._lending = lending
        destination = item.route.destination
        assert isinstance(destination, Multipart), "others take files whole"
        self._source, self._destination = item.route.source, destination
        self._upload: Upload | None = None
        self._parts: list[Part] = []
        self._lent: set[int] = set()  # the numbers of what others have sent in this try
        self._under_way = _UnderWay(capacity)

    def run(self, part_size: int) -> tuple[str, Proof]:
        """Copy; return the MD5 of what was read, and the proof that it arrived."""
        self._read_digests(part_size)
        held = self._take_up()
        try:
            lent = LentParts(self._lending, self._item, part_size, self._log)
            try:
                self._send_parts(part_size, held, lent)
            finally:
                lent.settle(self._stop)
        finally:
            self._under_way.abandon()
            if self._keeps_digests:
                self._log.hashed(self._known)
        md5 = self._known.whole
        attributes = self._attributes or read_attributes(self._item)
        assert md5 is not None, "the file was read to its end"
        assert self._upload is not None, "a file in parts has at least one"
        parts = sorted(self._parts, key=lambda part: part.number)
        try:
            require_recorded(self._item, recorded=attributes.md5, found=md5)
            attributes = replace(attributes, md5=md5, may_replace=self._may_replace)
            require_held(self._stop, self._item)
            proof = self._destination.complete(self._upload, parts, attributes)
        except SourceDigestError:
            self._log.forget_digests()
            raise
        except (DigestMismatchError, NotFoundError) as error:
            self._log.dropped()
            if isinstance(error, DigestMismatchError):
                self._log.forget_digests()  # to be read again, like all of the file
            raise
        self._log.forget_digests()
        return md5, proof

    def _read_digests(self, part_size: int) -> None:
        """Read the file first if its digest is part of what is sent first, else on the way.

        On the way what earlier tries have read isn't read again if reading is dear. If it is cheap
        it is, so that a file that reads differently now isn't believed.
        """
        reads = self._source.capabilities
        self._is_read_first = self._destination.capabilities.attributes_first and reads.cheap_reads
        self._keeps_digests = self._is_read_first or not reads.cheap_reads
        self._attributes: Attributes | None = None
        if self._is_read_first:
            digests = read_digests(self._item, part_size, self._capacity, self._stop, self._log)
            self._known, self._attributes = digests.parts, digests.attributes
        elif self._keeps_digests:
            self._known = self._log.digests(part_size)
        else:
            self._known = fresh_digests(self._item, part_size)

    def _take_up(self) -> dict[int, Part]:
        """Return the parts that need not be sent, and make their upload this one."""
        unfinished = self._log.unfinished
        if unfinished is None:
            return {}
        upload = unfinished.upload(self._item)
        if self._is_read_first and unfinished.md5 != self._known.whole:
            self._destination.abort(upload)  # its attributes name a digest that isn't the file's
            self._log.dropped()
            return {}
        try:
            held = self._destination.held_parts(upload, [*unfinished.parts.values()])
        except (
            NotFoundError,
            RefusedError,
            CredentialsError,
        ):  # gone, or not ours to look at: begin afresh
            self._log.dropped()
            return {}
        self._upload = upload
        return {part.number: part for part in held}

    def _send_parts(self, part_size: int, held: dict[int, Part], lent: LentParts) -> None:
        # In the order of the file, since the whole is hashed on the way; lent from the end.
        todo: deque[Range] = deque()
        for part_range in ranges(self._item.entry.size, part_size):
            if not self._is_kept(part_range, held):
                todo.append(part_range)
        while todo:
            self._send_part(todo.popleft(), part_size, held)
            if self._is_read_first:  # else what was lent has its turn in that order
                for block in lent.returned():
                    self._absorb(block, part_size, held)
            lent.lend(todo, held, self._upload)
        for block in lent.rest(self._stop):
            self._absorb(block, part_size, held)
        self._parts.extend(self._under_way.collect())

    def _absorb(self, block: ReturnedParts, part_size: int, held: dict[int, Part]) -> None:
        """Keep what was sent of a block that was lent, and send the rest of it."""
        self._lent.update(block.sent)
        held.update(block.sent)
        for part_range in block.ranges:
            self._send_part(part_range, part_size, held)

    def _is_kept(self, part_range: Range, held: dict[int, Part]) -> bool:
        """Tell whether a part need not even be read; it is kept then."""
        number, _, _ = part_range
        part = held.get(number)
        if part is None or part.md5 != self._known.md5_of(number):
            return False
        self._keep(part)
        return True

    def _send_part(self, part_range: Range, part_size: int, held: dict[int, Part]) -> None:
        """Send one part, unless it is held; begin the upload with the first that isn't."""
        require_going(self._stop, self._item)
        number, _, length = part_range
        if self._is_kept(part_range, held):
            return
        part = held.get(number)
        self._under_way.add(length, lambda: self._read_part(part_range, part_size, part))
        if self._keeps_digests and self._known.is_worth_noting:
            self._log.hashed(self._known)
        # No further ahead than keeps the threads busy: the rest may be lent.
        most = self._capacity.threads + _READ_AHEAD_PARTS
        self._parts.extend(self._under_way.collect(most))

    def _read_part(
        self, part_range: Range, part_size: int, held: Part | None
    ) -> Callable[[], Part] | None:
        """Read a part; return what sends it, None if what is ``held`` is the same."""
        number, offset, length = part_range
        content = self._source.read(self._item.entry, offset, length)
        self._attributes = content.attributes
        if self._upload is None:
            self._begin(content.attributes, part_size)
        md5 = add_part(self._known, number, content.data, self._capacity)
        if held is not None and held.md5 == md5:
            self._keep(held)
            return None
        return partial(self._send, number, offset, content.data, md5)

    def _begin(self, attributes: Attributes, part_size: int) -> None:
        if self._is_read_first:
            attributes = replace(attributes, md5=self._known.whole)
        require_held(self._stop, self._item)
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
            # Whoever may only write, or at a server that can't tell, leaves it.

    def _keep(self, part: Part) -> None:
        self._parts.append(part)
        count = self._on_bytes if part.number in self._lent else self._on_kept
        count(part.size)

    def _send(self, number: int, offset: int, data: bytes | memoryview, md5: str) -> Part:
        assert self._upload is not None
        require_held(self._stop, self._item)
        try:
            part = self._destination.put_part(self._upload, number, offset, data, md5)
        except FileError as error:
            found = md5_of(data)
            if found == md5:
                raise
            self._log.forget_digests()
            raise SourceChangedError(
                f"{quote(self._item.source_url)} was changed while it was copied, without a new "
                f"time: {len(data)} bytes from {offset} on had MD5 {md5}, now {found}"
            ) from error
        self._log.sent(part)
        self._on_bytes(part.size)
        return part


def send_lent(
    item: Item,
    upload: UploadRecord,
    numbers: Container[int],
    capacity: Capacity,
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
    destination = item.route.destination
    assert isinstance(destination, Multipart), "parts are lent only where there are any"

    def send(number: int, offset: int, data: bytes | memoryview) -> Part:
        require_held(stop, item)
        part = destination.put_part(begun, number, offset, data, md5_of(data))
        journal.append(part_record(upload.token, part))
        on_bytes(part.size)
        return part

    def prepare(number: int, offset: int, length: int) -> Callable[[], Part]:
        data = item.route.source.read(item.entry, offset, length).data
        return partial(send, number, offset, data)

    under_way = _UnderWay(capacity)
    try:
        for number, offset, length in ranges(item.entry.size, upload.part_size):
            if number not in numbers:
                continue
            require_going(stop, item)
            under_way.add(length, partial(prepare, number, offset, length))
            for _ in under_way.collect(capacity.threads + _READ_AHEAD_PARTS):
                pass
        for _ in under_way.collect():
            pass
    finally:
        under_way.abandon()
