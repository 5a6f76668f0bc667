"""Work in a background thread. The caller's thread makes its calls, and may interrupt it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, Queue
from typing import TypeVar

from jobtool.stop import Stop

T = TypeVar("T")

#: A call for the caller's thread to make.
Call = Callable[[], None]

#: How many calls may wait. Beyond that the work waits for the caller's thread.
_MOST_CALLS = 1000

#: How often, in seconds, the caller's thread checks that the working thread is still running.
LOOK_SECONDS = 1.0


def in_background(work: Callable[[Callable[[Call], None]], T], stop: Stop) -> T:
    """Do ``work`` in another thread and return what it returns.

    ``work`` is passed a function that has the caller's thread make a call. Those calls are made in
    order, and all of them before this returns.

    An exception in the caller's thread meanwhile, such as ``KeyboardInterrupt``, sets ``stop`` and
    is raised again once the work has ended. After a second one the work stops at once and leaves
    everything as it is. Raises what the work raises.
    """
    calls: Queue[Call | None] = Queue(_MOST_CALLS)
    results: list[T] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work(calls.put))
        except BaseException as error:
            failures.append(error)
        finally:
            calls.put(None)

    thread = threading.Thread(target=run, name="jobtool")
    interruptions: list[BaseException] = []
    is_begun = False
    while True:
        try:
            try:
                if not is_begun:
                    is_begun = True
                    thread.start()
                _make_calls(calls, thread)
                break
            except BaseException as error:
                _ask_to_stop(stop, interruptions, error)
        except BaseException as error:  # a second one came while the first was handled
            _ask_to_stop(stop, interruptions, error)
    if interruptions:
        raise interruptions[0] from (failures[0] if failures else None)
    if failures:
        raise failures[0]
    return results[0]


def _ask_to_stop(stop: Stop, interruptions: list[BaseException], error: BaseException) -> None:
    interruptions.append(error)
    if len(interruptions) > 1:
        stop.lose("interrupted again")
    else:
        stop.set("interrupted")


def _make_calls(calls: Queue[Call | None], thread: threading.Thread) -> None:
    """Make the calls as they come, until the thread that they come from has ended."""
    while True:
        has_ended = not thread.is_alive()  # checked first: an ended thread has put all its calls
        try:
            call = calls.get(timeout=0 if has_ended else LOOK_SECONDS)
        except Empty:
            if has_ended:
                return
            continue
        if call is None:
            thread.join()
            return
        call()
