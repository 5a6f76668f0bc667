"""Repair: the receipts of missing or changed files are dropped before a job is put back.

After a kill in between, the job is ``success`` and lacks receipts, which the next audit finds. It
is never ``todo`` with receipts for files that are missing or changed.
"""

from __future__ import annotations

from collections.abc import Container

from jobtool.audit.dropping import drop_receipts
from jobtool.audit.events import LeftAlone, PutBack
from jobtool.audit.putback import put_back
from jobtool.jobs.claim import Claims
from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.jobs.job import Job
from jobtool.jobs.joblist import JobList


class Repair:
    """Puts jobs back to ``todo`` without the receipts of missing or changed files."""

    def __init__(self, joblist: JobList) -> None:
        self._joblist = joblist
        self._claims = Claims.of(joblist)

    def job(
        self, job_id: str, audited: Job, off: Container[str], *, event: str = "repair"
    ) -> PutBack | LeftAlone:
        """Have the files at the URLs ``off`` sent again. ``event`` names the line in the job's log.

        ``audited`` is the job as it was when it was compared. A job that a worker holds, or has run
        since, is left alone. Raises ``JoblistUnavailableError``.
        """

        def drop(claimed: ClaimedJob) -> None:
            drop_receipts(self._joblist, self._claims, claimed, off, are_sent_again=True)

        return put_back(self._joblist, self._claims, job_id, audited, event=event, before=drop)
