"""The step ``copy`` of the last job of an export: the manifest and ``_SUCCESS`` arrive.

No worker claims it before all other jobs are a success. If one of them is worked on again, both
files are removed first, and this job is put back.
"""

from __future__ import annotations

import json
import os

from jobtool.errors import (
    CredentialsError,
    FileError,
    JobFileError,
    JobtoolError,
    StoppedError,
    StoreUnavailableError,
    reason_of,
)
from jobtool.export.chunknames import MANIFEST, SUCCESS
from jobtool.export.manifest import manifest_of
from jobtool.export.placement import other_data
from jobtool.export.staging import Staging
from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.jobs.exportshare import MANIFEST_JOB
from jobtool.jobs.job import JobStatus
from jobtool.names import quote
from jobtool.steps.step import StepContext
from jobtool.stop import ASKED
from jobtool.stores.store import Store, kind_of
from jobtool.transfer.ledger import Ledger
from jobtool.transfer.plan import Plan, Route
from jobtool.worker.chunkleftovers import remove_unfinished
from jobtool.worker.filesstep import FilesStep, PrematureError
from jobtool.worker.tools import AttemptTools

_LOOK_SECONDS = 0.5


class ManifestStep(FilesStep):
    """Writes what all chunks are, and then that all are there."""

    def run(self, claimed_job: ClaimedJob, context: StepContext) -> None:
        """Write both files. Raises what ``_end`` does, and what reading the other jobs does."""
        joblist, destination = self._tools.joblist, claimed_job.job.destination
        settings = joblist.settings.export
        if settings is None or destination is None:
            raise JobFileError("expected a destination, and a table [export] in joblist.toml")
        for job_id in joblist.row_job_ids():
            if joblist.status_of(job_id) is not JobStatus.SUCCESS:
                raise PrematureError(
                    f"job {quote(job_id)} isn't a success. It was put back meanwhile."
                )
        staging = Staging(joblist, claimed_job.job_id, settings, context)
        staging.prepare()
        try:
            plan = Plan()
            store = context.destination(destination)
            plan.start_route(Route(staging.source, store))
            manifest = manifest_of(joblist, store)
            if settings.existing_data != "ignore":
                _require_alone(context, store, {each["file"] for each in manifest["files"]})
            content = json.dumps(manifest, indent=1, ensure_ascii=False)
            for name, text in ((MANIFEST, content + "\n"), (SUCCESS, "")):
                _write(os.path.join(staging.folder, name), text)
                plan.add(staging.stage(name), name)
            ledger = Ledger(plan, self._records.journal, attempt=claimed_job.job.attempts)
            records = [*self._records.all()]
            if claimed_job.job.attempts > 1:
                context.retry.call(lambda: remove_unfinished(store, records))
            ledger.fold(records)
            ledger.compare(context.retry)
            transfer = self._make_transfer(claimed_job, context, ledger)
            try:
                transfer.run(self._report.progress_since(transfer.progress))
            finally:
                self._records.journal.close()
            self._end(claimed_job, context, plan, transfer)
        finally:
            staging.close()


def withdraw_manifest(tools: AttemptTools, context: StepContext, destination: Store) -> None:
    """Remove ``_SUCCESS`` and the manifest, since chunks may change now.

    The caller's job is ``ongoing`` already. The manifest's job looks at all others once it is
    ``ongoing`` itself. So at least one of the two sees the other. If another worker is writing the
    manifest, this waits for it. A manifest's job that is done is put back, also one in error: what
    it lacked may be there now.

    Raises the errors of stores and of claims, ``StoppedError``, and ``PrematureError`` if another
    worker holds that job for long.
    """
    joblist, retry = tools.joblist, context.retry
    try:
        if joblist.status_of(MANIFEST_JOB) is JobStatus.TODO:
            retry.call(lambda: _remove(destination))  # by ``retry`` it is todo with a manifest
            return
        with _claimed_manifest(tools, context) as claimed:
            retry.call(lambda: _remove(destination))
            if claimed.job.status in (JobStatus.SUCCESS, JobStatus.ERROR):
                claimed.put_back("put-back")
                joblist.mark_put_back()
    except (FileNotFoundError, JobFileError):  # nobody can do it
        retry.call(lambda: _remove(destination))


def _claimed_manifest(tools: AttemptTools, context: StepContext) -> ClaimedJob:
    waited = 0.0
    while True:
        claimed = ClaimedJob.acquire(tools.joblist, tools.claims, MANIFEST_JOB, tools.options.now)
        if claimed is not None:
            return claimed
        if context.stop.is_set():
            raise StoppedError(context.stop.reason or ASKED)
        if waited >= context.retry.patience_seconds:
            raise PrematureError(f"job {MANIFEST_JOB!r} is held by another worker")
        context.stop.wait(_LOOK_SECONDS)
        waited += _LOOK_SECONDS


def _remove(destination: Store) -> None:
    """Remove both files if they are there: not everybody may delete what isn't there."""
    for name in (SUCCESS, MANIFEST):
        if kind_of(destination, name) == "file":
            destination.delete(name)
    destination.sync()


def _require_alone(context: StepContext, destination: Store, files: set[str]) -> None:
    """Raise ``JobtoolError`` if readers would read other data files than those of the manifest.

    A destination that can't be listed isn't looked at.
    """
    own = files | {MANIFEST, SUCCESS}
    try:
        found = context.retry.call(lambda: other_data(destination, own))
    except (CredentialsError, FileError) as error:
        if error.retryable:
            raise
        return
    if found:
        raise JobtoolError(
            f"expected only the files of this export in {quote(destination.url)}; found "
            f"{quote(found[0])}{f' and {len(found) - 1:,} more' if found[1:] else ''}. Readers "
            "would mix them with the exported rows. Move them away, or write existing_data = "
            f'"ignore" into [export] of joblist.toml; then: jobtool retry --job {MANIFEST_JOB}'
        )


def _write(path: str, text: str) -> None:
    try:
        with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
    except OSError as error:
        raise StoreUnavailableError(f"can't write {quote(path)}: {reason_of(error)}") from None
