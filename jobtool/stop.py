"""A request to stop, which all long-running work checks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from jobtool.errors import StoppedError

T = TypeVar("T")

ASKED = "asked to stop"

_SLICE_SECONDS = 0.1

#: After how many items ``until_stopped`` checks for a request to stop.
_ITEMS_PER_LOOK = 64


class Stop:
    """A request to stop: set by a call, at a moment, or by a wider ``parent``.

    ``at`` is the moment on the ``monotonic`` clock, in seconds, and ``at_reason`` its reason.
    Setting a stop takes no lock, so that a signal handler may do it whatever it interrupts.

    Examples:
        >>> stop = jobtool.Stop()
        >>> stop.set("enough for today")
        >>> stop.is_set(), stop.reason
        (True, 'enough for today')
    """

    def __init__(
        self,
        *,
        parent: Stop | None = None,
        at: float | None = None,
        at_reason: str = "the time is up",
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._parent = parent
        self._at = at
        self._at_reason = at_reason
        self._monotonic = monotonic
        self._reason: str | None = None
        self._is_lost = False

    def end_at(self, moment: float) -> None:
        """Ask to stop from a moment of the ``monotonic`` clock on, in seconds."""
        self._at = moment

    def set(self, reason: str = ASKED) -> None:
        """Ask to stop. If called again, the first reason is kept."""
        if self._reason is None:
            self._reason = reason

    def lose(self, reason: str) -> None:
        """Ask to stop at once: another worker may own the work now, so write nothing more."""
        self._is_lost = True
        self.set(reason)

    @property
    def is_lost(self) -> bool:
        """Whether nothing may be written any more."""
        return self._is_lost or (self._parent is not None and self._parent.is_lost)

    @property
    def reason(self) -> str | None:
        """The reason to stop, or None while no stop is requested."""
        if self._reason is None and self._at is not None and self._monotonic() >= self._at:
            self._reason = self._at_reason
        if self._reason is None and self._parent is not None:
            return self._parent.reason
        return self._reason

    def is_set(self) -> bool:
        """Return True if a stop is requested."""
        return self.reason is not None

    def wait(self, seconds: float) -> bool:
        """Sleep until the time is over or a stop is requested. Return True if one is requested."""
        end = time.monotonic() + seconds
        while not self.is_set():
            left = end - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(left, _SLICE_SECONDS))
        return True


def until_stopped(items: Iterable[T], stop: Stop, doing: str) -> Iterator[T]:
    """Yield the items. Raise ``StoppedError`` that names ``doing`` once a stop is requested."""
    for count, item in enumerate(items):
        if count % _ITEMS_PER_LOOK == 0 and stop.is_set():
            raise StoppedError(f"stopped while {doing}")
        yield item
