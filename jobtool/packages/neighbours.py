"""Small members that are read with those after them: by one request, if readers take them in order.

A reader that takes members here and there gets each by a request of its own, and no bytes more.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from jobtool.packages.membertable import MemberTable
from jobtool.packages.runs import HOLE_BYTES, RUN_BYTES

#: Larger members are read alone.
SMALL_BYTES = 256 * 1024

#: A member is read with those after it if one of so many before it in the tar was just asked for.
_NEAR = 64

#: How many runs are kept: more than readers work on at a time.
_MOST_RUNS = 8

#: Returns so many bytes of the tar from an offset.
Read = Callable[[int, int], memoryview]


class _Run:
    """Members ``first`` to ``last``, and their bytes once these are read."""

    def __init__(self, first: int, last: int, start: int) -> None:
        self.first, self.last, self.start = first, last, start
        self.is_over = threading.Event()
        self.data: memoryview | None = None


class Neighbours:
    """Reads small members of a package for threads. ``is_wanted`` says which may be asked for.

    Holds up to eight runs of 4 MiB.
    """

    def __init__(
        self, table: MemberTable, read: Read, is_wanted: Callable[[int], bool] = lambda _: True
    ) -> None:
        self._table = table
        self._read = read
        self._is_wanted = is_wanted
        self._lock = threading.Lock()
        self._runs: deque[_Run] = deque(maxlen=_MOST_RUNS)
        self._asked: deque[int] = deque(maxlen=_NEAR)

    def read(self, number: int) -> memoryview:
        """Return a member's headers and data. Raises the errors of ``read``."""
        start, end = self._table.start_of(number), self._table.end_of(number)
        run, is_new = self._run_of(number)
        if run is None:
            return self._read(start, end - start)
        if is_new:
            self._fill(run)
        run.is_over.wait()
        if run.data is None:  # the thread that read it has failed
            return self._read(start, end - start)
        return run.data[start - run.start : end - run.start]

    def _run_of(self, number: int) -> tuple[_Run | None, bool]:
        """Return the run that holds a member, and whether the caller must fill it."""
        with self._lock:
            run = next((run for run in self._runs if run.first <= number <= run.last), None)
            if run is None and any(0 < number - asked <= _NEAR for asked in self._asked):
                last = self._last_after(number)
                if last > number:
                    run = _Run(number, last, self._table.start_of(number))
                    self._runs.append(run)
                    self._asked.append(number)
                    return run, True
            self._asked.append(number)
            return run, False

    def _last_after(self, number: int) -> int:
        """Return the last member of the run that begins with a member."""
        table, last = self._table, number
        for following in range(number + 1, len(table)):
            if (
                table.size_of(following) > SMALL_BYTES
                or table.end_of(following) - table.start_of(number) > RUN_BYTES
                or table.start_of(following) - table.end_of(last) > HOLE_BYTES
                or not self._is_wanted(following)
            ):
                break
            last = following
        return last

    def _fill(self, run: _Run) -> None:
        try:
            run.data = self._read(run.start, self._table.end_of(run.last) - run.start)
        except BaseException:
            with self._lock:
                if run in self._runs:
                    self._runs.remove(run)
            raise
        finally:
            run.is_over.set()
