"""The limits of the leg that a worker moves a package over, shared with all that move over it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from datetime import time

from jobtool.jobs.limits import Bandwidth
from jobtool.jobs.movers import Movers
from jobtool.names import filename_of


class RouteLimits:
    """Divides the limits of routes and locations among the workers that move data over them.

    ``make_movers`` returns the workers that share the limit of a name.
    """

    def __init__(self, make_movers: Callable[[str], Movers]) -> None:
        self._make_movers = make_movers
        self._lock = threading.Lock()
        self._limits: dict[str, tuple[Bandwidth, Movers]] = {}
        self._left: list[Movers] = []

    def use(self, limits: Mapping[str, Bandwidth]) -> None:
        """Keep these limits from now on, by their names: those of a route, of locations."""
        with self._lock:
            self._left += [movers for _, movers in self._limits.values()]
            self._limits = {
                name: (bandwidth, self._make_movers(filename_of(name)))
                for name, bandwidth in limits.items()
            }

    @property
    def are_any(self) -> bool:
        """Whether there are limits."""
        return bool(self._limits)

    def share(self, at: time, *, is_in_use: bool) -> float | None:
        """Return the bytes a second that this worker may move at a local time; None for no limit.

        Where nothing is moved, the worker leaves its share to others.
        """
        with self._lock:
            left, self._left = self._left, []
            limits = list(self._limits.values())
        for movers in left:
            movers.leave()
        shares: list[float] = []
        for bandwidth, movers in limits:
            rate = bandwidth.at(at)
            if rate is None or not is_in_use:
                movers.leave()
            else:
                with contextlib.suppress(OSError):  # then the last number stays
                    movers.beat()
            if rate is not None:
                shares.append(rate / max(movers.count, 1))
        return min(shares, default=None)

    def leave(self) -> None:
        """Leave all shares to others."""
        self.use({})
        self.share(time(), is_in_use=False)
