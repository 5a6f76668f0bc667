"""Threads that look at jobs. They never hold up the end of the process, whatever they wait for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")

Task = Callable[[], None]


class Lookers:
    """Runs functions in ``count`` threads. Unlike those of a pool, nobody waits for their end.

    A thread may hang in a library that waits for a server. So Ctrl-C ends a dry run at once.
    """

    def __init__(self, count: int) -> None:
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._count = count
        for _ in range(count):
            threading.Thread(target=self._work, name="look", daemon=True).start()

    def submit(self, function: Callable[[], T]) -> Future[T]:
        """Have a function called; return its result to come."""
        future: Future[T] = Future()

        def run() -> None:
            try:
                result = function()
            except BaseException as error:  # raised where the result is asked for
                future.set_exception(error)
            else:
                future.set_result(result)

        self._tasks.put(run)
        return future

    def close(self) -> None:
        """End the threads once they have done what was submitted. Don't wait for that."""
        for _ in range(self._count):
            self._tasks.put(None)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()
