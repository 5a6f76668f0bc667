"""Which jobs ``jobtool retry`` puts back to ``todo``."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator

import msgspec

from jobtool.audit.events import LeftAlone, PutBack
from jobtool.audit.putback import left_unreadable, put_back
from jobtool.errors import JobFileError, JoblistUnavailableError
from jobtool.jobs.claim import Claims
from jobtool.jobs.job import COPY, Job, JobStatus
from jobtool.jobs.joblist import JobList
from jobtool.jobs.joblog import last_records
from jobtool.jobs.packagetask import PACKAGE_STEPS
from jobtool.names import filename_of


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Selects jobs by ``names``, else those in error whose reason contains ``match``.

    With neither, all jobs in error. With ``steps`` only those of these: of packages, and of a chain
    of steps the one that failed.
    """

    names: frozenset[str] = frozenset()
    match: str | None = None
    steps: frozenset[str] = frozenset()

    def includes(self, job: Job, log: bytes) -> bool:
        """Return True if a job is selected. One that is ``todo`` is only by name, if it waits."""
        if self.steps and step_at(job) not in self.steps:
            return False
        if job.status is JobStatus.TODO:
            return job.not_before is not None and job.name in self.names
        if self.names:
            return job.name in self.names
        return job.status is JobStatus.ERROR and (
            self.match is None or self.match in last_reason(log)
        )

    def name_of_file(self, job_id: str) -> str | None:
        """Return the name for a job whose file can't be read, None if it isn't selected."""
        if not self.names:
            return job_id if self.match is None and not self.steps else None
        return next((name for name in self.names if filename_of(name) == job_id), None)


def retry_jobs(joblist: JobList, selection: Selection) -> Iterator[PutBack | LeftAlone]:
    """Put the selected jobs back to ``todo``, reset their counts of failures, and yield each.

    Receipts stay, so nothing proven is sent again. A job that a worker holds, or whose file can't
    be read, is left alone. Raises ``JoblistUnavailableError``; at the end, if only the mark for
    running workers can't be written.
    """
    claims = Claims.of(joblist)
    unmarked: JoblistUnavailableError | None = None
    for job_id in joblist.job_ids():
        try:
            job, log = joblist.load(job_id)
        except JobFileError as error:
            name = selection.name_of_file(job_id)
            if name is not None:
                yield left_unreadable(name, error)
            continue
        except FileNotFoundError:
            continue
        if selection.includes(job, log):
            result = put_back(joblist, claims, job_id, job, event="retry")
            if isinstance(result, PutBack):
                try:
                    joblist.mark_put_back()
                except JoblistUnavailableError as error:
                    unmarked = error
            yield result
    if unmarked is not None:
        raise unmarked


def step_at(job: Job) -> str:
    """Return the step that a job is at: the package's, or the first of its chain that isn't done.

    Of a chain that is done it is the last one.
    """
    if job.package is not None:
        return job.package.step
    return next(iter(job.undone_steps), job.chain[-1])


def steps_in(joblist: JobList, asked: Collection[str]) -> set[str]:
    """Return the steps that the jobs of a joblist may be at.

    Job files are read only if one of those ``asked`` for isn't among the steps of the joblist.
    """
    found = {COPY, *joblist.settings.steps}
    if joblist.settings.packages is not None:
        found.update(PACKAGE_STEPS)
    if not found.issuperset(asked):
        for job_id in joblist.job_ids():
            with contextlib.suppress(JobFileError, FileNotFoundError):
                found.update(joblist.load(job_id)[0].steps)
    return found


def last_reason(log: bytes) -> str:
    """Return the reason of the last error in a log; empty if there is none."""
    error = last_records(log, ("error",)).get("error")
    return "" if error is None else error.values.get("reason", "")
