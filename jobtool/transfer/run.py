"""A job's transfer: all files of its plan, by threads, each with a receipt."""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
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
from jobtool.jobs.journal import Journal
from jobtool.jobs.records import Receipt
from jobtool.names import quote
from jobtool.stop import Stop
from jobtool.stores.local import LinkPolicy
from jobtool.stores.store import Special
from jobtool.transfer.copy import Copied, Copier
from jobtool.transfer.filelog import JournalledLog
from jobtool.transfer.filequeue import FileQueue
from jobtool.transfer.lending import Lending
from jobtool.transfer.lentfiles import LentFiles
from jobtool.transfer.lentparts import lends_parts
from jobtool.transfer.phases import Phase, Phases
from jobtool.transfer.plan import Item, Plan
from jobtool.transfer.resume import Existing, Resumption, fold
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
    """How far a transfer is. Bytes and files that had receipts before count as done.

    ``files_sent`` and ``bytes_sent`` are what was sent now, by others that were lent it, too;
    ``phase`` is what takes the time just now.
    """

    files_done: int
    files_total: int
    bytes_done: int
    bytes_total: int
    files_sent: int
    bytes_sent: int
    phase: Phase = Phase.COPYING


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
        self._done = resumption.done
        self._threads = threads
        self._worker = worker
        self._attempt = attempt
        self._stop = stop
        self._retry = retry
        self._lending = lending
        self._lent = None if lending is None else LentFiles(lending, plan, existing, resumption)
        self.resumption = resumption
        self._policies = policies or Policies()
        self._on_file = on_file
        self._lock = threading.Lock()
        self._fatal: BaseException | None = None
        self._files_done = sum(self._done)
        self._bytes_done = sum(plan.size_of(number) for number in _set_numbers(self._done))
        self._bytes_under_way = 0
        self._files_sent = self._bytes_sent = 0
        self._phases = Phases()

    @property
    def progress(self) -> Progress:
        """How far the transfer is."""
        with self._lock:
            return Progress(
                files_done=self._files_done,
                files_total=len(self._plan),
                bytes_done=self._bytes_done + self._bytes_under_way,
                bytes_total=self._plan.total_bytes,
                files_sent=self._files_sent,
                bytes_sent=self._bytes_sent,
                phase=self._phases.now,
            )

    @property
    def parts_bytes(self) -> int:
        """How much of files that aren't done is in parts that the next attempt need not send."""
        return sum(
            part.size
            for number, unfinished in list(self.resumption.unfinished.items())
            if not self._done[number]
            for part in list(unfinished.parts.values())
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
            self._phases.all_at(Phase.SYNCING)
            on_tick(self.progress)
            self._sync()
        finally:
            self._journal.flush(self._sync)
            on_tick(self.progress)

    def _sync(self) -> None:
        """Bring to its medium what has been written; a receipt must not outlive its file."""
        for lane in self._plan.lanes:
            lane.destination.sync()

    def _run_phase(self, phase: array[int], on_tick: Callable[[Progress], None]) -> None:
        queue = FileQueue(number for number in phase if not self._done[number])
        self._run_threads(queue, on_tick)
        while (len(queue) or (self._lent is not None and self._lent.are_out)) and self._may_go_on:
            if len(queue):
                self._run_threads(queue, on_tick)
            elif not self._absorb_returned(queue, take_back=True):
                self._journal.flush(self._sync)
                self._stop.wait(_TICK_SECONDS)
                on_tick(self.progress)

    @property
    def _may_go_on(self) -> bool:
        is_hopeless = len(self.failures) > MAX_FAILURES
        return not self._stop.is_set() and self._fatal is None and not is_hopeless

    def _run_threads(self, queue: FileQueue, on_tick: Callable[[Progress], None]) -> None:
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
                    if self._lent is not None:
                        self._absorb_returned(queue, take_back=False)
                        self._lent.lend(queue)
                    if time.monotonic() - last_flush >= _FLUSH_SECONDS:
                        self._journal.flush(self._sync)
                        last_flush = time.monotonic()
        except BaseException as error:
            # No thread may go on once the caller gives up the claim.
            self._fatal = error
            for thread in threads:
                thread.join()
            raise

    def _absorb_returned(self, queue: FileQueue, *, take_back: bool) -> bool:
        """Take note of blocks that are over; what wasn't done of them is to be done here."""
        if self._lent is None:
            return False
        is_any_back = False
        for block in self._lent.returned(take_back=take_back):
            is_any_back = True
            with self._lock:
                # The parts of large files that a helper has begun may be taken up, too.
                fold(self.resumption, self._plan, block.records())
                done = [number for number in block.numbers if self._done[number]]
                size = sum(self._plan.size_of(number) for number in done)
                self._files_done += len(done)
                self._bytes_done += size
                self._files_sent += len(done)
                self._bytes_sent += size
            for record in block.records():
                self._journal.append(record)
            self._journal.flush(self._sync)
            block.forget()
            undone = [number for number in block.numbers if not self._done[number]]
            self.returned.extend(undone)
            self._tried.update(undone)  # a helper that died may have left its own file there
            queue.put_back(undone)
        return is_any_back

    def _work(self, queue: FileQueue) -> None:
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
                with self._phases.file(number, item.entry.size, first=self._first_phase(number)):
                    return item, self._copy(number, item)
            except SourceChangedError:
                self._list_again(number, item)
                raise

        with self._may_lend_parts(number):  # also between two tries
            item, copied = self._retry.call(one_try)
        self._journal.append(self._receipt(item, copied))
        with self._lock:
            self._done[number] = 1
            self._files_done += 1
            self._bytes_done += item.entry.size
            self._files_sent += not copied.was_there
        if self._on_file is not None:
            self._on_file(item, copied)

    def _first_phase(self, number: int) -> Phase:
        if self._existing.has(number) or number in self._tried:
            return Phase.COMPARING
        lane = self._plan.item(number).lane
        is_hashed_first = (
            self._plan.size_of(number) >= self._copier.part_bytes
            and lane.destination.capabilities.attributes_first
            and lane.source.capabilities.cheap_reads
        )
        return Phase.CHECKING_PARTS if is_hashed_first else Phase.COPYING

    def _may_lend_parts(self, number: int) -> AbstractContextManager[None]:
        is_large = self._plan.size_of(number) >= self._copier.part_bytes
        if self._lending is None or not is_large or not lends_parts(self._plan.item(number)):
            return nullcontext()
        return self._lending.may_lend()

    def _copy(self, number: int, item: Item) -> Copied:
        arrived = 0

        def on_kept(size: int) -> None:
            nonlocal arrived
            with self._lock:
                arrived += size
                self._bytes_under_way += size
            self._phases.arrived(number, size)

        def on_bytes(size: int) -> None:
            on_kept(size)
            with self._lock:
                self._bytes_sent += size

        log = JournalledLog(self._journal, self._sync, self.resumption, number, item)
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
                on_kept=on_kept,
                may_replace=may_replace,
                lending=self._lending if lends_parts(item) else None,
            )
        finally:
            with self._lock:
                self._bytes_under_way -= arrived

    def _adopt(self, number: int, item: Item, log: JournalledLog) -> Copied | None:
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
            unfinished = self.resumption.unfinished.pop(number, None)
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


def _set_numbers(flags: bytearray) -> Iterator[int]:
    return (number for number, flag in enumerate(flags) if flag)


def _described(special: Special) -> str:
    if special.what == "link":
        return f"a link to {quote(special.target or '')}, and --links skip was asked for"
    return f"a {special.what}, which holds no data"
