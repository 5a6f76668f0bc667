"""The number of files that are transferred at a time, adapted to what the threads wait for."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from typing import NamedTuple

#: The number of threads to begin with.
FIRST_THREADS = 2

#: How many small files a worker transfers at a time at most, unless the user says otherwise.
MOST_SMALL_FILES = 64

#: Python code runs in one thread at a time. If the process uses less of a CPU than this, its
#: threads wait for storage or a network, and more of them help.
_WAITING_BELOW = 0.8

#: The same for more than the usual number. What uses more can't gain much before it needs a whole
#: CPU, and on a busy machine a process that only waits for a CPU uses less than one, too.
_WAITING_MUCH_BELOW = 0.6

#: Larger files spend their time in calls that don't hold Python's lock: reading, hashing, sending.
LARGE_BYTES = 1024 * 1024

#: The least time in seconds over which the use of CPUs, and the rate, are measured.
_LOOK_SECONDS = 0.05

#: Twice as many threads must do so many times the files in a second, or they aren't kept.
_LEAST_GAIN = 1.2

#: If they do fewer than so many times the files, as well as can be told by then, that ends at once.
_HARM = 0.6

#: For how many files of each thread nothing is measured after a change, since they began before it,
#: and how many of each are measured at least: files end in waves, and a wave more or less must not
#: decide.
_SETTLING = 1
_MEASURED = 3

#: How long no more threads are tried after they didn't help, in seconds: twice as long each time,
#: and at least so many times as long as that number was in use.
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 64.0
_PAUSES_TO_TRY = 4

#: In how many runs more threads must turn out to help. Most runs judge them in a moment.
_RUNS_TO_TRY = 3

#: With so many small files at a time a process may have several hundred files open.
_OPEN_FILES = 1024


def most_small_files(open_files: int | None = None) -> int | None:
    """Return how many small files to transfer at a time at most, if the user doesn't say.

    ``open_files`` is the limit on open files, by default that of this process. None if it is too
    low for more than the files of any size.
    """
    if open_files is None:
        open_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    is_enough = open_files == resource.RLIM_INFINITY or open_files >= _OPEN_FILES
    return MOST_SMALL_FILES if is_enough else None


class _Mark(NamedTuple):
    """What was done until a moment ``at``, with ``cpu`` seconds of CPU time."""

    at: float
    cpu: float
    files: int
    bytes: int


class _Rate(NamedTuple):
    """Files and bytes a second, and how many CPUs the process used."""

    files: float
    bytes: float
    cpus: float

    def is_better_than(self, other: _Rate) -> bool:
        """Whether more gets done. Smaller files than before alone aren't more."""
        return self.files >= _LEAST_GAIN * other.files and self.bytes >= other.bytes


