"""Putting one job back to ``todo``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from jobtool.audit.events import LeftAlone, PutBack
from jobtool.errors import ClaimLostError, JobFileError
from jobtool.jobs.claim import Claims
from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.jobs.job import Job
from jobtool.jobs.joblist import JobList

_REMOVED = "its file was removed"


def claim_job(joblist: JobList, claims: Claims, job_id: str, name: str) -> ClaimedJob | LeftAlone:
    """Claim a job, or return why that isn't possible. Raises ``JoblistUnavailableError``."""
    try:
        claimed = ClaimedJob.acquire(joblist, claims, job_id, lambda: datetime.now(UTC))
    except JobFileError as error:
        return left_unreadable(name, error)
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
    """Put one job back to ``todo`` under its claim, unless a worker has claimed it meanwhile.

    ``chosen`` is the job as it was when it was chosen. ``event`` names the line in the job's log.
    ``before`` is called first, while the job is held. The caller marks the joblist; see
    ``JobList.mark_put_back``. Raises ``JoblistUnavailableError``.
    """
    claimed = claim_job(joblist, claims, job_id, chosen.name)
    if isinstance(claimed, LeftAlone):
        return claimed
    with claimed:
        if (claimed.job.status, claimed.job.attempts) != (chosen.status, chosen.attempts):
            return LeftAlone(job=chosen.name, reason="a worker has claimed it meanwhile")
        try:
            if before is not None:
                before(claimed)
            claimed.put_back(event)
        except ClaimLostError as error:
            return LeftAlone(job=chosen.name, reason=str(error))
        except FileNotFoundError:
            return LeftAlone(job=chosen.name, reason=_REMOVED)
    return PutBack(job=chosen.name, was=chosen.status.value)


def left_unreadable(name: str, error: JobFileError) -> LeftAlone:
    """Return the event for a job whose file can't be read."""
    return LeftAlone(job=name, reason=str(error), exit_code=error.exit_code)
