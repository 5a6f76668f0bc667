"""A dry run of a worker."""

from __future__ import annotations

from jobtool.events import Emit
from jobtool.jobs.joblist import JobList
from jobtool.worker.events import JobsFound, WouldTransfer
from jobtool.worker.jobrunner import CLAIMABLE
from jobtool.worker.jobtext import source_text, what_of
from jobtool.worker.scanstate import ScanState


def preview(joblist: JobList, scan_state: ScanState, emit: Emit) -> int:
    """Emit the jobs that would be transferred; change nothing; return the exit code."""
    scanned = list(joblist.scan())
    emit(JobsFound(count=len(scanned), path=joblist.path))
    for found in scanned:
        if found.status in (*CLAIMABLE, None):
            job = scan_state.load(found.job_id)
            if job is not None:
                emit(
                    WouldTransfer(
                        job=job.name,
                        source=source_text(job, joblist.settings),
                        destination=job.target,
                        what=what_of(job),
                    )
                )
    return 1 if scan_state.invalid else 0
