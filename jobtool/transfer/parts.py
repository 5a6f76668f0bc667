"""A file in parts. Parts that earlier tries and other workers have sent aren't sent again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial

from msgspec.structs import replace

from jobtool.errors import (
    DamagedSourceError,
    DigestMismatchError,
    FileError,
    NotFoundError,
    SourceChangedError,
    SourceDigestError,
)
from jobtool.md5 import md5_of
from jobtool.names import quote
from jobtool.stop import Stop
from jobtool.stores.optional import Multipart, supports
from jobtool.stores.store import Attributes, Part, Upload
from jobtool.transfer.capacity import Capacity
from jobtool.transfer.digests import (
    Paced,
    begin_part,
    end_part,
    fresh_digests,
    is_hashed_first,
    read_attributes,
    read_digests,
    read_part,
    require_going,
    require_held,
    require_recorded,
)
from jobtool.transfer.ledger.uploadlog import UploadLog
from jobtool.transfer.partqueue import PartQueue, PartQueues
from jobtool.transfer.partranges import PartRange, ranges
from jobtool.transfer.partsenders import READ_AHEAD_PARTS, PartsUnderWay, Prepare
from jobtool.transfer.partuploads import begin, take_up
from jobtool.transfer.plan import Item
from jobtool.transfer.whole import Sent


class PartsCopy:
    """One try to copy one file in parts."""

    def __init__(
        self,
        item: Item,
        log: UploadLog,
        capacity: Capacity,
        *,
        stop: Stop,
        on_bytes: Callable[[int], None],
        on_kept: Callable[[int], None],
        may_replace: bool,
        queues: PartQueues,
    ) -> None:
        self._item = item
        self._log = log
        self._capacity = capacity
        self._stop = stop
        self._on_bytes = on_bytes
        self._on_kept = on_kept
        self._may_replace = may_replace
        self._queues = queues
        destination = item.route.destination
        assert supports(destination, Multipart), "others take files whole"
        self._source, self._destination = item.route.source, destination
        self._upload: Upload | None = None
        self._parts: list[Part] = []
        self._under_way = PartsUnderWay(capacity)
        self._paced = Paced(capacity.throttle, item, stop)

    def run(self, part_size: int) -> Sent:
        """Copy the file."""
        self._read_digests(part_size)
        self._queue = PartQueue(
            self._item, self._take_up(), is_in_order=not self._is_read_first, stop=self._stop
        )
        self._queue.add(
            one for one in ranges(self._item.entry.size, part_size) if not self._is_kept(one)
        )
        self._tell_upload()
        is_as_hashed = True
        try:
            with self._queues.opened(self._queue):
                self._send_parts(part_size)
        except SourceChangedError:
            is_as_hashed = False
            self._log.forget_digests()
            raise
        finally:
            self._under_way.abandon()
            if self._keeps_digests and is_as_hashed:
                self._log.hashed(self._known)
        md5 = self._known.whole
        assert md5 is not None, "the file was read to its end"
        assert self._upload is not None, "a file in parts has at least one"
        sent = sorted(self._parts, key=lambda part: part.number)
        try:
            attributes = self._attributes or read_attributes(self._item, self._known)
            require_recorded(self._item, recorded=attributes.md5, found=md5)
            self._require_begun_with(md5)
            attributes = replace(attributes, md5=md5, may_replace=self._may_replace)
            self._paced.owe_request()
            require_held(self._stop, self._item)
            proof = self._destination.complete(self._upload, sent, attributes)
        except (SourceChangedError, SourceDigestError) as error:
            self._log.forget_digests()
            if isinstance(error, DamagedSourceError):
                self._drop_upload()
            raise
        except (DigestMismatchError, NotFoundError) as error:
            self._log.dropped()
            if isinstance(error, DigestMismatchError):
                self._log.forget_digests()  # to be read again, like all of the file
            raise
        self._log.forget_digests()
        return Sent(md5=md5, proof=proof, version=self._known.version)

    def _read_digests(self, part_size: int) -> None:
        """Read the whole file first if its digest must be sent first; else hash it while sending.

        The digests of earlier tries are used, and what is held isn't read again. If reading is
        cheap on both sides, everything is read again, which detects a file that reads differently
        now.
        """
        source, destination = self._source.capabilities, self._destination.capabilities
        self._is_read_first = is_hashed_first(self._item)
        self._keeps_digests = not (source.cheap_reads and destination.cheap_reads)
        self._attributes: Attributes | None = None
        if self._is_read_first:
            digests = read_digests(self._item, part_size, self._capacity, self._stop, self._log)
            self._known, self._attributes = digests.parts, digests.attributes
        elif self._keeps_digests:
            self._known = self._log.digests(part_size)
        else:
            self._known = fresh_digests(self._item, part_size)

    def _take_up(self) -> dict[int, Part]:
        """Return the parts that need not be sent, and resume their upload."""
        under_way = self._log.under_way
        if under_way is None:
            return {}
        if self._is_read_first and under_way.record.md5 != self._known.whole:
            under_way.abort(self._item)  # its attributes name a digest that isn't the file's
            self._log.dropped()
            return {}
        taken = take_up(self._destination, self._item, self._log)
        if taken is None:
            return {}
        self._upload, held = taken
        return {part.number: part for part in held}

    def _tell_upload(self) -> None:
        """Allow other workers to send parts of the upload, if it was begun."""
        under_way = self._log.under_way
        self._queue.upload = None if under_way is None else under_way.record

    def _send_parts(self, part_size: int) -> None:
        while (part_range := self._queue.pop_first()) is not None:
            self._send_part(part_range, part_size)
        self._under_way.settle()
        self._parts.extend(self._under_way.collect())

    def _is_kept(self, part_range: PartRange) -> bool:
        """Return True if a part needn't be read, and keep it then."""
        part = self._queue.held.get(part_range.number)
        if part is None or part.md5 != self._known.md5_of(part_range.number):
            return False
        self._keep(part)
        return True

    def _send_part(self, part_range: PartRange, part_size: int) -> None:
        """Send one part, unless it is held. Begin the upload with the first part to send."""
        require_going(self._stop, self._item)
        if self._is_kept(part_range):
            return
        part = self._queue.held.get(part_range.number)
        self._under_way.add_read(
            part_range.length, lambda: self._read_part(part_range, part_size, part)
        )
        if self._capacity.throttle.is_on:  # sending is as even as reading
            self._under_way.settle()
        if self._keeps_digests and self._known.is_worth_noting:
            self._log.hashed(self._known)
        # Only as far ahead as keeps the threads busy: other workers may take the rest.
        most = self._capacity.threads + READ_AHEAD_PARTS
        self._parts.extend(self._under_way.collect(most))

    def _read_part(self, part_range: PartRange, part_size: int, held: Part | None) -> Prepare:
        """Read a part and begin to hash it. Return what prepares it."""
        number, offset, length = part_range
        content = read_part(self._item, self._known, offset, length, self._paced)
        self._attributes = content.attributes
        if self._upload is None:
            self._begin(content.attributes, part_size)
        hashing = begin_part(self._known, number, content.data, self._capacity)
        return partial(self._prepare, part_range, content.data, hashing, held)

    def _prepare(
        self,
        part_range: PartRange,
        data: bytes | memoryview,
        hashing: Callable[[], str],
        held: Part | None,
    ) -> Callable[[], Part] | None:
        """Hash a part. Return a function that sends it, or None if ``held`` is the same."""
        md5 = end_part(self._known, part_range.number, data, hashing)
        if held is not None and held.md5 == md5:
            self._keep(held)
            return None
        return partial(self._send, part_range.number, part_range.offset, data, md5)

    def _begin(self, attributes: Attributes, part_size: int) -> None:
        if self._is_read_first:
            attributes = replace(attributes, md5=self._known.whole)
        self._paced.request()
        self._upload = begin(
            self._destination, self._item, self._log, attributes, part_size, self._stop
        )
        self._tell_upload()

    def _require_begun_with(self, md5: str) -> None:
        """Drop the upload and raise if it was begun with the MD5 of other data in its metadata."""
        under_way = self._log.under_way
        if under_way is None or under_way.record.md5 in (None, md5):
            return
        begun_with = under_way.record.md5
        under_way.abort(self._item)
        self._log.dropped()
        self._log.forget_digests()
        raise SourceChangedError(
            f"{quote(self._item.source_url)} was changed while it was copied, without a new time: "
            f"expected MD5 {begun_with} as when its upload began; found {md5}"
        )

    def _drop_upload(self) -> None:
        """Abort the upload of bytes that must not arrive. If that fails, a later worker does it."""
        require_held(self._stop, self._item)
        with contextlib.suppress(FileError):
            if self._log.under_way is not None:
                self._log.under_way.abort(self._item)
                self._log.dropped()

    def _keep(self, part: Part) -> None:
        self._parts.append(part)
        is_sent_now = part.number in self._queue.sent_by_others
        count = self._on_bytes if is_sent_now else self._on_kept
        count(part.size)

    def _send(self, number: int, offset: int, data: bytes | memoryview, md5: str) -> Part:
        assert self._upload is not None
        self._paced.request()
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
                f"time: expected MD5 {md5} of {len(data)} bytes from {offset} on; found {found}"
            ) from error
        self._log.sent(part)
        self._on_bytes(part.size)
        return part
