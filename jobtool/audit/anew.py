"""Exporting anew: a query that was exported runs again, and its files replace those that are there.

Each job of rows starts over as if its rows had changed: its files and their receipts are removed
before it makes others. A file in the joblist says that this is to be done. It is written first and
removed last, so that a call that is killed in between is completed by the next one. Otherwise some
ranges would stay as they were, and two states be mixed.
"""

from __future__ import annotations

import contextlib
import os

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

    Raises ``UsageError`` if a worker is on a job, and ``JoblistUnavailableError``. The next call
    then goes on.
    """
    ongoing = [each.job_id for each in joblist.scan() if each.status is JobStatus.ONGOING]
    if ongoing:
        raise _busy(joblist, min(ongoing))
    path = _path(joblist)
    try:
        replace_file(path, b"")
    except OSError as error:
        raise JoblistUnavailableError(f"can't write {quote(path)}: {reason_of(error)}") from None
    reach("after the mark of an export anew")
    claims = Claims.of(joblist)
    for job_id in joblist.job_ids():
        job, _ = joblist.load(job_id)
        if job.export is None or job.export.kind != "rows":
            continue  # the manifest's job is put back when the first of the others is worked on
        claimed = claim_job(joblist, claims, job_id, job.name)
        if isinstance(claimed, LeftAlone):
            raise _busy(joblist, job_id)
        with claimed:
            _restart(joblist, claimed)
        joblist.mark_put_back()
        reach("after a job is to be exported anew")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
        sync_folder(joblist.path)


def _restart(joblist: JobList, claimed: ClaimedJob) -> None:
    log = ChunkLog(joblist.chunks_path_of(claimed.job_id), claimed.claim.require_held)
    if log.chunks:
        log.append(RestartRecord())
    if claimed.job.status is not JobStatus.TODO:
        claimed.put_back("anew")


def _path(joblist: JobList) -> str:
    return os.path.join(joblist.path, ANEW)


def _busy(joblist: JobList, job_id: str) -> UsageError:
    return UsageError(
        f"job {quote(job_id)} of {quote(joblist.path)} is worked on, so its rows can't be exported "
        "anew now. End its worker first, or wait for it"
    )
