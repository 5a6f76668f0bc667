"""Putting jobs back to ``todo``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar

from jobtool.errors import JobFileError
from jobtool.events import Event
from jobtool.jobs.claim import Claims
from jobtool.jobs.held import HeldJob
from jobtool.jobs.job import Job, JobStatus
from jobtool.jobs.jobfile import last_records
from jobtool.jobs.joblist import JobList
from jobtool.names import quote


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which jobs: by name, by a text in the reason of their error, else all in error."""

    names: frozenset[str] = frozenset()
    match: str | None = None

    def takes(self, job: Job, log: bytes) -> bool:
        """Tell whether a job is meant; one that is ``todo`` never is."""
        if job.status is JobStatus.TODO:
            return False
        if self.names:
            return job.name in self.names
        return job.status is JobStatus.ERROR and (
            self.match is None or self.match in last_reason(log)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PutBack(Event):
    """A job is ``todo`` again."""

    kind: ClassVar[str] = "put-back"
    job: str
    was: str

    def text(self) -> str:
        """Return the sentence."""
        return f"{quote(self.job)}: {self.was} -> todo"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftAlone(Event):
    """A job that was meant but can't be put back."""

    kind: ClassVar[str] = "left-alone"
    symbol: ClassVar[str] = "❗"
    job: str
    reason: str

    def text(self) -> str:
        """Return the sentence."""
        return f"{quote(self.job)}: left as it is: {self.reason}"


def retry_jobs(joblist: JobList, selection: Selection) -> Iterator[PutBack | LeftAlone]:
    """Put the selected jobs back to ``todo``, their failures forgotten, and yield each.

    Receipts stay, so that nothing proven is sent again. A job that a worker holds is left alone.
    """
    claims = Claims.of(joblist)
    for stem in joblist.stems():
        try:
            job, log = joblist.load(stem)
        except (JobFileError, FileNotFoundError):
            continue
        if selection.takes(job, log):
            yield put_back(joblist, claims, stem, job.name, event="retry")


def put_back(
    joblist: JobList,
    claims: Claims,
    stem: str,
    name: str,
    *,
    event: str,
    then: Callable[[], None] | None = None,
) -> PutBack | LeftAlone:
    """Put one job back to ``todo`` under its claim; ``then`` is called while it is held."""
    held = HeldJob.take(joblist, claims, stem, lambda: datetime.now(UTC))
    if held is None:
        return LeftAlone(job=name, reason="a worker is on it")
    with held:
        job = held.job
        if job.status is not JobStatus.TODO:
            held.put_back(event)
            joblist.mark_put_back()
        if then is not None:
            then()
        return PutBack(job=job.name, was=job.status.value)


def last_reason(log: bytes) -> str:
    """Return the reason of the last error in a log."""
    error = last_records(log, ("error",)).get("error")
    return "" if error is None else error.values.get("reason", "")
