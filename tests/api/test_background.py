"""Work in a background thread has the caller's thread make its calls."""

from __future__ import annotations

import threading

import pytest

from jobtool.api import background
from jobtool.stop import Stop


def test_calls_that_come_while_the_caller_looks_whether_the_work_has_ended_are_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    may_end = threading.Event()

    class Thread(threading.Thread):
        def is_alive(self) -> bool:
            alive = super().is_alive()
            if not may_end.is_set():
                may_end.set()
                self.join()  # the work ends right after the check
            return alive

    monkeypatch.setattr(background, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(background.threading, "Thread", Thread)
    made: list[int] = []

    def work(call: background.Callable[[background.Call], None]) -> int:
        may_end.wait()
        for number in range(3):
            call(lambda number=number: made.append(number))
        return 7

    assert background.in_background(work, Stop()) == 7
    assert made == [0, 1, 2]
