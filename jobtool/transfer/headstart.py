"""A head start: the first files of a large tree are sent while the rest is still being listed.

Only small data files get one. Large files go first and the metadata of data sets goes last in the
whole job, and these orders are known only when all files are listed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from jobtool.errors import JobtoolError, StoppedError
from jobtool.stop import Stop
from jobtool.transfer.copy import Copier
from jobtool.transfer.filethreads import FileThreads
from jobtool.transfer.ledger import Ledger
from jobtool.transfer.plan import Plan
from jobtool.transfer.treelisting import TreeListing

_LOOK_SECONDS = 0.1

#: How many listed files wake a thread that waits for some. Fewer wait for its next look.
_ENOUGH = 16


class HeadStart:
    """The files of a plan that may be sent already, by number, in the order of the listing.

    One thread adds to the plan and calls ``note``; others call ``get``.
    """

    def __init__(self, plan: Plan, *, large_bytes: int, may_go_on: Callable[[], bool]) -> None:
        self._plan = plan
        self._large_bytes = large_bytes
        self._may_go_on = may_go_on
        self._listed = len(plan)  # a file that is added later may be incomplete
        self._next = 0
        self._is_over = False
        self._changed = threading.Condition()

    def note(self) -> None:
        """Record that another file was added to the plan."""
        with self._changed:
            self._listed += 1
            if (self._listed - self._next) % _ENOUGH == 0:
                self._changed.notify()

    def end(self) -> None:
        """Return no more files from ``get``: all are listed, or listing has failed."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def get(self, most: int = 1) -> Sequence[int]:
        """Wait for the next files that may be sent, and return at most ``most`` of them.

        Returns none once there are no more.
        """
        found: list[int] = []
        with self._changed:
            while not self._is_over and self._may_go_on() and len(found) < most:
                if self._next == self._listed:
                    if found:
                        break
                    self._changed.wait(_LOOK_SECONDS)
                    continue
                number = self._next
                self._next += 1
                is_small = self._plan.size_of(number) < self._large_bytes
                if is_small and not self._plan.is_metadata(number):
                    found.append(number)
        return found


def list_and_send(
    listing: TreeListing,
    ledger: Ledger,
    threads: FileThreads,
    copier: Copier,
    *,
    stop: Stop,
    count: int,
    on_tick: Callable[[], None],
) -> None:
    """List a tree in one thread while others send its first small files.

    ``count`` is the greatest number of those. ``on_tick`` is called in this thread several times a
    second. Raises the errors of listing, and ``threads.fatal``.
    """
    start = HeadStart(
        ledger.plan, large_bytes=copier.part_bytes, may_go_on=lambda: threads.may_go_on
    )
    failures: list[BaseException] = []
    own = Stop(parent=stop)
    listing.retry = listing.retry.within(own)

    listed, used = 0, 0.0

    def on_entry() -> None:
        nonlocal listed, used
        ledger.grow()
        start.note()
        listed += 1
        if listed % 100 == 0:
            before, used = used, time.thread_time()
            copier.concurrency.leave_out(used - before)

    def work() -> None:
        try:
            with copier.liveness.working(listing.route.source.url):
                listing.run()
        except BaseException as error:  # raised again in the main thread
            failures.append(error)
        finally:
            start.end()

    listing.on_entry = on_entry
    thread = threading.Thread(target=work, name="listing")
    thread.start()
    try:
        threads.run(start.get, count, on_tick=on_tick)
    finally:
        start.end()
        own.set("no more files are wanted")
        with copier.liveness.aside():
            thread.join()
    if threads.fatal is not None:
        raise threads.fatal
    if failures:
        (error,) = failures
        if isinstance(error, JobtoolError) and error.retryable and not threads.may_go_on:
            raise StoppedError("no more files were wanted") from error  # without other tries
        raise error
