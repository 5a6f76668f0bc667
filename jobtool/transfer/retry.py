"""Another try for what may pass: exponential backoff with jitter."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import tenacity

from jobtool.errors import JobtoolError, UnreachableError
from jobtool.stop import Stop

T = TypeVar("T")

DEFAULT_TRIES = 4
DEFAULT_PATIENCE_SECONDS = 120.0
_FIRST_WAIT_SECONDS = 0.5
_LONGEST_WAIT_SECONDS = 20.0


class Retry:
    """Calls things again while their error is retryable, at most ``tries`` times in all.

    A store that doesn't answer, or only with server errors, is asked for ``patience_seconds``.
    ``sleep`` takes seconds; the default wakes up when ``stop`` is set, and then no further try is
    made. ``on_retry`` is told each error that is tried again.
    """

    def __init__(
        self,
        *,
        tries: int = DEFAULT_TRIES,
        patience_seconds: float = DEFAULT_PATIENCE_SECONDS,
        stop: Stop | None = None,
        sleep: Callable[[float], None] | None = None,
        on_retry: Callable[[BaseException], None] | None = None,
    ) -> None:
        stopping = stop or Stop()

        def wait(seconds: float) -> None:
            stopping.wait(seconds)

        def before_sleep(state: tenacity.RetryCallState) -> None:
            if on_retry is not None and state.outcome is not None:
                error = state.outcome.exception()
                if error is not None:
                    on_retry(error)

        self._retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_is_retryable),
            stop=_Enough(tries, patience_seconds, stopping),
            wait=tenacity.wait_exponential(
                multiplier=_FIRST_WAIT_SECONDS, max=_LONGEST_WAIT_SECONDS
            )
            + tenacity.wait_random(0, 1),
            sleep=sleep or wait,
            before_sleep=before_sleep,
            reraise=True,
        )

    def call(self, function: Callable[[], T]) -> T:
        """Return what ``function`` returns; raises its last error."""
        return self._retrying(function)


class _Enough(tenacity.stop.stop_base):
    def __init__(self, tries: int, patience_seconds: float, stop: Stop) -> None:
        self._stop = stop
        self._tries = tries
        self._patience_seconds = patience_seconds

    def __call__(self, retry_state: tenacity.RetryCallState) -> bool:
        if self._stop.is_set():
            return True
        error = retry_state.outcome.exception() if retry_state.outcome is not None else None
        if isinstance(error, UnreachableError):
            return (retry_state.seconds_since_start or 0) >= self._patience_seconds
        return retry_state.attempt_number >= self._tries


def _is_retryable(error: BaseException) -> bool:
    return isinstance(error, JobtoolError) and error.retryable
