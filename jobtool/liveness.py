"""Detect worker threads that hang in the kernel.

A read from a file server that is gone may never return, and no timeout ends it. The thread sleeps
in the kernel while other threads run, such as those that send heartbeats. The kernel keeps waking
a thread that is merely slow: for bytes, however few, for work, for a timeout. Linux counts this
for each thread: its context switches (``/proc/self/task/*/status``) and its time on a CPU
(``stat``). Source: proc(5).
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator

_TASKS = "/proc/self/task"

#: How threads are named that work for Python threads but aren't Python's: obstore's runtime.
SERVANTS = (b"tokio",)

#: The name of a thread that waits for a database. Nothing may be able to end it.
QUERY_THREAD = "query"

#: How many times the threads are checked within the time that they may stand still.
_LOOKS = 8
_LONGEST_PAUSE_SECONDS = 10.0

_Signs = dict[int, tuple[bytes, ...]]

#: What a thread works on, or a function that returns it.
_On = str | Callable[[], str]


class Liveness:
    """Watches the working threads, which register by ``working``.

    Times are in seconds of the ``monotonic`` clock. Threads whose names begin with one of
    ``servants`` are watched, too.
    """

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        servants: tuple[bytes, ...] = SERVANTS,
    ) -> None:
        self._monotonic = monotonic
        self._servants = servants
        self._lock = threading.Lock()
        self._at: dict[int, list[_On]] = {}  # what each thread works on, the innermost last
        self._signs: _Signs = {}
        self._looked_at = monotonic()
        self._silent_seconds = 0.0

    def working(self, on: str | Callable[[], str] = "") -> _Working:
        """Watch this thread during a ``with`` block. ``on`` names what it works on.

        It may be a function, which is only called if the thread hangs.
        """
        return _Working(self._lock, self._at, on)

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Don't watch this thread during the block: it only supervises others."""
        me = threading.get_native_id()
        with self._lock:
            mine = self._at.pop(me, None)
        try:
            yield
        finally:
            if mine is not None:
                with self._lock:
                    self._at[me] = mine

    def join(self) -> None:
        """Watch this thread until it ends."""
        with self._lock:
            self._at.setdefault(threading.get_native_id(), []).append("")

    def look(self, *, longest_seconds: float) -> float:
        """Check the threads. Return for how many seconds none of them has moved.

        At most ``longest_seconds`` of the time since the last check count: if the checking thread
        couldn't run either, the whole process was frozen.
        """
        with self._lock:
            watched = set(self._at)
        try:
            signs = _signs(watched, self._servants)
        except OSError:  # no evidence of anything: out of open files, perhaps
            with self._lock:
                self._silent_seconds, self._looked_at = 0.0, self._monotonic()
            return 0.0
        with self._lock:
            for ended in watched - signs.keys():
                self._at.pop(ended, None)
            now = self._monotonic()
            if signs == self._signs:
                self._silent_seconds += min(now - self._looked_at, longest_seconds)
            else:
                self._silent_seconds = 0.0
            self._signs, self._looked_at = signs, now
            return self._silent_seconds

    def works_on(self) -> list[str]:
        """Return what the threads work on."""
        with self._lock:
            innermost = [on[-1] for on in self._at.values() if on]
        return sorted({on() if callable(on) else on for on in innermost} - {""})


class _Working:
    """A block in which a thread is watched. ``lock`` protects ``at``, what each works on."""

    __slots__ = ("_at", "_lock", "_me", "_on")

    def __init__(self, lock: threading.Lock, at: dict[int, list[_On]], on: _On) -> None:
        self._lock, self._at, self._on = lock, at, on
        self._me = threading.get_native_id()

    def __enter__(self) -> None:
        with self._lock:
            self._at.setdefault(self._me, []).append(self._on)

    def __exit__(self, *raised: object) -> None:
        with self._lock:
            mine = self._at.get(self._me)
            if mine:
                mine.pop()
            if not mine:
                self._at.pop(self._me, None)


class Watchdog:
    """A thread that calls ``on_stall`` when no thread has moved for ``stall_seconds``.

    It calls ``on_stall`` once for each stall. Use the watchdog in a ``with`` statement.
    """

    def __init__(
        self, liveness: Liveness, stall_seconds: float, on_stall: Callable[[], None]
    ) -> None:
        self._liveness = liveness
        self._stall_seconds = stall_seconds
        self._on_stall = on_stall
        self._pause_seconds = min(stall_seconds / _LOOKS, _LONGEST_PAUSE_SECONDS)
        self._is_over = threading.Event()
        # A daemon: ``on_stall`` may hang, too.
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> Watchdog:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._is_over.set()

    def _watch(self) -> None:
        is_told = False
        while not self._is_over.wait(self._pause_seconds):
            silent = self._liveness.look(longest_seconds=2 * self._pause_seconds)
            is_stalled = silent >= self._stall_seconds
            if is_stalled and not is_told:
                self._on_stall()
            is_told = is_stalled


def _signs(watched: set[int], servants: tuple[bytes, ...]) -> _Signs:
    """Return the counters that change when a watched thread or one of ``servants`` moves."""
    signs = {}
    for name in os.listdir(_TASKS):
        task = f"{_TASKS}/{name}"
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
            is_watched = int(name) in watched
            if not is_watched and not _read(f"{task}/comm").startswith(servants):
                continue
            switches = tuple(
                line for line in _read(f"{task}/status").splitlines() if b"ctxt_switches" in line
            )
            fields = _read(f"{task}/stat").rpartition(b")")[2].split()
            signs[int(name)] = (*switches, *fields[11:13])  # utime and stime
    return signs


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
