"""The holder's side of work sharing: a consumer that shares a job's queues in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec
from msgspec.structs import replace

from jobtool.jobs.records import PartRecord, Record
from jobtool.sharing.batches import Batch, Batches, BatchFile
from jobtool.sharing.portions import (
    BATCH_BYTES,
    BATCH_FILES,
    BATCHES_PER_HELPER,
    WORTH_BYTES,
    WORTH_FILES,
    portion_of,
)
from jobtool.stop import Stop
from jobtool.stores.optional import Temporaries, supports
from jobtool.stores.preserve import words_for
from jobtool.transfer.filequeue import FileQueue
from jobtool.transfer.ledger import Ledger
from jobtool.transfer.ledger.uploads import part_of
from jobtool.transfer.partqueue import PartQueue, PartQueues
from jobtool.transfer.partranges import PartRange
from jobtool.transfer.policies import Policies

_POLL_SECONDS = 0.2


class ReturnedFiles(msgspec.Struct, frozen=True, kw_only=True):
    """A batch of files that is over: the numbers of its files, and their records."""

    numbers: list[int]
    batch: int
    batches: Batches

    def records(self) -> Iterator[Record]:
        """Yield the records of the batch."""
        return self.batches.records(self.batch)

    def forget(self) -> None:
        """Remove the batch. Call it once the job's own journal has the records."""
        self.batches.forget(self.batch)


class _SharedParts(msgspec.Struct, frozen=True, kw_only=True):
    """A shared batch of parts."""

    batch: int
    queue: PartQueue
    token: str
    ranges: list[PartRange]


