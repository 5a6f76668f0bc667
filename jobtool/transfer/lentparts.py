"""The parts of one large file that its job's holder lends, block by block from the end."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Container, Iterator
from dataclasses import dataclass

from jobtool.errors import StoppedError
from jobtool.jobs.records import PartRecord, UploadRecord
from jobtool.names import quote
from jobtool.stop import Stop
from jobtool.stores.optional import Multipart
from jobtool.stores.store import Part, Upload
from jobtool.transfer.filelog import FileLog
from jobtool.transfer.lending import BLOCK_BYTES, Lending
from jobtool.transfer.plan import Item
from jobtool.transfer.resume import part_of

#: ``(number, offset, length)`` of a part.
Range = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class ReturnedParts:
    """A block of parts that is over: which parts it was of, and those of them that were sent."""

    ranges: list[Range]
    sent: dict[int, Part]


class LentParts:
    """The parts of one upload that are lent, block by block from the end of the file."""

    def __init__(self, lending: Lending | None, item: Item, part_size: int, log: FileLog) -> None:
        self._log = log
        self._lending = lending
        self._item = item
        self._part_size = part_size
        self._blocks: list[tuple[int, list[Range]]] = []
        self._token = ""

    def lend(self, todo: deque[Range], held: Container[int], upload: Upload | None) -> None:
        """Lend some of the parts that would be sent last, and remove them from ``todo``.

        None of those that are ``held``, which earlier tries have sent.
        """
        if self._lending is None or upload is None:
            return
        while todo:
            most = max(1, BLOCK_BYTES // self._part_size)
            count = min(self._lending.portion(len(todo)), most)
            if not count:
                return
            parts = _last_in_a_row(todo, count, held)
            if not parts:
                return
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

    def returned(self) -> Iterator[ReturnedParts]:
        """Yield the blocks that are done by now."""
        for number, parts in [*self._blocks]:
            if self._lending is not None and self._lending.is_back(number, take_back=False):
                self._blocks.remove((number, parts))
                yield self._collect(self._lending, number, parts)

    def rest(self, stop: Stop) -> Iterator[ReturnedParts]:
        """Yield each block once it is over, in the order of the file; what nobody does is taken.

        Raises ``StoppedError`` if asked to stop.
        """
        while self._blocks and self._lending is not None:
            number, parts = self._blocks.pop()
            if not self._lending.wait_for(number, stop):
                raise StoppedError(f"stopped in the middle of {quote(self._item.source_url)}")
            yield self._collect(self._lending, number, parts)

    def settle(self, stop: Stop) -> None:
        """Wait for what is still out: nobody else may write to the file after this try."""
        with contextlib.suppress(StoppedError):
            for _ in self.rest(stop):
                pass

    def _collect(self, lending: Lending, number: int, parts: list[Range]) -> ReturnedParts:
        sent = {
            record.number: part_of(record)
            for record in lending.records(number)
            if isinstance(record, PartRecord) and record.token == self._token
        }
        unfinished = self._log.unfinished
        if unfinished is not None and unfinished.token == self._token:
            for part in sent.values():
                self._log.sent(part)
            self._log.flush()
            lending.forget(number)
        return ReturnedParts(parts, sent)


def lends_parts(item: Item) -> bool:
    """Return True if parts of a file may be lent.

    Whoever reads from afar would have to read the lent parts as well, to hash the whole.
    """
    is_cheap = item.route.source.capabilities.cheap_reads
    return is_cheap and isinstance(item.route.destination, Multipart)


def _last_in_a_row(todo: deque[Range], most: int, held: Container[int]) -> list[Range]:
    """Remove and return up to ``most`` parts that follow each other: the last that aren't held."""
    passed_over: list[Range] = []
    while todo and todo[-1][0] in held:
        passed_over.append(todo.pop())
    parts: list[Range] = []
    while todo and len(parts) < most and todo[-1][0] not in held:
        if parts and todo[-1][0] != parts[-1][0] - 1:
            break
        parts.append(todo.pop())
    todo.extend(reversed(passed_over))
    return parts[::-1]
