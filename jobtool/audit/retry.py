"""Putting jobs back to ``todo``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar

from jobtool.errors import ClaimLostError, JobFileError, JoblistUnavailableError
from jobtool.events import Event
from jobtool.jobs.claim import Claims
from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.jobs.job import Job, JobStatus
from jobtool.jobs.jobfile import last_records
from jobtool.jobs.joblist import JobList
from jobtool.names import filename_of, quote

_REMOVED = "its file was removed"


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

    def name_of_file(self, job_id: str) -> str | None:
        """Return how to name a job file that can't be read, if it may be meant; else None."""
        if not self.names:
            return job_id if self.match is None else None
        return next((name for name in self.names if filename_of(name) == job_id), None)


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
    """A job that was meant and that nothing was done about.

    ``exit_code`` is 0 where that is in order, as if a worker is on it; else the command's, which
    could not look at the job.
    """

    kind: ClassVar[str] = "left-alone"
    symbol: ClassVar[str] = "❗"
    job: str
    reason: str
    exit_code: int = 0

    def text(self) -> str:
        """Return the sentence."""
        return f"{quote(self.job)}: left as it is: {self.reason}"


def retry_jobs(joblist: JobList, selection: Selection) -> Iterator[PutBack | LeftAlone]:
    """Put the selected jobs back to ``todo``, their failures forgotten, and yield each.

    Receipts stay, so that nothing proven is sent again. A job that a worker holds, and one whose
    file can't be read, is left alone. Raises ``JoblistUnavailableError``; if only the mark for the
    workers under way can't be written, in the end.
    """
    claims = Claims.of(joblist)
    unmarked: JoblistUnavailableError | None = None
    for job_id in joblist.job_ids():
        try:
            job, log = joblist.load(job_id)
        except JobFileError as error:
            name = selection.name_of_file(job_id)
            if name is not None:
                yield unfit(name, error)
            continue
        except FileNotFoundError:
            continue
        if selection.takes(job, log):
            told = put_back(joblist, claims, job_id, job, event="retry")
            if isinstance(told, PutBack):
                try:
                    joblist.mark_put_back()
                except JoblistUnavailableError as error:
                    unmarked = error
            yield told
    if unmarked is not None:
        raise unmarked


def take(joblist: JobList, claims: Claims, job_id: str, name: str) -> ClaimedJob | LeftAlone:
    """Claim a job, or tell why it can't be had. Raises ``JoblistUnavailableError``."""
    try:
        claimed = ClaimedJob.take(joblist, claims, job_id, lambda: datetime.now(UTC))
    except JobFileError as error:
        return unfit(name, error)
    except FileNotFoundError:
        return LeftAlone(job=name, reason=_REMOVED)
    return LeftAlone(job=name, reason="a worker is on it") if claimed is None else claimed


def put_back(
    joblist: JobList,
    claims: Claims,
    job_id: str,
    chosen: Job,
    *,
    event: str,
    before: Callable[[ClaimedJob], None] | None = None,
) -> PutBack | LeftAlone:
    """Put one job back to ``todo`` under its claim, unless a worker has taken it up meanwhile.

    ``chosen`` is the job as it was when it was chosen. ``before`` is called first, while the job
    is held. The caller marks the joblist; see ``JobList.mark_put_back``. Raises
    ``JoblistUnavailableError``.
    """
    claimed = take(joblist, claims, job_id, chosen.name)
    if isinstance(claimed, LeftAlone):
        return claimed
    with claimed:
        if (claimed.job.status, claimed.job.attempts) != (chosen.status, chosen.attempts):
            return LeftAlone(job=chosen.name, reason="it was taken up meanwhile")
        try:
            if before is not None:
                before(claimed)
            claimed.put_back(event)
        except ClaimLostError as error:
            return LeftAlone(job=chosen.name, reason=str(error))
        except FileNotFoundError:
            return LeftAlone(job=chosen.name, reason=_REMOVED)
    return PutBack(job=chosen.name, was=chosen.status.value)


def unfit(name: str, error: JobFileError) -> LeftAlone:
    """Tell of a job whose file can't be read."""
    return LeftAlone(job=name, reason=str(error), exit_code=error.exit_code)


def last_reason(log: bytes) -> str:
    """Return the reason of the last error in a log."""
    error = last_records(log, ("error",)).get("error")
    return "" if error is None else error.values.get("reason", "")
