"""Removal of what killed workers have left in a joblist."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import datetime

from jobtool.errors import JobFileError
from jobtool.jobs.claim import Claims
from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.jobs.job import JobStatus
from jobtool.jobs.joblist import JobList
from jobtool.sharing.batches import Batches
from jobtool.worker.scanstate import ScanState


class Sweeper:
    """Removes a job's leftovers under its claim. Jobs that other workers hold are skipped."""

    def __init__(
        self,
        joblist: JobList,
        claims: Claims,
        scan_state: ScanState,
        now: Callable[[], datetime],
    ) -> None:
        self._joblist = joblist
        self._claims = claims
        self._scan_state = scan_state
        self._now = now

    def remove_temporaries(self, job_id: str) -> None:
        """Remove the temporary files of workers that were killed while they wrote a job file."""
        with contextlib.suppress(FileNotFoundError, JobFileError):
            claimed = ClaimedJob.acquire(self._joblist, self._claims, job_id, self._now)
            if claimed is not None:
                with claimed:
                    self._joblist.remove_temporaries(job_id)

    def remove_batches(self) -> None:
        """Remove batches and offers of help that belong to finished jobs."""
        for job_id in self._joblist.job_ids_with_blocks():
            if self._scan_state.finished.get(job_id) is not JobStatus.SUCCESS:
                continue
            batches = Batches(self._joblist.blocks_path_of(job_id), self._claims)
            with contextlib.suppress(FileNotFoundError, JobFileError):
                claimed = ClaimedJob.acquire(self._joblist, self._claims, job_id, self._now)
                if claimed is None:  # its holder may have died after it finished the job
                    batches.withdraw_all()
                    continue
                with claimed:
                    if claimed.job.status is JobStatus.SUCCESS:
                        batches.remove()
