"""The event about metrics."""

from __future__ import annotations

from typing import ClassVar

from jobtool.events import Event


class MetricsLost(Event, frozen=True, kw_only=True):
    """Some metrics were lost. ``points`` counts them, ``where`` is the place, ``reason`` the last.

    The work isn't affected.
    """

    kind: ClassVar[str] = "metrics-lost"
    symbol: ClassVar[str] = "❗"
    where: str
    points: int
    reason: str

    def text(self) -> str:
        """Return the sentence."""
        return (
            f"{self.points} point(s) of metrics for {self.where} were lost: "
            f"{self.reason or 'the reason is unknown'}. The work isn't affected."
        )
