"""List a tree in the order of its paths, by several threads if its filesystem is slow.

The remaining work is a queue of steps, in order. A step is a run of names of one folder. Taking a
step descends into folders until enough entries are found or enough time has passed. The rest of
those folders becomes new steps in its place. On a fast filesystem the calling thread takes the
first step each time, and no thread is started. On a slow filesystem threads take the first steps
of the queue ahead of time: names of one folder, or of the folders that come next.
"""

from __future__ import annotations

import contextlib
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import msgspec

from jobtool.stores.local.listing import look, marked_names
from jobtool.stores.local.tree import Tree
from jobtool.stores.store import Entry, Special, Unlisted

#: How many threads list a tree on a slow filesystem. They wait most of the time.
DEFAULT_LISTING_THREADS = 16

#: A filesystem is slow if examining a name takes this long and the thread mostly waits for it. On a
#: busy machine it may take long without waiting.
SLOW_SECONDS, SLOW_WAITS = 100e-6, 0.5

#: The maximum entries and seconds of one step, and the number of names of a thread's step.
_STEP_ENTRIES, _STEP_SECONDS, _RUN_NAMES = 512, 0.02, 32

#: How many names are examined between two looks at the clock.
_LOOKS = 8

#: After how many entries by threads the need for them is measured again, and with how many entries.
REVIEW_ENTRIES, _SAMPLE_ENTRIES = 20_000, 16

Listed = Entry | Special | Unlisted


class _Run(msgspec.Struct):
    """Marked names of a folder to list, from ``start`` to ``stop``: at least one."""

    prefix: str
    names: Sequence[bytes]
    start: int
    stop: int


class _Taken(msgspec.Struct, frozen=True):
    """What a step found, what is left of it in order, and what it took.

    ``waits`` is how often the thread waited: its voluntary context switches.
    """

    found: list[Listed]
    left: list[_Run]
    looks: int
    waits: int
    seconds: float

    @property
    def is_slow(self) -> bool:
        return self.seconds >= SLOW_SECONDS * self.looks and self.waits >= SLOW_WAITS * self.looks


class _Step(msgspec.Struct):
    run: _Run
    taken: Future[_Taken] | None = None  # by a thread
    is_unfolded: bool = False  # whether its rest is behind it in the queue


def list_tree(
    tree: Tree,
    threads: int = DEFAULT_LISTING_THREADS,
    excludes: Callable[[str], bool] | None = None,
) -> Iterator[Listed]:
    """Yield everything below the root, with links by policy.

    A folder that ``excludes`` is the special ``excluded-folder``, and isn't opened.

    Holds the names of the folders on the way down, and of those that up to ``threads`` threads read
    ahead. The threads end with the iterator. Raises the errors of reading the root and those of the
    whole store.
    """
    names = marked_names(tree, "")
    walk = _Walk(tree, threads, excludes)
    if names:
        walk.line.append(_Step(_Run("", names, 0, len(names))))
    try:
        while walk.line:
            yield from walk.next()
    finally:
        walk.end()


class _Walk:
    def __init__(self, tree: Tree, threads: int, excludes: Callable[[str], bool] | None) -> None:
        self.line: list[_Step] = []
        self._tree = tree
        self._threads = threads
        self._excludes = excludes
        self._is_over = False
        self._pool: ThreadPoolExecutor | None = None
        self._is_slow = False
        self._entries_until_review = 0
        self._most_entries = _SAMPLE_ENTRIES

    def next(self) -> list[Listed]:
        """Take the first step of the queue, or wait for the thread that does."""
        step = self.line[0]
        if step.taken is None:
            taken = self._take(step.run, self._most_entries)
            self._most_entries = _STEP_ENTRIES
            self._is_slow = taken.is_slow and self._threads > 1
            self._entries_until_review = REVIEW_ENTRIES
        else:
            taken = step.taken.result()
            self._entries_until_review -= len(taken.found)
        if not step.is_unfolded:
            self.line[1:1] = [_Step(run) for run in taken.left]
        del self.line[0]
        if self._is_slow and self._entries_until_review > 0:
            self._look_ahead()
        elif self._is_slow:
            self._most_entries = _SAMPLE_ENTRIES  # of the next step that no thread has begun
        return taken.found

    def _look_ahead(self) -> None:
        """Pass the first steps of the queue to threads."""
        under_way = index = 0
        while index < min(len(self.line), 4 * self._threads) and under_way < 2 * self._threads:
            step = self.line[index]
            if step.taken is None:
                run = step.run
                middle = run.start + _RUN_NAMES
                if middle < run.stop:
                    step.run = _Run(run.prefix, run.names, run.start, middle)
                    rest = _Run(run.prefix, run.names, middle, run.stop)
                    self.line.insert(index + 1, _Step(rest))
                step.taken = self._submit(step.run)
            if not step.taken.done():
                under_way += 1
            elif not step.is_unfolded and step.taken.exception() is None:
                step.is_unfolded = True
                self.line[index + 1 : index + 1] = [_Step(run) for run in step.taken.result().left]
            index += 1

    def _submit(self, run: _Run) -> Future[_Taken]:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="list")
        return self._pool.submit(self._take, run, _STEP_ENTRIES)

    def _take(self, run: _Run, most: int) -> _Taken:
        found: list[Listed] = []
        stack = [run]
        looks = 0
        started, seconds = time.monotonic(), 0.0
        waits = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
        while stack and len(found) < most and seconds < _STEP_SECONDS and not self._is_over:
            top = stack.pop()
            until = min(top.start + _LOOKS, top.stop)
            for index in range(top.start, until):
                item = look(self._tree, top.prefix, top.names[index], self._excludes)
                looks += 1
                if isinstance(item, tuple):
                    until = index + 1
                    break
                found.append(item)
            if until < top.stop:
                stack.append(_Run(top.prefix, top.names, until, top.stop))
            if isinstance(item, tuple):
                path, names = item
                stack.append(_Run(f"{path}/", names, 0, len(names)))
            seconds = time.monotonic() - started
        waits = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - waits
        return _Taken(found, stack[::-1], looks, waits, seconds)

    def end(self) -> None:
        """End the threads, each after its current name."""
        self._is_over = True
        if self._pool is not None:
            with contextlib.suppress(RuntimeError):  # the interpreter is ending
                self._pool.shutdown(cancel_futures=True)
