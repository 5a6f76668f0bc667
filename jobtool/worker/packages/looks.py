"""How a gate reads job files: each time anew, or only those that have changed."""

from __future__ import annotations

import os

import msgspec

from jobtool.jobs.job import Job, JobStatus
from jobtool.jobs.joblist import JobList


class JobFiles:
    """Jobs as their files have them now."""

    def __init__(self, joblist: JobList) -> None:
        self._joblist = joblist

    def load(self, job_id: str) -> Job:
        """Return a job. Raises ``FileNotFoundError`` and ``JobFileError``."""
        return self._joblist.load(job_id)[0]

    def status_of(self, job_id: str) -> JobStatus | None:
        """Return a job's status; None if it can't be read. Raises ``FileNotFoundError``."""
        return self._joblist.status_of(job_id)


class _Kept(msgspec.Struct, frozen=True):
    """A job of which only the name, the status and the task are kept, and the mark of its file."""

    mark: tuple[int, ...]
    job: Job


class KeptJobs(JobFiles):
    """Jobs as their files had them when they last changed: one call for a file that hasn't.

    A file has changed if its inode, its size or one of its times has. That is so after each change
    by jobtool, which replaces the file or adds to it. A network filesystem may tell it a moment
    later than one that opens the file would see it, so an answer is good for leaving a job alone,
    and not for claiming it. Each job takes about a kilobyte of memory.
    """

    def __init__(self, joblist: JobList) -> None:
        super().__init__(joblist)
        self._kept: dict[str, _Kept] = {}

    def load(self, job_id: str) -> Job:
        """Return a job's name, status and task. Raises ``FileNotFoundError``, ``JobFileError``."""
        kept = self._kept.pop(job_id, None)
        mark = self._mark_of(job_id)
        if kept is None or mark is None or kept.mark != mark:
            job = super().load(job_id)
            kept = _Kept(mark or (), Job(name=job.name, status=job.status, package=job.package))
        self._kept[job_id] = kept
        return kept.job

    def status_of(self, job_id: str) -> JobStatus | None:
        """Return a job's status. Raises ``FileNotFoundError`` and ``JobFileError``."""
        return self.load(job_id).status

    def _mark_of(self, job_id: str) -> tuple[int, ...] | None:
        try:
            found = os.stat(self._joblist.path_of(job_id))
        except OSError:
            return None  # reading it tells why
        return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
