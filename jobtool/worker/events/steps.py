"""The events about one step of a job."""

from __future__ import annotations

from typing import ClassVar

from jobtool.events import Event
from jobtool.level import Level
from jobtool.names import quote
from jobtool.units import duration_text


class StepBegun(Event, frozen=True, kw_only=True):
    """A step of a job that names its steps begins. ``attempt`` counts the attempts at the step.

    ``route`` is the way that the step's data goes, None if it has none.
    """

    kind: ClassVar[str] = "step-begun"
    job: str
    step: str
    attempt: int
    route: str | None = None

    def text(self) -> str:
        """Return the sentence."""
        again = f", attempt {self.attempt}" if self.attempt > 1 else ""
        return f"{quote(self.job)}: step {self.step}{again}..."


class StepDone(Event, frozen=True, kw_only=True):
    """A step of a job that names its steps is done. ``seconds`` is how long this attempt took."""

    kind: ClassVar[str] = "step-done"
    level: ClassVar[Level] = Level.DETAIL
    symbol: ClassVar[str] = "✅"
    job: str
    step: str
    seconds: float

    def text(self) -> str:
        """Return the sentence."""
        return f"{quote(self.job)}: step {self.step} done in {duration_text(self.seconds)}"


class CatalogBehind(Event, frozen=True, kw_only=True):
    """A job's copies couldn't be recorded in the catalog. The job itself is done."""

    kind: ClassVar[str] = "catalog-behind"
    level: ClassVar[Level] = Level.ALWAYS
    symbol: ClassVar[str] = "❗"
    job: str
    catalog: str
    reason: str

    def text(self) -> str:
        """Return the sentence."""
        return (
            f"{quote(self.job)}: its copies aren't in the catalog {quote(self.catalog)}: "
            f"{self.reason}. The job is done. Once the catalog can be written, add them with: "
            "jobtool catalog rebuild"
        )
