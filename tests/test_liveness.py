"""Threads that hang in the kernel are distinguished from those that move, however slowly.

Threads of the clients of other tests in this process don't count: ``servants=()``.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobtool.liveness import Liveness, Watchdog

DEADLINE_SECONDS = 30


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def wait_until_still() -> None:
    """Wait until the hanging threads sleep and nothing wakes them, such as the GIL."""
    threads = [thread for thread in threading.enumerate() if thread.name == "hangs"]
    deadline = time.monotonic() + DEADLINE_SECONDS
    before: list[list[str]] = []
    while True:
        now = [signs(thread) for thread in threads]
        if now == before and all("State:\tS (sleeping)" in lines for lines in now):
            return
        assert time.monotonic() < deadline, now
        before = now
        time.sleep(0.02)


def signs(thread: threading.Thread) -> list[str]:
    status = Path(f"/proc/self/task/{thread.native_id}/status").read_text().splitlines()
    return [line for line in status if line.startswith("State:") or "ctxt_switches" in line]


@contextlib.contextmanager
def hanging(liveness: Liveness, on: str = "") -> Iterator[int]:
    """Have a thread read from an empty pipe; yield the end to write to."""
    reading, writing = os.pipe()
    is_there = threading.Event()

    def hang() -> None:
        with liveness.working(on):
            is_there.set()
            while os.read(reading, 1) == b"x":
                pass

    thread = threading.Thread(target=hang, name="hangs")
    thread.start()
    assert is_there.wait(DEADLINE_SECONDS)
    wait_until_still()
    try:
        yield writing
    finally:
        os.write(writing, b"end")
        thread.join()
        os.close(writing)
        os.close(reading)


def test_time_counts_as_silent_while_all_threads_hang(clock: Clock) -> None:
    liveness = Liveness(clock, servants=())
    with hanging(liveness, "a"), hanging(liveness, "b"):
        assert liveness.look(longest_seconds=10) == 0
        for second in (1, 2, 3):
            clock.now += 1
            assert liveness.look(longest_seconds=10) == second
        assert liveness.works_on() == ["a", "b"]


def test_one_that_moves_is_enough(clock: Clock) -> None:
    liveness = Liveness(clock, servants=())
    with hanging(liveness), hanging(liveness) as slow:
        liveness.look(longest_seconds=10)
        for _ in range(3):
            clock.now += 1
            os.write(slow, b"x")
            wait_until_still()
            assert liveness.look(longest_seconds=10) == 0


def test_a_thread_that_only_looks_after_others_does_not_count(clock: Clock) -> None:
    liveness = Liveness(clock, servants=())
    with liveness.working("the job"), hanging(liveness, "a file"):
        liveness.look(longest_seconds=10)
        clock.now += 1
        time.sleep(0.01)  # and wakes up again
        assert liveness.look(longest_seconds=10) == 0  # this one works
        with liveness.aside():
            liveness.look(longest_seconds=10)
            clock.now += 1
            assert liveness.look(longest_seconds=10) == 1
            assert liveness.works_on() == ["a file"]
        assert liveness.works_on() == ["a file", "the job"]


def test_what_a_thread_works_on_may_be_said_later() -> None:
    liveness = Liveness(servants=())
    names: list[str] = []
    with liveness.working(), liveness.working(lambda: names[-1]):
        names.append("a file")
        assert liveness.works_on() == ["a file"]
    assert liveness.works_on() == []


def test_a_process_that_was_frozen_as_a_whole_did_not_hang(clock: Clock) -> None:
    liveness = Liveness(clock, servants=())
    with hanging(liveness):
        liveness.look(longest_seconds=2)
        clock.now += 10_000
        assert liveness.look(longest_seconds=2) == 2


def test_the_watchdog_tells_each_stall_once(clock: Clock) -> None:
    liveness = Liveness(servants=())
    told = threading.Semaphore(0)
    with hanging(liveness) as hung, Watchdog(liveness, 0.4, told.release):
        assert told.acquire(timeout=DEADLINE_SECONDS)
        assert not told.acquire(timeout=0.6)
        os.write(hung, b"x")
        assert told.acquire(timeout=DEADLINE_SECONDS)
