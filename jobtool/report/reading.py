"""Reading job files for those who only look."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator

import msgspec

from jobtool.errors import JobFileError, UnmetRequirementError
from jobtool.jobs import jobfile
from jobtool.jobs.job import Job
from jobtool.jobs.joblist import JobList
from jobtool.jobs.requirements import require_understood
from jobtool.jobs.safe_read import open_without_waiting
from jobtool.names import name_of
from jobtool.report.jobline import JobLine, judged, line_of
from jobtool.report.life import SignsOfLife
from jobtool.report.quickline import QUICK_BYTES, quick_line


class ReadJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job as it was read once: its line, its header and its log.

    ``job`` is None if the job is invalid or this version doesn't understand it; the log is empty
    then.
    """

    job_id: str
    line: JobLine
    job: Job | None = None
    log: bytes = b""


def read_jobs(joblist: JobList, job_ids: Iterable[str]) -> Iterator[ReadJob]:
    """Read job files, each once; those that are missing are left out. Writes nothing."""
    signs = SignsOfLife(joblist)
    for job_id in job_ids:
        try:
            data = joblist.read(job_id)
        except FileNotFoundError:
            continue  # removed between listing and reading
        except JobFileError as error:
            yield ReadJob(job_id=job_id, line=_invalid(job_id, error))
        else:
            read = _decoded(job_id, data)
            yield msgspec.structs.replace(read, line=judged(read.line, signs))


#: What tells that a file has changed: its inode, time of change in nanoseconds, and size.
Mark = tuple[int, int, int]


def marked_line(joblist: JobList, job_id: str) -> tuple[JobLine, Mark]:
    """Return the line of one job, which isn't ``judged``, and the mark of its file.

    The mark is from before the file is read, so that a change meanwhile shows. Raises ``OSError``
    for a file that can't be opened.
    """
    descriptor = open_without_waiting(joblist.path_of(job_id))
    try:
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode) and found.st_size <= QUICK_BYTES:
            line = quick_line(job_id, os.read(descriptor, QUICK_BYTES + 1))
        else:
            line = None
    finally:
        os.close(descriptor)
    return line or _line_at(joblist, job_id), (found.st_ino, found.st_mtime_ns, found.st_size)


def _line_at(joblist: JobList, job_id: str) -> JobLine:
    try:
        data = joblist.read(job_id)
    except JobFileError as error:
        return _invalid(job_id, error)
    return _decoded(job_id, data).line


def _decoded(job_id: str, data: bytes) -> ReadJob:
    try:
        job, log = jobfile.decode(data, job_id=job_id)
        require_understood(job.requires)
    except UnmetRequirementError as error:
        status = jobfile.decode_status(data)
        line = JobLine(job=name_of(job_id), status=status, note=str(error), needs_newer=True)
        return ReadJob(job_id=job_id, line=line)
    except JobFileError as error:
        return ReadJob(job_id=job_id, line=_invalid(job_id, error))
    return ReadJob(job_id=job_id, line=line_of(job, log), job=job, log=log)


def _invalid(job_id: str, error: JobFileError) -> JobLine:
    return JobLine(job=job_id, status=None, note=str(error))
