"""A job's transfer: all files of its plan, by threads, each with a receipt."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from jobtool.errors import JobtoolError, StoppedError, WorldError
from jobtool.jobs.receipts import Journal, Receipt
from jobtool.transfer.copy import Copied, Copier
from jobtool.transfer.plan import Item, Plan
from jobtool.transfer.retry import Retry

#: A job with more files in error than this isn't worth going on with.
MAX_FAILURES = 100

_TICK_SECONDS = 0.1


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


class JobTransfer:
    """Transfers what a plan holds and the journal doesn't yet prove.

    ``stop`` ends it early: files under way are finished, no other is begun. ``on_file`` is called
    from the threads with each file that has arrived, ``on_retry`` with each error that is tried
    again.
    """

    def __init__(
        self,
        plan: Plan,
        journal: Journal,
        copier: Copier,
        *,
        threads: int,
        worker: str,
        attempt: int,
        stop: threading.Event,
        retry: Retry,
        on_file: Callable[[Item, Copied], None] | None = None,
    ) -> None:
        self.failures: list[Failure] = []
        self._plan = plan
        self._journal = journal
        self._copier = copier
        self._threads = threads
        self._worker = worker
        self._attempt = attempt
        self._stop = stop
        self._retry = retry
        self._on_file = on_file
        self._lock = threading.Lock()
        self._fatal: BaseException | None = None
        self._done = bytearray(len(plan))
        self._files_done = 0
        self._bytes_done = 0
        self._bytes_under_way = 0

    def take_receipts(self, receipts: Iterator[Receipt]) -> None:
        """Count the files that these receipts prove as done."""
        for receipt in receipts:
            number = self._plan.find(receipt)
            if number is None or self._done[number] or not self._plan.proves(receipt, number):
                continue
            self._count(number)

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
        """Whether every file of the plan is proven."""
        return self._files_done == len(self._plan)

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
                if self.failures or self._stop.is_set():
                    return  # metadata makes readers believe in what it describes
            if self.is_complete:
                for lane in self._plan.lanes:
                    lane.destination.sync()
        finally:
            self._journal.flush()
            on_tick(self.progress)

    def _run_phase(self, phase: array[int], on_tick: Callable[[Progress], None]) -> None:
        numbers = (number for number in phase if not self._done[number])
        count = min(self._threads, len(phase))
        threads = [
            threading.Thread(target=self._work, args=(numbers,), name=f"copy-{index}")
            for index in range(count)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(_TICK_SECONDS)
                self._journal.flush()
                on_tick(self.progress)

    def _work(self, numbers: Iterator[int]) -> None:
        while not self._stop.is_set() and self._fatal is None:
            with self._lock:
                number = next(numbers, None)
            if number is None or len(self.failures) > MAX_FAILURES:
                return
            try:
                self._transfer(number)
            except StoppedError:
                return
            except WorldError as error:
                self._fatal = error
            except JobtoolError as error:
                if error.retryable and self._stop.is_set():
                    return  # it was not given its other tries
                path = self._plan.item(number).source_url
                self.failures.append(Failure(path=path, error=error))
            except BaseException as error:  # raised again in the main thread
                self._fatal = error

    def _transfer(self, number: int) -> None:
        item = self._plan.item(number)
        copied = self._retry.call(lambda: self._copy(item))
        self._journal.append(
            Receipt(
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
        )
        self._count(number)
        if self._on_file is not None:
            self._on_file(item, copied)

    def _copy(self, item: Item) -> Copied:
        arrived = 0

        def on_bytes(count: int) -> None:
            nonlocal arrived
            with self._lock:
                arrived += count
                self._bytes_under_way += count

        try:
            return self._copier.copy(item, stop=self._stop, on_bytes=on_bytes)
        finally:
            with self._lock:
                self._bytes_under_way -= arrived

    def _count(self, number: int) -> None:
        with self._lock:
            self._done[number] = 1
            self._files_done += 1
            self._bytes_done += self._plan.size_of(number)
