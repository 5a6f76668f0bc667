"""Retrying calls with retryable errors, by exponential backoff with jitter."""

from __future__ import annotations

import time
from collections.abc import Callable
from copy import copy
from typing import TypeVar

import tenacity

from jobtool.errors import JobtoolError, ServerError, UnreachableError
from jobtool.stop import Stop

T = TypeVar("T")

DEFAULT_TRIES = 4
DEFAULT_PATIENCE_SECONDS = 120.0

#: How often a request is tried if a server fails it while other requests succeed. The waits add up
#: to about a minute.
SERVER_TRIES = 8

_FIRST_WAIT_SECONDS = 0.5
_LONGEST_WAIT_SECONDS = 20.0


class Successes:
    """The time of the last success, on a clock in seconds. Threads may use it."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.last = float("-inf")
        self._monotonic = monotonic

    def note(self) -> None:
        """Record a success."""
        self.last = self._monotonic()


class Retry:
    """Calls functions again while their error is retryable.

    ============================ ==================================================================
    error                        given up
    ============================ ==================================================================
    ``UnreachableError``         ``patience_seconds`` after the first failure of the call, or after
                                 the call's own last success if that was later
    ``ServerError``              likewise; but if another call has succeeded since that moment,
                                 after ``SERVER_TRIES`` tries: then this request is the cause
    any other that is retryable  after ``tries`` tries
    ============================ ==================================================================

    Once ``stop`` is set, no further try is made. ``sleep`` is passed seconds; the default wakes up
    when ``stop`` is set. ``on_retry`` is called with the error before each further try.
    ``monotonic`` is the clock, in seconds.
    """

    def __init__(
        self,
        *,
        tries: int = DEFAULT_TRIES,
        patience_seconds: float = DEFAULT_PATIENCE_SECONDS,
        stop: Stop | None = None,
        sleep: Callable[[float], None] | None = None,
        on_retry: Callable[[BaseException], None] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tries = tries
        self.patience_seconds = patience_seconds
        self.stop = stop or Stop()
        self.monotonic = monotonic
        #: The successes of all callers, which record them here.
        self.elsewhere = Successes(monotonic)
        self._on_retry = on_retry
        self._sleep = sleep

    @classmethod
    def never(cls) -> Retry:
        """Return a ``Retry`` that gives up at the first failure."""
        return cls(tries=1, patience_seconds=0)

    def within(self, stop: Stop) -> Retry:
        """Return a copy with another stop."""
        other = copy(self)
        other.stop = stop
        return other

    def _wait(self, seconds: float) -> None:
        self.stop.wait(seconds)

    def call(self, function: Callable[[], T], *, own: Successes | None = None) -> T:
        """Return the result of ``function``; raise its last error if no try succeeds.

        ``own`` has the time of the function's own last success, such as a part of its file.
        """
        try:
            return function()
        except JobtoolError as error:
            if not error.retryable:
                raise
            first = error
        return self._call_again(function, first, own or Successes(self.monotonic))

    def _call_again(
        self, function: Callable[[], T], first: JobtoolError | None, own: Successes
    ) -> T:
        """Retry after the ``first`` failure. Without a failure this machinery is only a cost."""

        def again() -> T:
            nonlocal first
            if first is not None:
                error, first = first, None
                raise error
            return function()

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_is_retryable),
            stop=_Enough(self, own),
            wait=tenacity.wait_exponential(
                multiplier=_FIRST_WAIT_SECONDS, max=_LONGEST_WAIT_SECONDS
            )
            + tenacity.wait_random(0, 1),
            sleep=self._sleep or self._wait,
            before_sleep=self._before_sleep,
            reraise=True,
        )
        return retrying(again)

    def _before_sleep(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        if self._on_retry is not None and error is not None:
            self._on_retry(error)


class _Enough(tenacity.stop.stop_base):
    """Decides when one call was tried often enough."""

    def __init__(self, retry: Retry, own: Successes) -> None:
        self._retry = retry
        self._own = own
        self._first_failure: float | None = None  # or the call's own last success since
        self._failing_since = 0.0  # the first failure after that
        self._slept_before = 0.0  # until the call's own last success
        self._tries_before = 0

    def __call__(self, retry_state: tenacity.RetryCallState) -> bool:
        now = self._retry.monotonic()
        if self._first_failure is None:
            self._first_failure = self._failing_since = now
        if self._retry.stop.is_set():
            return True
        error = retry_state.outcome.exception() if retry_state.outcome is not None else None
        seconds = self._seconds_without_success(now, retry_state)
        is_elsewhere_fine = self._retry.elsewhere.last > self._failing_since
        is_of_the_request = isinstance(error, ServerError) and is_elsewhere_fine
        if is_of_the_request and retry_state.attempt_number - self._tries_before >= SERVER_TRIES:
            return True
        if isinstance(error, (UnreachableError, ServerError)):
            return seconds >= self._retry.patience_seconds
        return retry_state.attempt_number >= self._retry.tries

    def _seconds_without_success(self, now: float, state: tenacity.RetryCallState) -> float:
        assert self._first_failure is not None
        if self._own.last > self._first_failure:
            self._first_failure, self._failing_since = self._own.last, now
            self._slept_before = float(state.idle_for)
            self._tries_before = state.attempt_number - 1
        # Sleeping time counts even if a test's clock doesn't advance.
        return max(now - self._first_failure, float(state.idle_for) - self._slept_before)


def _is_retryable(error: BaseException) -> bool:
    return isinstance(error, JobtoolError) and error.retryable
