"""When a call is given up: after tries, after the patience, or because other calls work."""

from __future__ import annotations

import pytest

from jobtool.errors import FileError, ServerError, StoreError, UnreachableError
from jobtool.stop import Stop
from jobtool.transfer.retry import SERVER_TRIES, Retry, Successes

PATIENCE = 100.0


class Clock:
    """A clock that moves while something sleeps or works."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def retry(clock):
    return Retry(tries=4, patience_seconds=PATIENCE, sleep=clock.sleep, monotonic=clock)


class Calls:
    """A function that works for a while and then raises; ``between`` is called each time."""

    def __init__(self, clock, error, *, work_seconds=0.0, fails=10**6, between=None):
        self.clock, self.error, self.work_seconds = clock, error, work_seconds
        self.fails, self.between, self.count = fails, between, 0

    def __call__(self):
        self.count += 1
        self.clock.now += self.work_seconds
        if self.between is not None:
            self.between()
        if self.count > self.fails:
            return "done"
        raise self.error


def test_what_never_passes_is_tried_once(retry, clock):
    calls = Calls(clock, FileError("no"))
    with pytest.raises(FileError):
        retry.call(calls)
    assert calls.count == 1


def test_what_may_pass_is_tried_a_few_times(retry, clock):
    calls = Calls(clock, StoreError("reset"))
    with pytest.raises(StoreError):
        retry.call(calls)
    assert calls.count == 4


@pytest.mark.parametrize("error", [UnreachableError("503"), ServerError("500")])
def test_patience_counts_from_the_first_failure_and_not_from_the_start(retry, clock, error):
    """A call that works for longer than the patience before it fails still gets all of it."""
    calls = Calls(clock, error, work_seconds=2 * PATIENCE, fails=1)
    assert retry.call(calls) == "done"


@pytest.mark.parametrize("error", [UnreachableError("503"), ServerError("500")])
def test_patience_ends(retry, clock, error):
    calls = Calls(clock, error)
    with pytest.raises(type(error)):
        retry.call(calls)
    assert PATIENCE <= clock.now < PATIENCE + 25


def test_patience_ends_also_where_the_clock_stands_still(clock):
    slept = []
    retry = Retry(patience_seconds=PATIENCE, sleep=slept.append, monotonic=clock)
    with pytest.raises(UnreachableError):
        retry.call(Calls(clock, UnreachableError("503")))
    assert PATIENCE <= sum(slept) < PATIENCE + 25


def test_patience_counts_from_the_last_success_of_the_call_itself(retry, clock):
    """Each try sends another part before it fails: tries continue as long as parts arrive."""
    own = Successes(clock)
    calls = Calls(
        clock, UnreachableError("503"), work_seconds=PATIENCE / 2, fails=20, between=own.note
    )
    assert retry.call(calls, own=own) == "done"
    assert clock.now > 10 * PATIENCE


def test_a_request_that_fails_while_others_work_is_given_up_after_some_tries(retry, clock):
    calls = Calls(clock, ServerError("500"), between=retry.elsewhere.note, work_seconds=1)
    with pytest.raises(ServerError):
        retry.call(calls)
    assert calls.count == SERVER_TRIES


def test_a_store_that_is_away_is_waited_for_whatever_worked_elsewhere(retry, clock):
    calls = Calls(clock, UnreachableError("503"), between=retry.elsewhere.note, fails=12)
    retry.patience_seconds = 1000
    assert retry.call(calls) == "done"


def test_what_worked_before_the_first_failure_says_nothing(retry, clock):
    retry.elsewhere.note()
    calls = Calls(clock, ServerError("500"), work_seconds=1, fails=SERVER_TRIES)
    assert retry.call(calls) == "done"


def test_no_further_try_is_made_once_asked_to_stop(retry, clock):
    calls = Calls(clock, UnreachableError("503"), between=retry.stop.set)
    with pytest.raises(UnreachableError):
        retry.call(calls)
    assert calls.count == 1


def test_patience_ends_with_its_last_second(retry, clock):
    retry = Retry(patience_seconds=PATIENCE, sleep=lambda seconds: None, monotonic=clock)
    calls = Calls(clock, UnreachableError("503"), work_seconds=PATIENCE)
    with pytest.raises(UnreachableError):
        retry.call(calls)
    assert calls.count == 2


def test_tries_of_a_request_are_counted_from_the_last_success_of_the_call_itself(retry, clock):
    retry.patience_seconds = 1000
    own = Successes(clock)

    def between():
        retry.elsewhere.note()
        if calls.count == 5:
            own.note()
        clock.now += 1

    calls = Calls(clock, ServerError("500"), between=between)
    with pytest.raises(ServerError):
        retry.call(calls, own=own)
    assert calls.count == 4 + SERVER_TRIES  # the fifth is the first without a success since


def test_each_error_is_told_before_the_next_try(clock):
    told = []
    retry = Retry(tries=3, sleep=clock.sleep, monotonic=clock, on_retry=told.append)
    error = StoreError("reset")
    with pytest.raises(StoreError):
        retry.call(Calls(clock, error))
    assert told == [error, error], "the last is raised"


def test_waits_grow_up_to_a_limit_and_end_with_a_stop(clock):
    class Recording(Stop):
        def wait(self, seconds):
            waits.append(seconds)

    waits = []
    retry = Retry(tries=12, stop=Recording(), monotonic=clock)
    with pytest.raises(StoreError):
        retry.call(Calls(clock, StoreError("reset")))
    shortest = [0.5, 1, 2, 4, 8, 16, 20, 20, 20, 20, 20]
    assert len(waits) == len(shortest)
    for wait, least in zip(waits, shortest, strict=True):
        assert least <= wait <= least + 1, "a random part keeps workers apart"
    assert len(set(waits)) == len(waits)


@pytest.mark.parametrize("error", [StoreError("reset"), UnreachableError("503")])
def test_never_is_one_try(clock, error):
    calls = Calls(clock, error)
    with pytest.raises(type(error)):
        Retry.never().call(calls)
    assert calls.count == 1


def test_a_copy_with_another_stop_shares_the_successes(retry, clock):
    stop = Stop()
    other = retry.within(stop)
    stop.set()
    calls = Calls(clock, StoreError("reset"))
    with pytest.raises(StoreError):
        other.call(calls)
    assert calls.count == 1
    assert not retry.stop.is_set()
    assert other.elsewhere is retry.elsewhere
