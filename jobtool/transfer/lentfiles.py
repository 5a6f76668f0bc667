"""The whole files of a job that its holder lends, block by block from the end of its queue."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from jobtool.jobs.blocks import BlockFile
from jobtool.jobs.records import Record
from jobtool.stores.optional import Temporaries
from jobtool.transfer.existing import Existing
from jobtool.transfer.filequeue import FileQueue
from jobtool.transfer.lending import BLOCK_BYTES, BLOCK_FILES, Lending
from jobtool.transfer.plan import Plan
from jobtool.transfer.resume import Resumption

#: With less left than this nothing is lent: it is done sooner than it is asked for.
WORTH_BYTES = 32 * 1024 * 1024
WORTH_FILES = 64


@dataclass(frozen=True, slots=True)
class ReturnedBlock:
    """A block that is over: the files in it, by number, and what was recorded of them."""

    lending: Lending
    block: int
    numbers: list[int]

    def records(self) -> Iterator[Record]:
        """Yield what was recorded of it."""
        return self.lending.records(self.block)

    def forget(self) -> None:
        """Remove it, once the job's own journal has its records."""
        self.lending.forget(self.block)


class LentFiles:
    """Which files of a plan are out. One thread uses it."""

    def __init__(
        self, lending: Lending, plan: Plan, existing: Existing, resumption: Resumption
    ) -> None:
        self._lending = lending
        self._plan = plan
        self._existing = existing
        self._resumption = resumption
        self._blocks: dict[int, list[int]] = {}

    @property
    def are_out(self) -> bool:
        """Whether any files are lent at this moment."""
        return bool(self._blocks)

    def lend(self, queue: FileQueue) -> None:
        """Lend the files that would be done last, if anybody wants them."""
        if not self._lending.has_helpers:
            return
        while numbers := self._portion_of(queue):
            block = self._lending.lend_files([self._block_file(number) for number in numbers])
            self._blocks[block] = numbers
        self._lending.answer(may_lend=self._is_worth_lending(queue))

    def returned(self, *, take_back: bool) -> Iterator[ReturnedBlock]:
        """Yield the blocks that are over; with ``take_back`` those, too, that nobody works on."""
        for block in [*self._blocks]:
            if self._lending.is_back(block, take_back=take_back):
                yield ReturnedBlock(self._lending, block, self._blocks.pop(block))

    def _portion_of(self, queue: FileQueue) -> list[int]:
        if not self._is_worth_lending(queue):
            return []
        most = min(self._lending.portion(len(queue)), BLOCK_FILES)
        numbers: list[int] = []
        kept: list[int] = []  # begun by us: they stay with us
        size = 0
        while len(numbers) < most and size < BLOCK_BYTES and len(kept) < WORTH_FILES:
            number = queue.take_last()
            if number is None:
                break
            if self._is_begun(number):
                kept.append(number)
                continue
            numbers.append(number)
            size += self._plan.size_of(number)
        queue.put_back(kept)
        return numbers

    def _is_begun(self, number: int) -> bool:
        if number in self._resumption.unfinished:
            return True
        route = self._plan.item(number).route
        is_intended = number in self._resumption.intended
        return is_intended and not isinstance(route.destination, Temporaries)

    def _is_worth_lending(self, queue: FileQueue) -> bool:
        numbers = queue.some_last(WORTH_FILES)
        size = sum(self._plan.size_of(number) for number in numbers)
        return len(numbers) >= WORTH_FILES or size >= WORTH_BYTES

    def _block_file(self, number: int) -> BlockFile:
        item = self._plan.item(number)
        return BlockFile(
            src_path=item.source_url,
            dst_path=item.destination_url,
            size=item.entry.size,
            mtime_ns=item.entry.mtime_ns,
            existing_size=self._existing.size_of(number),
            ours=bool(self._resumption.ours[number]),
        )
