"""The step ``copy`` of the last job of an export: the manifest and ``_SUCCESS`` arrive.

No worker claims it before all other jobs are a success. If one of them is worked on again, it is
put back first, and ``_SUCCESS`` is removed.
"""

from __future__ import annotations

import json
import os

from jobtool.errors import JobFileError, JobtoolError, StoreUnavailableError, reason_of
from jobtool.export.chunknames import MANIFEST, SUCCESS
from jobtool.export.manifest import manifest_of
from jobtool.export.staging import Staging
from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.jobs.exportshare import MANIFEST_JOB
from jobtool.jobs.job import JobStatus
from jobtool.jobs.joblist import JobList
from jobtool.names import quote
from jobtool.steps.step import StepContext
from jobtool.transfer.ledger import Ledger
from jobtool.transfer.plan import Plan, Route
from jobtool.worker.filesstep import FilesStep
from jobtool.worker.tools import AttemptTools


class ManifestStep(FilesStep):
    """Writes what all chunks are, and then that all are there."""

    def run(self, claimed_job: ClaimedJob, context: StepContext) -> None:
        """Write both files. Raises what ``_end`` does, and what reading the other jobs does."""
        joblist, destination = self._tools.joblist, claimed_job.job.destination
        settings = joblist.settings.export
        if settings is None or destination is None:
            raise JobFileError("expected a destination, and a table [export] in joblist.toml")
        for job_id in row_jobs_of(joblist):
            if joblist.status_of(job_id) is not JobStatus.SUCCESS:
                raise NotAllDoneError(
                    f"job {quote(job_id)} isn't a success. It was put back meanwhile"
                )
        staging = Staging(joblist, claimed_job.job_id, settings, context)
        try:
            staging.prepare()
            plan = Plan()
            store = context.destination(destination)
            plan.start_route(Route(staging.source, store))
            content = json.dumps(manifest_of(joblist, store), indent=1, ensure_ascii=False)
            for name, text in ((MANIFEST, content + "\n"), (SUCCESS, "")):
                _write(os.path.join(staging.folder, name), text)
                plan.add(staging.stage(name), name)
            ledger = Ledger(plan, self._records.journal, attempt=claimed_job.job.attempts)
            ledger.fold(self._records.all())
            ledger.compare(context.retry)
            transfer = self._make_transfer(claimed_job, context, ledger)
            try:
                transfer.run(self._report.progress_since(transfer.progress))
            finally:
                self._records.journal.close()
            self._end(claimed_job, context, plan, transfer)
        finally:
            staging.close()


class NotAllDoneError(JobtoolError):
    """A job that the manifest is about isn't done."""

    retryable = True


def row_jobs_of(joblist: JobList) -> list[str]:
    """Return the IDs of the jobs that export rows."""
    return [job_id for job_id in joblist.job_ids() if job_id != MANIFEST_JOB]


def withdraw_manifest(tools: AttemptTools, context: StepContext) -> None:
    """Put the manifest's job back if it is a success, since chunks may change now.

    ``_SUCCESS`` is removed first. Raises the errors of stores and of claims, and ``JobtoolError``
    if another worker holds that job.
    """
    joblist = tools.joblist
    try:
        if joblist.status_of(MANIFEST_JOB) is not JobStatus.SUCCESS:
            return
        claimed = ClaimedJob.acquire(joblist, tools.claims, MANIFEST_JOB, tools.options.now)
    except FileNotFoundError:
        return
    if claimed is None:
        raise NotAllDoneError(f"job {MANIFEST_JOB!r} is held by another worker")
    with claimed:
        if claimed.job.status is not JobStatus.SUCCESS or claimed.job.destination is None:
            return
        store = context.destination(claimed.job.destination)
        context.retry.call(lambda: store.delete(SUCCESS))
        claimed.put_back("put-back")
        joblist.mark_put_back()


def _write(path: str, text: str) -> None:
    try:
        with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
    except OSError as error:
        raise StoreUnavailableError(f"can't write {quote(path)}: {reason_of(error)}") from None
