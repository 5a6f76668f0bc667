"""Calling a function for many items, several at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

#: How many calls are queued for each thread.
_AHEAD = 4


def in_parallel(
    function: Callable[[T], R],
    items: Iterable[T],
    *,
    threads: int,
    on_thread: Callable[[], None] | None = None,
) -> Generator[R, None, None]:
    """Yield the result of ``function`` for each item, in the order of the items.

    ``threads`` calls are made at a time. ``items`` is read only a bounded number ahead. The error
    of a call is raised when its turn comes. Calls that haven't begun by then aren't made. Each
    thread calls ``on_thread`` first.
    """
    pending: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="ask", initializer=on_thread)
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) == _AHEAD * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
