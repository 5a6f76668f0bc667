"""A job's transfer: all files of its plan, by threads, each with a receipt."""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from jobtool.errors import (
    ClaimLostError,
    FileError,
    JobtoolError,
    SourceChangedError,
    StoppedError,
    WorldError,
)
from jobtool.jobs.blocks import BlockFile
from jobtool.jobs.receipts import IntentRecord, Journal, Receipt, UploadRecord
from jobtool.names import quote
from jobtool.stop import Stop
from jobtool.stores.local import LinkPolicy
from jobtool.stores.store import Part, Special, Upload
from jobtool.transfer.copy import Copied, Copier
from jobtool.transfer.lending import (
    BLOCK_BYTES,
    BLOCK_FILES,
    WORTH_BYTES,
    WORTH_FILES,
    Lending,
)
from jobtool.transfer.plan import Item, Plan
from jobtool.transfer.resume import Existing, Resumption, Unfinished, fold, part_record
from jobtool.transfer.retry import Retry

IfExists = Literal["verify", "overwrite", "error"]
Verify = Literal["digest", "read-back"]

#: A job with more files in error than this isn't worth going on with.
MAX_FAILURES = 100

_TICK_SECONDS = 0.1

#: How long a receipt may be in memory only; what a kill may cost.
_FLUSH_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a transfer is. Bytes and files that had receipts before count as done."""

    files_done: int
    files_total: int
    bytes_done: int
    bytes_total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A file that could not be transferred."""

    path: str
    error: JobtoolError


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """What to do where it is a matter of taste.

    ``if_exists``: a file that is at the destination without a receipt is compared and adopted if it
    is the same (``verify``), sent again (``overwrite``), or an ``error``. ``links`` is what listing
    did with symbolic links. ``verify``: how what was written is proven, by what the store says of
    it where that is a proof (``digest``), or by reading it again from its medium (``read-back``).
    """

    if_exists: IfExists = "verify"
    links: LinkPolicy = "follow"
    verify: Verify = "digest"


