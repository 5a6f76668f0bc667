"""A job's transfer: all files of its plan, by threads, each with a receipt."""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime

from jobtool.errors import (
    ClaimLostError,
    FileError,
    JobtoolError,
    NotFoundError,
    Scope,
    SourceChangedError,
    StoppedError,
    WorldError,
)
from jobtool.jobs.journal import Journal
from jobtool.jobs.records import Receipt
from jobtool.names import quote
from jobtool.stop import Stop
from jobtool.stores.optional import Multipart
from jobtool.stores.store import entry_of
from jobtool.transfer.copy import Copied, Copier
from jobtool.transfer.earlier import ListingLog
from jobtool.transfer.existing import Existing
from jobtool.transfer.filelog import JournalledLog
from jobtool.transfer.filequeue import FileQueue
from jobtool.transfer.folders import keep_folders
from jobtool.transfer.headstart import HeadStart
from jobtool.transfer.lending import Lending
from jobtool.transfer.lentfiles import LentFiles
from jobtool.transfer.lentparts import lends_parts
from jobtool.transfer.notes import Notes
from jobtool.transfer.phases import Phase, Phases
from jobtool.transfer.plan import MAX_FAILURES, Failure, Item, Plan
from jobtool.transfer.planning import TreeListing
from jobtool.transfer.policies import Policies
from jobtool.transfer.resume import Resumption, fold
from jobtool.transfer.retry import Retry, Successes
from jobtool.transfer.specials import Skipped, make_specials

#: After so many refusals or server errors in a row, without one success, the store is in doubt.
DOUBTFUL_FAILURES = 20

_TICK_SECONDS = 0.1

#: Files go while a tree is still being listed once that has taken so long.
_HEAD_START_SECONDS = 0.2

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


