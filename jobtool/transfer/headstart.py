"""A head start: the first files of a large tree go while the rest of it is still being listed.

Only small files, and none that make a data set readable: large ones go first and metadata goes last
of the whole job, and both orders are known when all is listed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from jobtool.transfer.plan import Plan

_LOOK_SECONDS = 0.1


class HeadStart:
    """The files of a plan that may go already, by number, in the order in which they are listed.

    One thread adds to the plan and calls ``note``; others call ``take``.
    """

    def __init__(self, plan: Plan, *, large_bytes: int, may_go_on: Callable[[], bool]) -> None:
        self._plan = plan
        self._large_bytes = large_bytes
        self._may_go_on = may_go_on
        self._listed = len(plan)  # what is added after that may not be whole yet
        self._next = 0
        self._is_over = False
        self._changed = threading.Condition()

    def note(self) -> None:
        """Take note of another file in the plan."""
        with self._changed:
            self._listed += 1
            self._changed.notify()

    def end(self) -> None:
        """Give out no more: all is listed, or listing has failed."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def take(self) -> int | None:
        """Return the next that may go, waiting for it; None once there will be none."""
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
