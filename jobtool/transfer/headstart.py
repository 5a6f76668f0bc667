"""A head start: the first files of a large tree are sent while the rest is still being listed.

Only small data files get one. Large files go first and the metadata of data sets goes last in the
whole job, and these orders are known only when all files are listed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from jobtool.transfer.plan import Plan

_LOOK_SECONDS = 0.1


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
            self._changed.notify()

    def end(self) -> None:
        """Return no more files from ``get``: all are listed, or listing has failed."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def get(self) -> int | None:
        """Wait for the next file that may be sent, and return it; None once there are no more."""
        with self._changed:
            while not self._is_over and self._may_go_on():
                if self._next == self._listed:
                    self._changed.wait(_LOOK_SECONDS)
                    continue
                number = self._next
                self._next += 1
                is_small = self._plan.size_of(number) < self._large_bytes
                if is_small and not self._plan.is_metadata(number):
                    return number
            return None