class JobTransfer:
    """Transfers what a plan holds and isn't proven yet.

    ``stop`` ends it early: files under way are finished, files in parts left after the parts under
    way, no other is begun. ``lending`` gives work to others. ``on_file`` is called from the threads
    with each file that has arrived. With ``listing`` the plan is still to be listed, its
    destination holds nothing and nothing is recorded of it: small files go while it is listed, and
    ``on_listed`` is called when that is over.
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
        listing: TreeListing | None = None,
        on_listed: Callable[[], None] | None = None,
        listing_log: ListingLog | None = None,
    ) -> None:
        self.failures: list[Failure] = list(plan.failures)
        self.has_succeeded = False
        self._doubtful_in_a_row = 0
        self._failed: set[int] = set()
        self._listing = listing
        self._is_listed = listing is None
        self._on_listed = on_listed
        self._listing_log = listing_log
        self.skipped = Skipped()
        self.notes = Notes()  # what arrived files lack of their attributes
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
        self._has_open_ends = False  # folders that have yet to be given their attributes
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
    def any_proven(self) -> Item | None:
        """A file that has arrived, now or at an earlier attempt; None if none has."""
        number = self._done.find(1)
        return None if number < 0 else self._plan.item(number)

    @property
    def is_complete(self) -> bool:
        """Whether all is listed, every file is proven, and all else is dealt with."""
        return (
            self._is_listed
            and self._files_done == len(self._plan)
            and not self.failures
            and not self._has_open_ends
        )

    @property
    def is_doubtful(self) -> bool:
        """Whether the failures may be those of a store rather than of the files.

        They are refusals or server errors, and nothing has worked, or nothing any more.
        """
        is_any = any(failure.error.scope is Scope.UNCERTAIN for failure in self.failures)
        return is_any and (not self.has_succeeded or self._doubtful_in_a_row >= DOUBTFUL_FAILURES)

    def run(self, on_tick: Callable[[Progress], None]) -> None:
        """Transfer; ``on_tick`` is called in this thread several times a second.

        Returns when all files are done or failed, or when stopped. ``failures`` and
        ``is_complete`` tell which. Raises ``WorldError`` as soon as one file meets one, and what a
        bug raises; receipts of what had arrived are in the journal either way.
        """
        self.notes.add_stores(self._plan.routes, self._policies.preserve)
        try:
            if self._listing is not None:
                self._list(self._listing, on_tick)
            for phase in self._plan.phases(large_bytes=self._copier.part_bytes):
                self._run_phase(phase, on_tick)
                if self._fatal is not None:
                    raise self._fatal
                if self.failures or (self._stop.is_set() and self._files_done < len(self._plan)):
                    return  # metadata makes readers believe in what it describes
                if not self._is_listed:
                    return
            if self._stop.is_lost:
                return
            is_all_made = make_specials(
                self._plan, links=self._policies.links, retry=self._retry, skipped=self.skipped
            )
            self.failures.extend(self.skipped.failures)
            self._has_open_ends = not is_all_made
            if not keep_folders(
                self._plan, threads=self._threads, stop=self._stop, notes=self.notes
            ):
                self._has_open_ends = True
            self._phases.all_at(Phase.SYNCING)
            on_tick(self.progress)
            self._sync()
        finally:
            if self.is_complete:
                self._journal.flush(self._sync)
            else:
                self._flush()
            on_tick(self.progress)

    def _sync(self) -> None:
        """Bring to its medium what has been written; a receipt must not outlive its file."""
        for route in self._plan.routes:
            route.destination.sync()

    def _list(self, listing: TreeListing, on_tick: Callable[[Progress], None]) -> None:
        """List the plan; once that has taken a while, files go meanwhile."""
        listing.on_entry = self._grow
        self._phases.all_at(Phase.LISTING)
        try:
            if not listing.run(seconds=_HEAD_START_SECONDS):
                self._list_and_send(listing, on_tick)
        except StoppedError:
            return
        self._is_listed = True
        self._phases.all_at(Phase.COPYING)
        self.failures[:0] = self._plan.failures
        if self._on_listed is not None:
            self._on_listed()

    def _list_and_send(self, listing: TreeListing, on_tick: Callable[[Progress], None]) -> None:
        start = HeadStart(
            self._plan, large_bytes=self._copier.part_bytes, may_go_on=lambda: self._may_go_on
        )
        failures: list[BaseException] = []
        stop = Stop(parent=self._stop)
        listing.retry = listing.retry.within(stop)

        def on_entry() -> None:
            self._grow()
            start.note()

        def work() -> None:
            try:
                with self._copier.liveness.working(listing.route.source.url):
                    listing.run()
            except BaseException as error:  # raised again in the main thread
                failures.append(error)
            finally:
                start.end()

        listing.on_entry = on_entry
        thread = threading.Thread(target=work, name="listing")
        thread.start()
        try:
            self._run_threads(start.take, self._threads, on_tick)
        finally:
            start.end()
            stop.set("no more files are wanted")
            with self._copier.liveness.aside():
                thread.join()
        if self._fatal is not None:
            raise self._fatal
        if failures:
            (error,) = failures
            if isinstance(error, JobtoolError) and error.retryable and not self._may_go_on:
                raise StoppedError("no more files were wanted") from error  # nor other tries made
            raise error

    def _grow(self) -> None:
        """Take note of another file in the plan."""
        self._existing.grow()
        self.resumption.grow()

    def _run_phase(self, phase: array[int], on_tick: Callable[[Progress], None]) -> None:
        queue = FileQueue(
            number for number in phase if not self._done[number] and number not in self._failed
        )
        self._run_queue(queue, on_tick)
        while (len(queue) or (self._lent is not None and self._lent.are_out)) and self._may_go_on:
            if len(queue):
                self._run_queue(queue, on_tick)
            elif not self._absorb_returned(queue, take_back=True):
                self._journal.flush(self._sync)
                self._stop.wait(_TICK_SECONDS)
                on_tick(self.progress)

    @property
    def _may_go_on(self) -> bool:
        is_hopeless = (
            len(self.failures) > MAX_FAILURES or self._doubtful_in_a_row >= DOUBTFUL_FAILURES
        )
        return not self._stop.is_set() and self._fatal is None and not is_hopeless

    def _run_queue(self, queue: FileQueue, on_tick: Callable[[Progress], None]) -> None:
        def lend() -> None:
            if self._lent is not None:
                self._absorb_returned(queue, take_back=False)
                self._lent.lend(queue)

        self._run_threads(queue.take, min(self._threads, len(queue)), on_tick, lend)

    def _run_threads(
        self,
        take: Callable[[], int | None],
        count: int,
        on_tick: Callable[[Progress], None],
        meanwhile: Callable[[], None] | None = None,
    ) -> None:
        threads = [
            threading.Thread(target=self._work, args=(take,), name=f"copy-{index}")
            for index in range(count)
        ]
        for thread in threads:
            thread.start()
        last_flush = time.monotonic()
        try:
            with self._copier.liveness.aside():
                for thread in threads:
                    while thread.is_alive():
                        thread.join(_TICK_SECONDS)
                        on_tick(self.progress)
                        if meanwhile is not None:
                            meanwhile()
                        if time.monotonic() - last_flush >= _FLUSH_SECONDS:
                            self._flush()
                            last_flush = time.monotonic()
        except BaseException as error:
            # No thread may go on once the caller gives up the claim.
            self._fatal = error
            for thread in threads:
                thread.join()
            raise

    def _flush(self) -> None:
        """Bring receipts to disk, and the names of what is listed since and not done yet."""
        if self._listing_log is not None:
            self._listing_log.write(self._done)
        self._journal.flush(self._sync)

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
                self.has_succeeded = True
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

    def _work(self, take: Callable[[], int | None]) -> None:
        while self._may_go_on:
            number = take()
            if number is None:
                return
            try:
                with self._copier.liveness.working():  # what it waits for, too
                    self._transfer(number)
            except StoppedError:
                return
            except (WorldError, ClaimLostError) as error:
                self._fatal = error
            except JobtoolError as error:
                if error.retryable and self._stop.is_set():
                    return  # it was not given its other tries
                self._fail(number, error)
            except BaseException as error:  # raised again in the main thread
                self._fatal = error

    def _fail(self, number: int, error: JobtoolError) -> None:
        path = self._plan.item(number).source_url
        with self._lock:
            self._failed.add(number)
            self.failures.append(Failure(path=path, error=error))
            is_doubtful = error.scope is Scope.UNCERTAIN
            self._doubtful_in_a_row = self._doubtful_in_a_row + 1 if is_doubtful else 0

    def _transfer(self, number: int) -> None:
        own = Successes(self._retry.monotonic)

        def one_try() -> tuple[Item, Copied]:
            item = self._plan.item(number)
            try:
                with self._phases.file(number, item.entry.size, first=self._first_phase(number)):
                    return item, self._copy(number, item, own)
            except SourceChangedError:
                self._list_again(number, item)
                raise

        with self._may_lend_parts(number):  # also between two tries
            item, copied = self._retry.call(one_try, own=own)
        self._retry.elsewhere.note()
        self._journal.append(self._receipt(item, copied))
        self.notes.add(item.source_url, copied.proof.notes)
        with self._lock:
            self._done[number] = 1
            self.has_succeeded = True
            self._doubtful_in_a_row = 0
            self._files_done += 1
            self._bytes_done += item.entry.size
            self._files_sent += not copied.was_there
        if self._on_file is not None:
            self._on_file(item, copied)

    def _first_phase(self, number: int) -> Phase:
        if self._existing.has(number) or number in self._tried:
            return Phase.COMPARING
        route = self._plan.item(number).route
        is_hashed_first = (
            self._plan.size_of(number) >= self._copier.part_bytes
            and isinstance(route.destination, Multipart)
            and route.destination.capabilities.attributes_first
            and route.source.capabilities.cheap_reads
        )
        unfinished = self.resumption.unfinished.get(number)
        is_read_back_first = unfinished is not None and bool(unfinished.parts)
        return Phase.CHECKING_PARTS if is_hashed_first or is_read_back_first else Phase.COPYING

    def _may_lend_parts(self, number: int) -> AbstractContextManager[None]:
        is_large = self._plan.size_of(number) >= self._copier.part_bytes
        if self._lending is None or not is_large or not lends_parts(self._plan.item(number)):
            return nullcontext()
        return self._lending.may_lend()

    def _copy(self, number: int, item: Item, own: Successes) -> Copied:
        arrived = 0

        def on_kept(size: int) -> None:
            nonlocal arrived
            with self._lock:
                arrived += size
                self._bytes_under_way += size
            self._phases.arrived(number, size)

        def on_passed(size: int) -> None:
            on_kept(size)
            with self._lock:
                self._bytes_sent += size

        def on_bytes(size: int) -> None:
            own.note()
            self._retry.elsewhere.note()
            on_passed(size)

        log = JournalledLog(self._journal, self._sync, self.resumption, number, item)
        self.has_begun_uploads |= self._copier.sends_parts(item)
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
                on_passed=on_passed,
                may_replace=may_replace,
                lending=self._lending if lends_parts(item) else None,
            )
        finally:
            with self._lock:
                self._bytes_under_way -= arrived

    def _adopt(self, number: int, item: Item, log: JournalledLog) -> Copied | None:
        """Keep what is at the destination if it is the same; None to send the file.

        Raises ``FileError`` for a file that isn't ours where ``if_exists`` is ``error``.
        """
        policy = self._policies.if_exists
        may_be_ours = number in self._tried or self._attempt > 1
        if policy == "error" and not self._ours[number] and not may_be_ours:
            raise _exists(item)
        may_be_same = number in self._tried or self._existing.may_be(number, item.entry.size)
        adopted = None
        if policy != "overwrite" and may_be_same:
            adopted = self._copier.adopt(item, log, stop=self._stop)
        if adopted is None:
            # An earlier attempt, or a try whose answer was lost, may have put our own file there.
            # This one is another.
            if policy == "error" and not self._ours[number] and _is_there(item):
                raise _exists(item)
            return None
        if log.unfinished is not None:
            log.unfinished.abort(item)
            log.dropped()
        return adopted

    def _list_again(self, number: int, item: Item) -> None:
        """Take a changed file as it is now, and forget what was sent of it."""
        entry = entry_of(item.route.source, item.entry.path)
        with self._lock:
            self._plan.update(number, entry)
            unfinished = self.resumption.unfinished.pop(number, None)
        if unfinished is not None:
            unfinished.abort(item)

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


def _set_numbers(flags: bytearray) -> Iterator[int]:
    return (number for number, flag in enumerate(flags) if flag)


def _is_there(item: Item) -> bool:
    try:
        entry_of(item.route.destination, item.destination_path)
    except NotFoundError:
        return False
    return True


def _exists(item: Item) -> FileError:
    return FileError(
        f"{quote(item.destination_url)} exists and has no receipt, and --if-exists error "
        "was asked for. Remove it, or use --if-exists verify or overwrite."
    )
