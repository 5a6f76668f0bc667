"""The events about one step of a job."""

from __future__ import annotations

from typing import ClassVar, Literal

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


class JobStuck(Event, frozen=True, kw_only=True):
    """The job comes after one that isn't in the joblist, so nobody can do it.

    ``after`` is the job's name. ``lacks`` says if that ``job`` is missing, or, where it moves a
    package, the job of the next ``leg`` of the way.
    """

    kind: ClassVar[str] = "stuck"
    level: ClassVar[Level] = Level.ALWAYS
    symbol: ClassVar[str] = "❌"
    job: str
    after: str
    lacks: Literal["job", "leg"] = "job"

    def text(self) -> str:
        """Return the sentence."""
        after = f"{quote(self.job)} can't begin: it comes after job '{quote(self.after)}'"
        if self.lacks == "leg":
            return (
                f"{after}, and the job of the package's next leg isn't in the joblist. To make it "
                f"again: jobtool retry --job {quote(self.after)}"
            )
        return (
            f"{after}, which isn't in the joblist. Correct the line package.after in its file, or "
            "put the other job's file back"
        )


class JobsAwaited(Event, frozen=True, kw_only=True):
    """A worker without work waits for ``jobs`` that others do now, or that come after these.

    ``stem`` is the job ID of the first of them, ``after`` the job that it comes after, None for one
    that workers at another site can do now.
    """

    kind: ClassVar[str] = "awaited"
    jobs: int
    stem: str
    after: str | None = None

    def text(self) -> str:
        """Return the sentence."""
        first = f"such as {quote(self.stem)}"
        if self.after is None:
            return f"Waiting for {self.jobs} job(s) of workers at other sites, {first}"
        return f"Waiting for {self.jobs} job(s) that come after others, {first} after {self.after}"


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
