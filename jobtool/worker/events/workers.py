"""The events about a worker as a whole."""

from __future__ import annotations

from collections.abc import Sized
from typing import ClassVar

from jobtool.events import Event
from jobtool.jobs.limits import rate_text as rate_as_written
from jobtool.level import Level
from jobtool.names import quote
from jobtool.units import duration_text, size_text

#: How many of the files that hang are named.
_STALLED_NAMED = 3


class JobsFound(Event, frozen=True, kw_only=True):
    """The joblist was listed. ``chosen`` of its jobs are for this run; None if all are."""

    kind: ClassVar[str] = "jobs-found"
    count: int
    path: str
    chosen: int | None = None

    @classmethod
    def of(cls, path: str, found: Sized, chosen: Sized) -> JobsFound:
        """Return the event for jobs that were found, and the chosen ones of them."""
        of_all = None if len(chosen) == len(found) else len(chosen)
        return cls(count=len(found), path=path, chosen=of_all)

    def text(self) -> str:
        """Return the sentence."""
        chosen = "" if self.chosen is None else f" {self.chosen} of them are chosen."
        return f"Found {self.count} job file(s) in '{quote(self.path)}'.{chosen}"


class ClaimsChosen(Event, frozen=True, kw_only=True):
    """The worker has chosen a kind of claims. ``reason`` says why."""

    kind: ClassVar[str] = "claims"
    claims: str
    reason: str

    def text(self) -> str:
        """Return the sentence."""
        return f"Claims by {self.claims}: {self.reason}."


class LimitsSet(Event, frozen=True, kw_only=True):
    """Limits apply from now on, or have changed. All workers that move data share them.

    None is no limit.
    """

    kind: ClassVar[str] = "limits"
    bytes_per_second: float | None
    requests_per_second: float | None

    def text(self) -> str:
        """Return the sentence."""
        limits = []
        if self.bytes_per_second is not None:
            limits.append(rate_as_written(self.bytes_per_second))
        if self.requests_per_second is not None:
            limits.append(f"{self.requests_per_second:g} requests/s")
        if not limits:
            return "Limits: none apply now."
        return f"Limits: {' and '.join(limits)}, shared by all workers that move data."


class LimitsKept(Event, frozen=True, kw_only=True):
    """joblist.toml was changed and can't be used. The limits stay as they are."""

    kind: ClassVar[str] = "limits-kept"
    symbol: ClassVar[str] = "❗"
    reason: str

    def text(self) -> str:
        """Return the sentence."""
        return (
            f"joblist.toml can't be read again, so bandwidth and max_requests_per_second stay as "
            f"they are: {self.reason}"
        )


class Scanning(Event, frozen=True, kw_only=True):
    """The worker starts to look for a job to claim."""

    kind: ClassVar[str] = "scanning"

    def text(self) -> str:
        """Return the sentence."""
        return "Scanning for 'todo' status..."


class CredentialsMissing(Event, frozen=True, kw_only=True):
    """A provider gave no credentials. The worker waits, then tries again with the next job.

    ``failures`` counts how often in a row that happened.
    """

    kind: ClassVar[str] = "no-credentials"
    level: ClassVar[Level] = Level.DETAIL
    symbol: ClassVar[str] = "❗"
    reason: str
    failures: int

    def text(self) -> str:
        """Return the sentence."""
        return f"No credentials ({self.failures} in a row): {self.reason}"


class Helped(Event, frozen=True, kw_only=True):
    """The worker has done a batch of a job that another worker holds.

    ``stem`` is the job ID, ``block`` the number of the batch.
    """

    kind: ClassVar[str] = "helped"
    level: ClassVar[Level] = Level.DETAIL
    stem: str
    block: int
    bytes: int

    def text(self) -> str:
        """Return the sentence."""
        return f"Helped with {quote(self.stem)}.txt: batch {self.block}, {size_text(self.bytes)}"


class NoTimeLeft(Event, frozen=True, kw_only=True):
    """Each job so far took longer than the time that is left. The worker claims no more jobs."""

    kind: ClassVar[str] = "no-time-left"
    symbol: ClassVar[str] = "❗"
    seconds_left: float
    job_seconds: float

    def text(self) -> str:
        """Return the sentence."""
        return (
            f"{duration_text(self.seconds_left)} are left, and the shortest job so far took "
            f"{duration_text(self.job_seconds)}: claiming no more jobs."
        )


class Stalled(Event, frozen=True, kw_only=True):
    """No thread of the worker has moved for a long time: something hangs in the kernel.

    ``works_on`` names the files that the threads hang at. ``left`` is True if other workers may
    claim this worker's jobs.
    """

    kind: ClassVar[str] = "stalled"
    level: ClassVar[Level] = Level.ALWAYS
    symbol: ClassVar[str] = "❗"
    seconds: float
    works_on: list[str]
    left: bool

    def text(self) -> str:
        """Return the sentence."""
        places = ", ".join(quote(place) for place in self.works_on[:_STALLED_NAMED])
        more = len(self.works_on) - _STALLED_NAMED
        if more > 0:
            places += f" and {more} more"
        what_now = (
            "Its jobs are left to others."
            if self.left
            else "Its claims are locks, which end with the process: end it so that others go on."
        )
        return (
            f"Nothing has moved for {self.seconds:.0f} s (stall_seconds) at {places or 'no file'}: "
            f"its file server may be gone. {what_now}"
        )
