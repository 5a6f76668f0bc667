"""The threads of a transfer. Each takes one file after another, or several small ones at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

from jobtool.errors import (
    ClaimLostError,
    InfrastructureError,
    JobtoolError,
    NotYetError,
    Scope,
    StoppedError,
)
from jobtool.liveness import Liveness
from jobtool.stop import Stop
from jobtool.transfer.concurrency import Concurrency
from jobtool.transfer.copy import Copied
from jobtool.transfer.filetransfer import FileTransfer
from jobtool.transfer.keptthreads import KeptThreads, Running
from jobtool.transfer.ledger import Ledger
from jobtool.transfer.plan import MAX_FAILURES, Failure, Item
from jobtool.transfer.together import Pace, most_for

#: After this many refusals or server errors in a row, the store is in doubt.
DOUBTFUL_FAILURES = 20

#: How often the main thread checks the others.
TICK_SECONDS = 0.1

#: How long a receipt may be in memory only. A kill costs the receipts of that time.
_FLUSH_SECONDS = 1.0


class FileThreads:
    """Threads that transfer files, and their failures.

    ``failures`` are the files in error. ``not_yet`` stands for the files that can't be read yet.
    ``fatal`` is an error that ends the whole transfer: an ``InfrastructureError``, a lost claim, a
    bug. ``on_file`` is called with each file that has arrived.
    """

    def __init__(
        self,
        ledger: Ledger,
        files: FileTransfer,
        *,
        concurrency: Concurrency,
        stop: Stop,
        liveness: Liveness,
        threads: KeptThreads,
        on_file: Callable[[Item, Copied], None] | None,
    ) -> None:
        self.failures: list[Failure] = list(ledger.plan.failures)
        self.not_yet: NotYetError | None = None
        self.fatal: BaseException | None = None
        self.has_succeeded = False
        self._ledger = ledger
        self._files = files
        self._concurrency = concurrency
        self._stop = stop
        self._liveness = liveness
        self._threads = threads
        self._on_file = on_file
        self._lock = threading.Lock()
        self._doubtful_in_a_row = 0
        self._running = 0

    @property
    def may_go_on(self) -> bool:
        """Whether another file may be begun."""
        is_hopeless = (
            len(self.failures) > MAX_FAILURES or self._doubtful_in_a_row >= DOUBTFUL_FAILURES
        )
        return not self._stop.is_set() and self.fatal is None and not is_hopeless

    @property
    def is_doubtful(self) -> bool:
        """Whether a store rather than the files may be the cause of the failures.

        That is so if some are refusals or server errors, and if no file has succeeded at all or
        ``DOUBTFUL_FAILURES`` such failures came in a row.
        """
        is_any = any(failure.error.scope is Scope.UNCERTAIN for failure in self.failures)
        return is_any and (not self.has_succeeded or self._doubtful_in_a_row >= DOUBTFUL_FAILURES)

    def run(
        self,
        next_files: Callable[[int], Sequence[int]],
        count: int,
        *,
        on_tick: Callable[[], None],
        only_asks: bool = False,
    ) -> None:
        """Transfer what ``next_files`` returns, by up to ``count`` threads, until that is nothing.

        ``next_files`` is called with the number of files that a thread takes at most. With
        ``only_asks`` the files are only asked for, since they are transferred later.

        ``on_tick`` is called in this thread several times a second. The ledger is written to disk
        every second. Raises the errors of both, once the threads have ended.
        """
        threads: list[Running] = []
        work = self._files.ask_for if only_asks else self._files.transfer
        self._running = 0

        def grow_to(wanted: int) -> None:
            while self._running < min(wanted, count):
                try:
                    threads.append(self._threads.run(partial(self._work, next_files, work)))
                except RuntimeError:  # a limit on threads
                    if not threads:
                        raise
                    return
                with self._lock:
                    self._running += 1

        last_flush = time.monotonic()
        try:
            grow_to(self._concurrency.begin(count) if count > 1 else 1)
            with self._liveness.aside():
                for thread in threads:  # more are added meanwhile
                    while not thread.wait(TICK_SECONDS):
                        if count > 1:  # one file has one thread: nothing is to be measured
                            grow_to(self._concurrency.adapted())
                        on_tick()
                        if time.monotonic() - last_flush >= _FLUSH_SECONDS:
                            self._ledger.checkpoint()
                            last_flush = time.monotonic()
        except BaseException as error:
            # No thread may go on once the caller gives up the claim.
            self.fatal = error
            self._files.queues.close()
            for thread in threads:
                thread.wait()
            raise

    def _work(
        self,
        next_files: Callable[[int], Sequence[int]],
        work: Callable[[int], tuple[Item, Copied] | None],
    ) -> None:
        pace = Pace() if work == self._files.transfer and self._files.together.is_on else None
        while self.may_go_on and not self._is_one_too_many():
            most = 1 if pace is None else min(pace.count, most_for(max(self._running, 1)))
            numbers = next_files(most)
            if not numbers:
                return
            for number in numbers if pace is None else self._send_together(numbers, pace):
                if not self.may_go_on or not self._do(number, work):
                    return

    def _send_together(self, numbers: Sequence[int], pace: Pace) -> Sequence[int]:
        """Transfer files together. Return those that are to be transferred alone."""
        try:
            with self._liveness.working():
                with pace.timed():
                    found, others = self._files.transfer_together(numbers)
                if not found:
                    pace.restart()
                for item, copied in found:
                    self._succeed(item, copied)
        except (InfrastructureError, ClaimLostError) as error:
            self.fatal = error
            return ()
        except JobtoolError:
            return numbers
        except BaseException as error:  # raised again in the main thread
            self.fatal = error
            return ()
        return others

    def _do(self, number: int, work: Callable[[int], tuple[Item, Copied] | None]) -> bool:
        """Do the work for one file. Return False if the thread is to end."""
        try:
            with self._liveness.working():  # waits count too
                found = work(number)
                if found is not None:
                    self._succeed(*found)
        except StoppedError:
            return False
        except (InfrastructureError, ClaimLostError) as error:
            self.fatal = error
        except NotYetError as error:
            self._put_off(number, error)
        except JobtoolError as error:
            if error.retryable and self._stop.is_set():
                return False  # the stop cut off its further tries
            self.fail(number, error)
        except BaseException as error:  # raised again in the main thread
            self.fatal = error
        return True

    def _is_one_too_many(self) -> bool:
        """Return True for a thread that is to end, since fewer are wanted now."""
        if self._running <= self._concurrency.wanted:
            return False
        with self._lock:
            is_one = self._running > self._concurrency.wanted
            self._running -= is_one
            return is_one

    def _succeed(self, item: Item, copied: Copied) -> None:
        with self._lock:
            self.has_succeeded = True
            self._doubtful_in_a_row = 0
            self._concurrency.note_file(item.entry.size)
        if self._on_file is not None:
            self._on_file(item, copied)

    def _put_off(self, number: int, error: NotYetError) -> None:
        with self._lock:
            self._ledger.fail(number)
            known = self.not_yet
            self.not_yet = NotYetError(
                str(known or error),
                seconds=min(known.seconds, error.seconds) if known else error.seconds,
                files=(known.files if known else 0) + error.files,
            )

    def fail(self, number: int, error: JobtoolError) -> None:
        """Note that a file is in error."""
        path = self._ledger.plan.item(number).source_url
        with self._lock:
            self._ledger.fail(number)
            self.failures.append(Failure(path=path, error=error))
            is_doubtful = error.scope is Scope.UNCERTAIN
            self._doubtful_in_a_row = self._doubtful_in_a_row + 1 if is_doubtful else 0