class JobTransfer:
    """Transfers what a plan holds and isn't proven yet.

    ``stop`` ends it early: files under way are finished, files in parts left after the parts under
    way, no other is begun. ``lending`` gives work to others. ``on_file`` is called from the threads
    with each file that has arrived.
    """

    def __init__(
        self,
        plan: Plan,
        journal: Journal,
        copier: Copier,
        *,
        existing: Existing,
        resumption: Resumption,
        threads: int,
        worker: str,
        attempt: int,
        stop: Stop,
        retry: Retry,
        lending: Lending | None = None,
        policies: Policies | None = None,
        on_file: Callable[[Item, Copied], None] | None = None,
    ) -> None:
        self.failures: list[Failure] = []
        self.skipped: list[tuple[str, str]] = []
        self.has_begun_uploads = False
        self.returned: list[int] = []  # files that were lent and came back undone
        self._plan = plan
        self._journal = journal
        self._copier = copier
        self._existing = existing
        self._ours = resumption.ours
        self._tried: set[int] = set()
        self._unfinished = resumption.unfinished
        self._intended = resumption.intended
        self._done = resumption.done
        self._threads = threads
        self._worker = worker
        self._attempt = attempt
        self._stop = stop
        self._retry = retry
        self._lending = lending
        self._lent: dict[int, list[int]] = {}  # the files of each block of files that is out
        self.resumption = resumption
        self._policies = policies or Policies()
        self._on_file = on_file
        self._lock = threading.Lock()
        self._fatal: BaseException | None = None
        self._files_done = sum(self._done)
        self._bytes_done = sum(plan.size_of(number) for number in _set_numbers(self._done))
        self._bytes_under_way = 0

    @property
    def progress(self) -> Progress:
        """How far the transfer is."""
        with self._lock:
            return Progress(
                files_done=self._files_done,
                files_total=len(self._plan),
                bytes_done=self._bytes_done + self._bytes_under_way,
                bytes_total=self._plan.total_bytes,
            )

    @property
    def is_complete(self) -> bool:
        """Whether every file of the plan is proven, and all else that was listed is dealt with."""
        return self._files_done == len(self._plan) and not self.failures

    def run(self, on_tick: Callable[[Progress], None]) -> None:
        """Transfer; ``on_tick`` is called in this thread several times a second.

        Returns when all files are done or failed, or when stopped. ``failures`` and
        ``is_complete`` tell which. Raises ``WorldError`` as soon as one file meets one, and what a
        bug raises; receipts of what had arrived are in the journal either way.
        """
        try:
            for phase in self._plan.phases(large_bytes=self._copier.part_bytes):
                self._run_phase(phase, on_tick)
                if self._fatal is not None:
                    raise self._fatal
                if self.failures or (self._stop.is_set() and self._files_done < len(self._plan)):
                    return  # metadata makes readers believe in what it describes
            self._make_specials()
            self._sync()
        finally:
            self._journal.flush(self._sync)
            on_tick(self.progress)

    def _sync(self) -> None:
        """Bring to its medium what has been written; a receipt must not outlive its file."""
        for lane in self._plan.lanes:
            lane.destination.sync()

    def _run_phase(self, phase: array[int], on_tick: Callable[[Progress], None]) -> None:
        queue = _Queue(number for number in phase if not self._done[number])
        self._run_threads(queue, on_tick)
        while (self._lent or len(queue)) and self._may_go_on:
            if len(queue):
                self._run_threads(queue, on_tick)
            elif not self._is_any_back(queue, take_back=True):
                self._journal.flush(self._sync)
                self._stop.wait(_TICK_SECONDS)
                on_tick(self.progress)

    @property
    def _may_go_on(self) -> bool:
        is_hopeless = len(self.failures) > MAX_FAILURES
        return not self._stop.is_set() and self._fatal is None and not is_hopeless

    def _run_threads(self, queue: _Queue, on_tick: Callable[[Progress], None]) -> None:
        count = min(self._threads, len(queue))
        threads = [
            threading.Thread(target=self._work, args=(queue,), name=f"copy-{index}")
            for index in range(count)
        ]
        for thread in threads:
            thread.start()
        last_flush = time.monotonic()
        try:
            for thread in threads:
                while thread.is_alive():
                    thread.join(_TICK_SECONDS)
                    on_tick(self.progress)
                    self._lend(queue)
                    if time.monotonic() - last_flush >= _FLUSH_SECONDS:
                        self._journal.flush(self._sync)
                        last_flush = time.monotonic()
        except BaseException as error:
            # No thread may go on once the caller gives up the claim.
            self._fatal = error
            for thread in threads:
                thread.join()
            raise

    def _lend(self, queue: _Queue) -> None:
        """Lend the files that would be done last, if anybody wants them."""
        if self._lending is None:
            return
        self._is_any_back(queue, take_back=False)
        if not self._lending.has_helpers:
            return
        while numbers := self._portion_of(queue):
            block = self._lending.lend_files([self._block_file(number) for number in numbers])
            self._lent[block] = numbers
        self._lending.close_if_done(may_lend=self._is_worth_lending(queue))

    def _portion_of(self, queue: _Queue) -> list[int]:
        assert self._lending is not None
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
        if number in self._unfinished:
            return True
        lane = self._plan.item(number).lane
        return number in self._intended and not lane.destination.capabilities.leaves_temporaries

    def _is_worth_lending(self, queue: _Queue) -> bool:
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
            ours=bool(self._ours[number]),
        )

    def _is_any_back(self, queue: _Queue, *, take_back: bool) -> bool:
        """Take note of blocks that are over; what wasn't done of them is to be done here."""
        assert self._lending is not None
        back = [block for block in self._lent if self._lending.is_back(block, take_back=take_back)]
        for block in back:
            numbers = self._lent.pop(block)
            with self._lock:
                # The parts of large files that a helper has begun may be taken up, too.
                fold(self.resumption, self._plan, self._lending.records(block))
                done = [number for number in numbers if self._done[number]]
                self._files_done += len(done)
                self._bytes_done += sum(self._plan.size_of(number) for number in done)
            self._absorb(block)
            undone = [number for number in numbers if not self._done[number]]
            self.returned.extend(undone)
            self._tried.update(undone)  # a helper that died may have left its own file there
            queue.put_back(undone)
        return bool(back)

    def _absorb(self, block: int) -> None:
        """Take a block's records into the job's own journal, and remove the block."""
        assert self._lending is not None
        for record in self._lending.records(block):
            self._journal.append(record)
        self._journal.flush(self._sync)
        self._lending.forget(block)

    def _work(self, queue: _Queue) -> None:
        while not self._stop.is_set() and self._fatal is None:
            number = queue.take()
            if number is None or len(self.failures) > MAX_FAILURES:
                return
            try:
                self._transfer(number)
            except StoppedError:
                return
            except (WorldError, ClaimLostError) as error:
                self._fatal = error
            except JobtoolError as error:
                if error.retryable and self._stop.is_set():
                    return  # it was not given its other tries
                path = self._plan.item(number).source_url
                self.failures.append(Failure(path=path, error=error))
            except BaseException as error:  # raised again in the main thread
                self._fatal = error

    def _transfer(self, number: int) -> None:
        def one_try() -> tuple[Item, Copied]:
            item = self._plan.item(number)
            try:
                return item, self._copy(number, item)
            except SourceChangedError:
                self._list_again(number, item)
                raise

        item, copied = self._retry.call(one_try)
        self._journal.append(self._receipt(item, copied))
        with self._lock:
            self._done[number] = 1
            self._files_done += 1
            self._bytes_done += item.entry.size
        if self._on_file is not None:
            self._on_file(item, copied)

    def _copy(self, number: int, item: Item) -> Copied:
        arrived = 0

        def on_bytes(count: int) -> None:
            nonlocal arrived
            with self._lock:
                arrived += count
                self._bytes_under_way += count

        log = _FileLog(self._journal, self._sync, self._unfinished, self._intended, number, item)
        self.has_begun_uploads |= item.entry.size >= self._copier.part_bytes
        try:
            if self._existing.has(number) or number in self._tried:
                adopted = self._adopt(number, item, log)
                if adopted is not None:
                    return adopted
            may_replace = self._policies.if_exists != "error" or bool(self._ours[number])
            if not may_replace:
                self._tried.add(number)  # a lost answer may have left our own file there
            return self._copier.copy(
                item,
                log,
                stop=self._stop,
                on_bytes=on_bytes,
                may_replace=may_replace,
                lending=self._lending,
            )
        finally:
            with self._lock:
                self._bytes_under_way -= arrived

    def _adopt(self, number: int, item: Item, log: _FileLog) -> Copied | None:
        policy = self._policies.if_exists
        is_foreign = not self._ours[number] and number not in self._tried and self._attempt == 1
        if policy == "error" and is_foreign:
            raise FileError(
                f"{quote(item.destination_url)} exists and has no receipt, and --if-exists error "
                "was asked for. Remove it, or use --if-exists verify or overwrite."
            )
        may_be_same = number in self._tried or self._existing.may_be(number, item.entry.size)
        if policy == "overwrite" or not may_be_same:
            return None
        adopted = self._copier.adopt(item, log, stop=self._stop)
        if adopted is not None and log.unfinished is not None:
            item.lane.destination.abort(log.unfinished.upload(item))
            log.dropped()
        return adopted

    def _list_again(self, number: int, item: Item) -> None:
        """Take a changed file as it is now, and forget what was sent of it."""
        entry = item.lane.source.head(item.entry.path)
        with self._lock:
            self._plan.update(number, entry)
            unfinished = self._unfinished.pop(number, None)
        if unfinished is not None:
            item.lane.destination.abort(unfinished.upload(item))

    def _receipt(self, item: Item, copied: Copied) -> Receipt:
        return Receipt(
            src_path=item.source_url,
            dst_path=item.destination_url,
            size=item.entry.size,
            mtime_ns=item.entry.mtime_ns,
            hashsum_src=copied.md5,
            hashsum_dst=copied.proof.md5,
            verified_by=copied.proof.verified_by,
            verified_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            worker=self._worker,
            attempt=self._attempt,
            etag=copied.proof.etag,
            part_size=copied.part_size,
        )

    def _make_specials(self) -> None:
        for lane, special in self._plan.specials:
            path = lane.source.url_of(special.path)
            can = special.what in lane.destination.capabilities.specials
            try:
                if special.what == "link" and self._policies.links == "keep":
                    if not can:
                        raise FileError(
                            f"{quote(path)} is a link, and {quote(lane.destination.url)} can't "
                            "hold one. Use --links follow or --links skip."
                        )
                    lane.destination.make_special(special)
                elif special.what == "empty-folder":
                    if can:
                        lane.destination.make_special(special)
                else:
                    self.skipped.append((path, _described(special)))
            except FileError as error:
                self.failures.append(Failure(path=path, error=error))


