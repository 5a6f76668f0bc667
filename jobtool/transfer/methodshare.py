"""A method's share of the limit of bandwidth, kept while its programs run."""

from __future__ import annotations

from collections.abc import Callable

from jobtool.errors import StoppedError
from jobtool.stop import Stop
from jobtool.transfer.throttle import Throttle


class MethodShare:
    """What one call of a method may move.

    A program is told its bandwidth once, and moves data for hours without asking again. So the
    worker counts as moving data from the first answer to the call's end, at each tick. Otherwise
    the other workers would take the share, too.
    """

    def __init__(self, throttle: Throttle, stop: Stop) -> None:
        self._throttle = throttle
        self._stop = stop
        self._is_in_use = False

    def bytes_per_second(self) -> float | None:
        """Return what may be moved right now; None for no limit.

        Waits until this worker has a share. Raises ``StoppedError`` if a stop is requested.
        """
        rate = self._throttle.share_bytes_per_second(self._require_going)
        self._is_in_use = rate is not None
        return rate

    def kept_at(self, on_tick: Callable[[], None]) -> Callable[[], None]:
        """Return ``on_tick``, which also counts this worker as moving data."""

        def tick() -> None:
            if self._is_in_use:
                self._throttle.keep_share()
            on_tick()

        return tick

    def end(self) -> None:
        """Leave the share to others: the call is over."""
        self._is_in_use = False

    def _require_going(self) -> None:
        if self._stop.is_set():
            raise StoppedError("stopped while waiting for a share of the bandwidth")
