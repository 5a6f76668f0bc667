"""What a worker has seen of a joblist's jobs."""

from __future__ import annotations

import contextlib

from jobtool.jobs.job import JobStatus
from jobtool.jobs.joblist import JobList
from jobtool.worker.rankgroup import Scan

FINISHED = (JobStatus.SUCCESS, JobStatus.ERROR)


class ScanState:
    """The jobs by stem, so that no file is read twice in a pass, nor again once its job is over.

    ``ongoing`` are those that others held when they were last looked at, or have left, ``too_long``
    those that can't be done in the time that is left. ``left_alone`` are those that need what this
    worker hasn't got.
    """

    def __init__(self, joblist: JobList) -> None:
        self.finished: dict[str, JobStatus] = {}
        self.invalid: set[str] = set()
        self.ongoing: list[str] = []
        self.too_long: set[str] = set()
        self.left_alone: set[str] = set()
        self._joblist = joblist
        self._put_back_ns = joblist.last_put_back_ns()

    def is_over(self, job_id: str) -> bool:
        """Return True if a job needs no other look: it is finished, invalid or left alone."""
        known = (self.finished, self.invalid, self.left_alone)
        return any(job_id in jobs for jobs in known)

    def look(self, job_id: str) -> JobStatus | None:
        """Read a job's status; None if its first line is none. Raises ``FileNotFoundError``."""
        status = self._joblist.status_of(job_id)
        if status in FINISHED:
            self.finished[job_id] = status
        return status

    def scan(self, *, thoroughly: bool) -> Scan:
        """List the jobs; ``thoroughly`` reads which of them are finished."""
        job_ids = self._joblist.job_ids()
        if thoroughly:
            for job_id in job_ids:
                with contextlib.suppress(FileNotFoundError):
                    self.look(job_id)
        return {job_id: self.finished.get(job_id) for job_id in job_ids}

    def learn(self, scan: Scan) -> None:
        """Take over what a scan, perhaps another rank's, has found."""
        self.finished = {job_id: status for job_id, status in scan.items() if status is not None}

    def forget_if_put_back(self) -> bool:
        """Forget what is finished if somebody has put jobs back since; tell whether."""
        put_back_ns = self._joblist.last_put_back_ns()
        if put_back_ns == self._put_back_ns:
            return False
        self._put_back_ns = put_back_ns
        self.finished.clear()
        return True

    def count(self) -> dict[JobStatus | None, int]:
        """Count the jobs by status, None for what is none, reading those that aren't over."""
        counts: dict[JobStatus | None, int] = dict.fromkeys([*JobStatus, None], 0)
        held_by_others = set(self.ongoing)
        for job_id in self._joblist.job_ids():
            status = self.finished.get(job_id)
            if job_id in self.left_alone or not self.is_over(job_id):
                try:
                    status = self._joblist.status_of(job_id)
                except FileNotFoundError:
                    continue
            if status is JobStatus.TODO and job_id in held_by_others:
                status = JobStatus.ONGOING  # claimed by another, and about to say so
            counts[status] += 1
        return counts
