"""The events about what people ask of a worker while it runs, and about its order of jobs."""

from __future__ import annotations

from typing import ClassVar

from jobtool.events import Event
from jobtool.names import quote, shell_word


class WorkerPaused(Event, frozen=True, kw_only=True):
    """The joblist is paused, so the worker waits. This is told again now and then.

    ``by`` is who paused it, on the host ``host``, and ``since`` when, in UTC. ``path`` is that of
    the joblist.
    """

    kind: ClassVar[str] = "paused"
    symbol: ClassVar[str] = "❗"
    by: str
    host: str
    since: str
    path: str

    def text(self) -> str:
        """Return the sentences."""
        return (
            f"Paused by {quote(self.by)} since {self.since}. This worker waits. To go on: jobtool "
            f"resume {shell_word(self.path)}"
        )


class WorkerResumed(Event, frozen=True, kw_only=True):
    """The joblist is paused no more. The worker goes on after ``seconds`` of waiting."""

    kind: ClassVar[str] = "resumed"
    seconds: float

    def text(self) -> str:
        """Return the sentence."""
        return f"Resumed after {self.seconds:.0f} s."


class ControlKept(Event, frozen=True, kw_only=True):
    """control.json can't be used. What was asked before stays."""

    kind: ClassVar[str] = "control-kept"
    symbol: ClassVar[str] = "❗"
    reason: str

    def text(self) -> str:
        """Return the sentence."""
        return self.reason


class OrderChosen(Event, frozen=True, kw_only=True):
    """The worker takes jobs in an order other than that of their names.

    ``order`` is as ``--order`` has it. Of ``jobs`` undone ones it puts the ``unknown`` ones last:
    it doesn't know their size, or they have no such field.
    """

    kind: ClassVar[str] = "order"
    order: str
    jobs: int
    unknown: int

    def text(self) -> str:
        """Return the sentence."""
        if self.order.startswith("field:"):
            lack = f"{self.unknown} of {self.jobs} jobs have no such field and come last."
        else:
            lack = (
                f"the size of {self.unknown} of {self.jobs} jobs isn't known before they are first "
                "tried; these come last."
            )
        return f"Order of jobs: {self.order}" + (f"; {lack}" if self.unknown else ".")
