"""A dry run of a worker."""

from __future__ import annotations

from collections.abc import Callable

from jobtool.events import Emit
from jobtool.jobs.joblist import JobList
from jobtool.worker.events import JobsFound, WouldTransfer
from jobtool.worker.jobrunner import CLAIMABLE
from jobtool.worker.jobtext import source_text, what_of
from jobtool.worker.packages.gate import Gate
from jobtool.worker.scanstate import ScanState


def preview(
    joblist: JobList,
    scan_state: ScanState,
    emit: Emit,
    site: str | None,
    chosen: Callable[[list[str]], list[str]] = list,
) -> int:
    """Emit the jobs that would be transferred; change nothing; return the exit code.

    Steps of packages for workers at other sites than ``site`` are left out, if it isn't None,
    and so are jobs that aren't ``chosen``.
    """
    gate = Gate(joblist, scan_state, site)
    scanned = list(joblist.scan())
    wanted = set(chosen([found.job_id for found in scanned]))
    of_all = None if len(wanted) == len(scanned) else len(wanted)
    emit(JobsFound(count=len(scanned), path=joblist.path, chosen=of_all))
    for found in scanned:
        if found.job_id in wanted and found.status in (*CLAIMABLE, None):
            job = scan_state.load(found.job_id)
            if job is not None and (gate.is_open(found.job_id) or not gate.is_elsewhere(job)):
                emit(
                    WouldTransfer(
                        job=job.name,
                        source=source_text(job, joblist.settings),
                        destination=job.target,
                        what=what_of(job),
                        after=scan_state.awaited.get(found.job_id),
                    )
                )
    return 1 if scan_state.invalid or scan_state.stuck else 0
