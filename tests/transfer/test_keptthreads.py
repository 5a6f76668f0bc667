"""Threads that are kept for the next work."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

from jobtool.transfer.keptthreads import KeptThreads

NAME = "kept-here"


def own_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(NAME)]


def test_one_thread_does_one_work_after_another() -> None:
    threads = KeptThreads(NAME)
    did: set[int] = set()
    for _ in range(20):
        running = threads.run(lambda: did.add(threading.get_native_id()))
        assert running.wait()
        assert running.wait(0.0)
    assert len(did) == 1
    threads.close()


def test_all_work_goes_on_at_the_same_time() -> None:
    threads = KeptThreads(NAME)
    barrier = threading.Barrier(5, timeout=30)

    def meet() -> None:
        barrier.wait()

    for _ in range(3):
        running = [threads.run(meet) for _ in range(4)]
        assert not running[0].wait(0.0)
        barrier.wait()  # fails unless four threads wait here
        assert all(each.wait(30) for each in running)
    assert len(own_threads()) == 4
    ending = own_threads()
    threads.close()
    for thread in ending:
        thread.join(30)
    assert not own_threads()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_work_that_raises_is_over_and_other_work_is_done() -> None:
    threads = KeptThreads(NAME)
    failing: list[threading.Thread] = []

    def fail() -> None:
        failing.append(threading.current_thread())
        raise ValueError("a bug")

    assert threads.run(fail).wait(30)
    failing[0].join(30)
    did = threading.Event()
    assert threads.run(did.set).wait(30)
    assert did.is_set()
    threads.close()


def test_idle_threads_hold_nothing_and_end_with_their_owner() -> None:
    class Work:
        def __call__(self) -> None:
            pass

    threads = KeptThreads(NAME)
    work = Work()
    held = weakref.ref(work)
    threads.run(work).wait(30)
    del work
    ending = own_threads()
    threads.run(lambda: None).wait(30)  # the thread has let go of the first
    gc.collect()
    assert held() is None
    del threads
    gc.collect()
    for thread in ending:
        thread.join(30)
        assert not thread.is_alive()