class Concurrency:
    """How many files a worker transfers at a time: up to ``most``, or ``most_small`` small ones.

    Threads that wait for a network or a parallel filesystem cost nothing, and more of them get more
    done. With small files and storage that answers at once, as a page cache does, they only wait
    for each other. So a worker begins with ``first``. It doubles their number as long as they leave
    CPUs idle, or files are large, and keeps it for its next jobs.

    Above ``most`` it does so only for small files, and keeps only what is worth it: twice as many
    threads stay if they do ``_LEAST_GAIN`` times the files in a second. If not, the number before
    is taken again, and the next look for more is put off, for longer each time. A store that has
    trouble is never asked for more: half of the number above ``most`` goes.

    ``cpu_seconds`` is the CPU time that this process has used, ``monotonic`` the clock.
    ``has_waited`` says whether threads have waited for a limit since it was last called: more of
    them wouldn't help then. One thread calls ``begin``, ``expect`` and ``adapted``. No two threads
    may call ``note_file`` at once, and only the thread that lists may call ``leave_out``. Any may
    call ``note_trouble``.
    """

    def __init__(
        self,
        most: int,
        *,
        most_small: int | None = None,
        first: int = FIRST_THREADS,
        has_waited: Callable[[], bool] = lambda: False,
        cpu_seconds: Callable[[], float] = time.process_time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.most_small = most if most_small is None else max(most, most_small)
        #: How many threads there should be.
        self.wanted = min(first, most)
        self._most = most
        self._has_waited = has_waited
        self._cpu_seconds = cpu_seconds
        self._monotonic = monotonic
        self._left_out = 0.0
        self._files = self._bytes = 0
        self._is_troubled = False
        self._of_use = self.most_small
        self._before: tuple[int, _Rate] | None = None  # a doubling that isn't judged yet
        self._set_at = monotonic()
        self._runs = 0  # begun since then
        self._pause = _FIRST_PAUSE_SECONDS
        self._try_at = float("-inf")
        self._changed = self._mark()  # the last doubling, or the beginning of a run after it
        self._measured_from: _Mark | None = None
        self._settled_at = 0
        self._begin_look()

    def _mark(self) -> _Mark:
        used = self._cpu_seconds() - self._left_out
        return _Mark(self._monotonic(), used, self._files, self._bytes)

    def _begin_look(self) -> None:
        self._looked = self._mark()
        self._measure_anew()

    def begin(self, of_use: int | None = None) -> int:
        """Return the number of threads to begin with.

        ``of_use`` is how many can be used at most, as there are no more files.
        """
        self._of_use = self.most_small if of_use is None else of_use
        self._begin_look()
        self._runs += 1
        if self._before is not None and self._runs > _RUNS_TO_TRY:
            self._step_back(to=self._before[0])
        return self.wanted

    def expect(self, size: int) -> None:
        """Tell the size of the first file. The number for small files isn't used for large ones."""
        if size >= LARGE_BYTES and self.wanted > self._most:
            self._set(self._most)

    def leave_out(self, seconds: float) -> None:
        """Don't count CPU time of a thread that does other work, such as listing."""
        self._left_out += seconds

    def note_file(self, size: int) -> None:
        """Record that a file of ``size`` bytes is done."""
        self._files += 1
        self._bytes += size
        if self._measured_from is None and self._files >= self._settled_at:
            self._measured_from = self._mark()

    def note_trouble(self) -> None:
        """Record that a store doesn't answer, fails, or asks for fewer requests."""
        self._is_troubled = True

    def adapted(self) -> int:
        """Return how many threads there should be now."""
        mark = self._mark()
        if mark.at - self._looked.at >= _LOOK_SECONDS:
            looked, self._looked = self._looked, mark
            is_troubled, self._is_troubled = self._is_troubled, False
            may_grow = not self._has_waited() and not is_troubled
            files = mark.files - looked.files
            is_large = mark.bytes - looked.bytes >= LARGE_BYTES * files
            if self.wanted < self._most:
                if may_grow and (_rate(looked, mark).cpus < _WAITING_BELOW or is_large):
                    self._set(min(2 * self.wanted, self._most))
            elif is_troubled:
                self._step_back(to=self.wanted // 2)
            elif is_large and files:
                self._step_back(to=self._most)
            elif self._most < min(self.most_small, self._of_use):
                self._adapt_to_rate(mark, may_grow=may_grow)
        return self.wanted

    def _adapt_to_rate(self, mark: _Mark, *, may_grow: bool) -> None:
        """Judge the last doubling, and double again, once enough is measured."""
        if self._before is not None:
            before, its_rate = self._before
            usual = its_rate.files * (mark.at - self._changed.at)
            if 2 * self.wanted <= usual and mark.files - self._changed.files < _HARM * usual:
                self._step_back(to=before)
                return
        start = self._measured_from
        if start is None or mark.at - start.at < _LOOK_SECONDS:
            return
        if mark.files - start.files < _MEASURED * self.wanted:
            return
        rate = _rate(start, mark)
        if self._before is not None:
            before, its_rate = self._before
            if not may_grow or not rate.is_better_than(its_rate):
                self._step_back(to=before)
                return
            self._before = None
        is_room = self.wanted < min(self.most_small, self._of_use)
        if may_grow and is_room and rate.cpus < _WAITING_MUCH_BELOW and mark.at >= self._try_at:
            before = self.wanted
            self._set(min(2 * before, self.most_small))
            self._before = before, rate
        else:
            self._measure_anew()

    def _step_back(self, *, to: int) -> None:
        """Use fewer threads, but no fewer than for files of any size, and try no more for now."""
        now = self._monotonic()
        pause = max(self._pause, _PAUSES_TO_TRY * (now - self._set_at))
        self._try_at = now + min(pause, _LONGEST_PAUSE_SECONDS)
        if self.wanted > self._most:
            self._set(max(to, self._most))
            self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)

    def _set(self, wanted: int) -> None:
        self.wanted = wanted
        self._before = None
        self._set_at, self._runs = self._monotonic(), 0
        self._measure_anew()

    def _measure_anew(self) -> None:
        self._changed = self._mark()
        self._measured_from = None
        self._settled_at = self._files + _SETTLING * self.wanted


def _rate(start: _Mark, end: _Mark) -> _Rate:
    seconds = end.at - start.at
    return _Rate(
        (end.files - start.files) / seconds,
        (end.bytes - start.bytes) / seconds,
        (end.cpu - start.cpu) / seconds,
    )