class WorkSharing:
    """Gives batches of one attempt's work to helpers: a ``jobtool.transfer.consumer.Consumer``.

    ``threads`` is how many pieces of work a helper does at the same time. ``on_return`` is passed
    the name of the helper that did a batch, once the batch is over.
    """

    def __init__(
        self,
        batches: Batches,
        ledger: Ledger,
        *,
        policies: Policies,
        threads: int,
        on_return: Callable[[str], None],
    ) -> None:
        self._batches = batches
        self._ledger = ledger
        self._threads = threads
        self._on_return = on_return
        self._terms = Batch(
            attempt=ledger.attempt,
            if_exists=policies.if_exists,
            verify=policies.verify,
            preserve=words_for(policies.preserve),
            compression=policies.compression,
        )
        self._files: dict[int, list[int]] = {}
        self._parts: list[_SharedParts] = []

    @property
    def has_files(self) -> bool:
        """Whether any files are shared at this moment."""
        return bool(self._files)

    def consume(self, files: FileQueue, parts: PartQueues, *, may_take: bool) -> None:
        """Share what would be done last, if a helper wants it; put back the parts that are over.

        Nothing is shared without ``may_take``, or without offers of help. Raises
        ``JoblistUnavailableError``, and the errors of the job's journal.
        """
        queues = parts.open_queues()
        self._put_back_parts(queues)
        if not may_take or not self._batches.helpers:
            return
        while numbers := self._take_files(files):
            self._files[self._publish_files(numbers)] = numbers
        for queue in queues:
            while self._share_parts(queue):
                pass
        if self._is_worth_sharing(files) or parts.are_expected or self._files or self._parts:
            self._batches.ask_to_stay()
        else:
            self._batches.close()

    def _portion(self, left: int) -> int:
        """Return how many of ``left`` equal pieces of work to share now; may be 0."""
        helpers = self._batches.helpers
        out = [*self._files, *(one.batch for one in self._parts)]
        if sum(not self._batches.is_done(batch) for batch in out) >= BATCHES_PER_HELPER * helpers:
            return 0
        return portion_of(left, helpers=helpers, threads=self._threads)

    def _is_back(self, batch: int, *, reclaim: bool) -> bool:
        """Return True if a batch is done. With ``reclaim`` also end one without a helper."""
        is_done = self._batches.is_done(batch)
        if not is_done and not (reclaim and self._batches.reclaim(batch)):
            return False
        worker = self._batches.worker_of(batch)
        if worker:
            self._on_return(worker)
        return True

    # Files.

    def _take_files(self, files: FileQueue) -> list[int]:
        if not self._is_worth_sharing(files):
            return []
        most = min(self._portion(len(files)), BATCH_FILES)
        numbers: list[int] = []
        kept: list[int] = []  # begun by this worker, so not shared
        size = 0
        while len(numbers) < most and size < BATCH_BYTES and len(kept) < WORTH_FILES:
            number = files.pop_last()
            if number is None:
                break
            if self._is_begun(number):
                kept.append(number)
                continue
            numbers.append(number)
            size += self._ledger.plan.size_of(number)
        files.put_back(kept)
        return numbers

    def _is_begun(self, number: int) -> bool:
        if self._ledger.upload_of(number) is not None:
            return True
        destination = self._ledger.plan.item(number).route.destination
        is_intended = self._ledger.intended_ns(number) is not None
        return is_intended and not supports(destination, Temporaries)

    def _is_worth_sharing(self, files: FileQueue) -> bool:
        numbers = files.some_last(WORTH_FILES)
        size = sum(self._ledger.plan.size_of(number) for number in numbers)
        return len(numbers) >= WORTH_FILES or size >= WORTH_BYTES

    def _publish_files(self, numbers: list[int]) -> int:
        files = tuple(self._batch_file(number) for number in numbers)
        return self._batches.publish(replace(self._terms, files=files))

    def _batch_file(self, number: int) -> BatchFile:
        item, forms = self._ledger.plan.item(number), self._ledger.forms
        form = forms.wanted(number)
        return BatchFile(
            src_path=item.source_url,
            dst_path=item.destination_url,
            size=item.entry.size,
            mtime_ns=item.entry.mtime_ns,
            existing_size=self._ledger.size_at_destination(number),
            ours=self._ledger.known(number).is_ours,
            existing_other_size=-1 if form is None else forms.size_of(number, form),
            as_it_is=number in forms.as_they_are,
        )

    def returned(self, *, reclaim: bool) -> Iterator[ReturnedFiles]:
        """Yield the batches of files that are over.

        With ``reclaim`` end batches that no helper works on, and yield them too.
        """
        for batch in [*self._files]:
            if self._is_back(batch, reclaim=reclaim):
                yield ReturnedFiles(
                    numbers=self._files.pop(batch), batch=batch, batches=self._batches
                )

    # Parts.

    def _share_parts(self, queue: PartQueue) -> bool:
        """Share some of a file's parts that would be sent last; return False if there are none."""
        upload = queue.upload
        if upload is None:
            return False
        most = min(self._portion(len(queue)), max(1, BATCH_BYTES // upload.part_size))
        ranges = queue.pop_last(most) if most else []
        if not ranges:
            return False
        batch = self._batches.publish(
            replace(
                self._terms,
                upload=upload,
                first_part=ranges[0].number,
                last_part=ranges[-1].number,
            )
        )
        self._parts.append(
            _SharedParts(batch=batch, queue=queue, token=upload.token, ranges=ranges)
        )
        return True

    def _put_back_parts(self, queues: list[PartQueue]) -> None:
        for shared in [*self._parts]:
            if shared.queue not in queues:  # left after a stop: the next attempt settles it
                self._parts.remove(shared)
                continue
            reclaim = shared.queue.is_wanted(shared.ranges)
            if self._is_back(shared.batch, reclaim=reclaim):
                self._parts.remove(shared)
                self._collect(shared)

    def _collect(self, shared: _SharedParts) -> None:
        records = [
            record
            for record in self._batches.records(shared.batch)
            if isinstance(record, PartRecord) and record.token == shared.token
        ]
        self._ledger.absorb(records)
        self._batches.forget(shared.batch)
        shared.queue.put_back(shared.ranges, map(part_of, records))


def settle(batches: Batches, stop: Stop) -> None:
    """Wait until no helper works on batches of an earlier attempt, and end the other batches.

    Returns early if ``stop`` is set. Raises ``JoblistUnavailableError``.
    """
    left = batches.open_numbers()
    while left and not stop.is_set():
        left = [
            number for number in left if not (batches.is_done(number) or batches.reclaim(number))
        ]
        if left:
            stop.wait(_POLL_SECONDS)
    if batches.exist:
        batches.reopen()
