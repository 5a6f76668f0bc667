"""Threads that are kept for the next work: starting one costs as much as a small file."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue


class Running:
    """Work that a thread does, or has done."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.work = work
        self._is_under_way = threading.Lock()
        self._is_under_way.acquire()

    def wait(self, seconds: float = -1) -> bool:
        """Wait until the work is over, ``seconds`` at most; return whether it is.

        Work is over once it is done, or has raised an exception.
        """
        is_over = self._is_under_way.acquire(timeout=seconds)
        if is_over:
            self._is_under_way.release()
        return is_over

    def end(self) -> None:
        """Record that the work is over. Its thread calls this."""
        self._is_under_way.release()


_Inbox = SimpleQueue[Running | None]


class KeptThreads:
    """Runs work in threads, each in one of its own, and keeps those that have become idle.

    The threads are named ``name`` with a number. They end with ``close``, or with this object. They
    don't keep the process from ending: who gives them work waits for it.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._count = 0
        self._idle: deque[_Inbox] = deque()
        self._end = weakref.finalize(self, _end_all, self._idle)

    def run(self, work: Callable[[], None]) -> Running:
        """Begin some work; never wait for a thread. One thread at a time may call this.

        An exception of ``work`` ends its thread. Raises ``RuntimeError`` if a thread is needed and
        can't be started.
        """
        running = Running(work)
        if self._idle:
            inbox = self._idle.pop()
        else:
            inbox = SimpleQueue()
            name = f"{self._name}-{self._count}"
            threading.Thread(
                target=_serve, args=(inbox, self._idle), name=name, daemon=True
            ).start()
            self._count += 1
        inbox.put(running)
        return running

    def close(self) -> None:
        """End the idle threads."""
        _end_all(self._idle)


def _serve(inbox: _Inbox, idle: deque[_Inbox]) -> None:
    while (running := inbox.get()) is not None:
        try:
            running.work()
            idle.append(inbox)  # first, so that whoever waits for it finds this thread idle
        finally:
            running.end()
        del running  # it holds the files of a job


def _end_all(idle: deque[_Inbox]) -> None:
    while idle:
        idle.popleft().put(None)
