"""A request to stop, that everything which takes long looks at."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from jobtool.errors import StoppedError

T = TypeVar("T")

ASKED = "asked to stop"

_SLICE_SECONDS = 0.1

#: How often ``until_stopped`` looks whether to stop, in items.
_ITEMS_PER_LOOK = 64


class Stop:
    """Asks work to end: when told to, from a moment on, or because a wider ``parent`` ends.

    ``at`` is that moment on the ``monotonic`` clock, in seconds, and ``at_reason`` what to say of
    it. Setting one takes no lock, so that a signal's handler may do it whatever it interrupts.

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
        """Ask to stop from a moment on."""
        self._at = moment

    def set(self, reason: str = ASKED) -> None:
        """Ask to stop; the first reason stays."""
        if self._reason is None:
            self._reason = reason

    def lose(self, reason: str) -> None:
        """Ask to stop at once: what is worked on may be another's now, and isn't written to."""
        self._is_lost = True
        self.set(reason)

    @property
    def is_lost(self) -> bool:
        """Whether nothing may be written any more."""
        return self._is_lost or (self._parent is not None and self._parent.is_lost)

    @property
    def reason(self) -> str | None:
        """Why to stop; None as long as nothing asks for it."""
        if self._reason is None and self._at is not None and self._monotonic() >= self._at:
            self._reason = self._at_reason
        if self._reason is None and self._parent is not None:
            return self._parent.reason
        return self._reason

    def is_set(self) -> bool:
        """Tell whether to stop."""
        return self.reason is not None

    def wait(self, seconds: float) -> bool:
        """Sleep, but no longer than until asked to stop; return whether that was asked."""
        end = time.monotonic() + seconds
        while not self.is_set():
            left = end - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(left, _SLICE_SECONDS))
        return True


def until_stopped(items: Iterable[T], stop: Stop, doing: str) -> Iterator[T]:
    """Yield the items; raises ``StoppedError``, which says what ``doing``, once asked to stop."""
    for count, item in enumerate(items):
        if count % _ITEMS_PER_LOOK == 0 and stop.is_set():
            raise StoppedError(f"stopped while {doing}")
        yield item
