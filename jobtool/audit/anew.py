"""Exporting anew: a query that was exported runs again, and its files replace those that are there.

Each job of rows starts over as if its rows had changed: its files and their receipts are removed
before it makes others. First the chunks of all jobs are made to count no more, and only then is the
first job put back. So whichever worker comes after a kill, no manifest names chunks of both states:
it is made only once each job knows all its chunks.

A file in the joblist says that this is to be done. It is written first and removed last, so that
the next call completes one that is killed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from jobtool.audit.events import LeftAlone
from jobtool.audit.putback import claim_job
from jobtool.errors import JoblistUnavailableError, UsageError, reason_of
from jobtool.export.chunklog import ChunkLog, RestartRecord
from jobtool.failpoints import reach
from jobtool.jobs.atomic_write import replace_file, sync_folder
from jobtool.jobs.claim import Claims
from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.jobs.job import JobStatus
from jobtool.jobs.joblist import JobList
from jobtool.names import quote

#: The file's name in the joblist.
ANEW = "export-anew"


def is_to_be_anew(joblist: JobList) -> bool:
    """Return True if a call to ``start_anew`` hasn't come to its end."""
    return os.path.lexists(_path(joblist))


def start_anew(joblist: JobList) -> None:
    """Have all rows of an export made again; its jobs are ``todo`` afterwards.

    Raises ``UsageError`` if a worker is on a job or a job file can't be read, and
    ``JoblistUnavailableError``. The next call then goes on.
    """
    ongoing = [each.job_id for each in joblist.scan() if each.status is JobStatus.ONGOING]
    if ongoing:
        raise _refusal(joblist, min(ongoing), "a worker is on it")
    path = _path(joblist)
    try:
        replace_file(path, b"")
    except OSError as error:
        raise JoblistUnavailableError(f"can't write {quote(path)}: {reason_of(error)}") from None
    reach("after the mark of an export anew")
    for claimed in _row_jobs(joblist):
        log = ChunkLog(joblist.chunks_path_of(claimed.job_id), claimed.claim.require_held)
        if log.chunks or log.end is not None:
            log.append(RestartRecord())
        reach("after the chunks of a job count no more")
    for claimed in _row_jobs(joblist):
        if claimed.job.status is not JobStatus.TODO:
            claimed.put_back("anew")
            joblist.mark_put_back()
        reach("after a job is to be exported anew")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
        sync_folder(joblist.path)


def _row_jobs(joblist: JobList) -> Iterator[ClaimedJob]:
    """Yield the jobs that export rows, each under its claim. Raises ``UsageError``.

    The manifest's job is put back when the first of the others is worked on.
    """
    claims = Claims.of(joblist)
    for job_id in joblist.row_job_ids():
        claimed = claim_job(joblist, claims, job_id, job_id)
        if isinstance(claimed, LeftAlone):
            raise _refusal(joblist, job_id, claimed.reason)
        with claimed:
            yield claimed


def _path(joblist: JobList) -> str:
    return os.path.join(joblist.path, ANEW)


def _refusal(joblist: JobList, job_id: str, reason: str) -> UsageError:
    return UsageError(
        f"the rows of {quote(joblist.path)} can't be exported anew now: job {quote(job_id)}: "
        f"{reason}. Correct that, or wait for the worker, and give the same command again."
    )
