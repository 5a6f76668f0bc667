"""Listing a tree: in the order of its paths, by several threads where its filesystem is slow.

What is still to be listed stands in a line of steps, in order. A step is a run of names of one
folder. Taking it goes down into folders until so many entries are found or so much time is over;
what is left of its folders are new steps in its place. On a fast filesystem the first step is
always taken here, and no thread is started. On a slow one threads take the first steps of the line
ahead of time: names of one folder, or of the folders that come next.
"""

from __future__ import annotations

import contextlib
import resource
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from jobtool.stores.local.listing import look, marked_names
from jobtool.stores.local.tree import Tree
from jobtool.stores.store import Entry, Special, Unlisted

#: How many threads list a tree whose filesystem is slow. They wait most of the time.
DEFAULT_LISTING_THREADS = 16

#: A filesystem is slow if a look takes so long, and the thread mostly has to wait for it: on a busy
#: machine a look may take long, too, without waiting.
_SLOW_SECONDS, _SLOW_WAITS = 100e-6, 0.5

#: The most entries and seconds of one step, and how many names a thread is given at a time.
_STEP_ENTRIES, _STEP_SECONDS, _RUN_NAMES = 512, 0.02, 32

#: How many looks come between two looks at the clock.
_LOOKS = 8

#: After how many entries by threads it is tried again whether they are needed, by how many entries.
_REVIEW_ENTRIES, _SAMPLE_ENTRIES = 20_000, 16

Listed = Entry | Special | Unlisted


@dataclass(slots=True)
class _Run:
    """Marked names of a folder that are to be listed, from ``start`` to ``stop``; at least one."""

    prefix: str
    names: Sequence[bytes]
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class _Taken:
    """What a step has found, what is left of it in order, and what it took.

    ``waits`` is how often the thread had to wait: its voluntary context switches.
    """

    found: list[Listed]
    left: list[_Run]
    looks: int
    waits: int
    seconds: float

    @property
    def is_slow(self) -> bool:
        return self.seconds >= _SLOW_SECONDS * self.looks and self.waits >= _SLOW_WAITS * self.looks


@dataclass(slots=True)
class _Step:
    run: _Run
    taken: Future[_Taken] | None = None  # by a thread
    is_unfolded: bool = False  # whether what is left of it stands behind it in the line


def list_tree(tree: Tree, threads: int = DEFAULT_LISTING_THREADS) -> Iterator[Listed]:
    """Yield everything below the root, links by policy.

    Holds the names of the folders on the way down, and of those that up to ``threads`` threads read
    ahead. The threads end with the iterator. Raises what reading the root raises, and errors that
    are the whole store's.
    """
    names = marked_names(tree, "")
    walk = _Walk(tree, threads)
    if names:
        walk.line.append(_Step(_Run("", names, 0, len(names))))
    try:
        while walk.line:
            yield from walk.next()
    finally:
        walk.end()


class _Walk:
    def __init__(self, tree: Tree, threads: int) -> None:
        self.line: list[_Step] = []
        self._tree = tree
        self._threads = threads
        self._is_over = False
        self._pool: ThreadPoolExecutor | None = None
        self._is_slow = False
        self._entries_until_review = 0
        self._most_entries = _SAMPLE_ENTRIES

    def next(self) -> list[Listed]:
        """Take the first step of the line, or wait for the thread that does."""
        step = self.line[0]
        if step.taken is None:
            taken = self._take(step.run, self._most_entries)
            self._most_entries = _STEP_ENTRIES
            self._is_slow = taken.is_slow and self._threads > 1
            self._entries_until_review = _REVIEW_ENTRIES
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
        """Give the first steps of the line to threads."""
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
                item = look(self._tree, top.prefix, top.names[index])
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
        """End the threads, each after its look."""
        self._is_over = True
        if self._pool is not None:
            with contextlib.suppress(RuntimeError):  # the interpreter is ending
                self._pool.shutdown(cancel_futures=True)