class _Queue:
    """Files to be done, by number: taken from the front, lent from the back. Threads may use it."""

    def __init__(self, numbers: Iterable[int]) -> None:
        self._numbers = array("Q", numbers)
        self._front = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._numbers) - self._front

    def take(self) -> int | None:
        """Return the next; None if there is none."""
        with self._lock:
            if self._front == len(self._numbers):
                return None
            self._front += 1
            return self._numbers[self._front - 1]

    def take_last(self) -> int | None:
        """Return the one that would come last; None if there is none."""
        with self._lock:
            return self._numbers.pop() if self._front < len(self._numbers) else None

    def some_last(self, count: int) -> array[int]:
        """Return the ``count`` that would come last, or all; they stay."""
        with self._lock:
            return self._numbers[max(self._front, len(self._numbers) - count) :]

    def put_back(self, numbers: Iterable[int]) -> None:
        """Add some at the end."""
        with self._lock:
            self._numbers.extend(numbers)


class _FileLog:
    """The uploads of one file, in the journal and in memory."""

    def __init__(
        self,
        journal: Journal,
        sync: Callable[[], None],
        unfinished: dict[int, Unfinished],
        intended: dict[int, int],
        number: int,
        item: Item,
    ) -> None:
        self._journal = journal
        self._sync = sync
        self._all = unfinished
        self._intended = intended
        self._number = number
        self._item = item

    @property
    def unfinished(self) -> Unfinished | None:
        return self._all.get(self._number)

    def beginning(self) -> int | None:
        if self._item.lane.destination.capabilities.leaves_temporaries:
            return None  # they bear their owner's mark
        now_ns = time.time_ns()
        # On disk before the upload: one that no record names can't be told from somebody else's.
        self._journal.append(
            IntentRecord(
                src_path=self._item.source_url,
                dst_path=self._item.destination_url,
                at_ns=now_ns,
            )
        )
        self._journal.flush(self._sync)
        earlier_ns = self._intended.get(self._number)
        self._intended.setdefault(self._number, now_ns)
        return earlier_ns

    def begun(self, upload: Upload, part_size: int) -> None:
        md5 = upload.attributes.md5
        self._all[self._number] = Unfinished(upload.token, part_size, md5)
        self._intended.pop(self._number, None)
        self._journal.append(
            UploadRecord(
                src_path=self._item.source_url,
                dst_path=self._item.destination_url,
                size=self._item.entry.size,
                mtime_ns=self._item.entry.mtime_ns,
                part_size=part_size,
                token=upload.token,
                md5=md5,
            )
        )
        if not self._item.lane.destination.capabilities.leaves_temporaries:
            # At once: with only an intent, somebody else's upload of this key would pass for ours.
            self._journal.flush(self._sync)

    def sent(self, part: Part) -> None:
        unfinished = self._all[self._number]
        unfinished.parts[part.number] = part
        self._journal.append(part_record(unfinished.token, part))

    def dropped(self) -> None:
        self._all.pop(self._number, None)


def _set_numbers(flags: bytearray) -> Iterator[int]:
    return (number for number, flag in enumerate(flags) if flag)


def _described(special: Special) -> str:
    if special.what == "link":
        return f"a link to {quote(special.target or '')}, and --links skip was asked for"
    return f"a {special.what}, which holds no data"
