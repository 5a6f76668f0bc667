"""Work by several threads, with its results in the order of the tasks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

R = TypeVar("R")

#: How many tasks for each thread are under way or wait for their turn.
_AHEAD = 4


def in_order(tasks: Iterable[Callable[[], R]], *, threads: int) -> Generator[R, None, None]:
    """Yield the result of each task, in the order of the tasks; ``tasks`` is read as needed.

    Raises what a task raises, once the results of those before it were yielded; the others are then
    dropped.
    """
    pending: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for task in tasks:
            pending.append(pool.submit(task))
            if len(pending) == _AHEAD * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
