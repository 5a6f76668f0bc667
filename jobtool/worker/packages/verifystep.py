"""The step ``verify``: what arrived at a site is read back and compared with its receipts."""

from __future__ import annotations

from jobtool.audit.events import Verified
from jobtool.audit.verify import Audit
from jobtool.errors import JobFileError, JobtoolError, NotYetError, StoppedError
from jobtool.events import Event
from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.jobs.packagechain import landing_of, task_of
from jobtool.jobs.packagetask import job_name
from jobtool.names import filename_of
from jobtool.steps.step import StepContext
from jobtool.stop import ASKED
from jobtool.worker.filesstep import FilesStep, Totals
from jobtool.worker.packages.way import LOOK_AGAIN_SECONDS, NotArrivedError


class FoundDamageError(JobtoolError):
    """Files that had arrived are missing or changed. The job that brought them does so again."""

    retryable = True


class VerifyStep(FilesStep):
    """One attempt at reading back what the step before has brought."""

    def run(self, claimed_job: ClaimedJob, context: StepContext) -> None:
        """Read the files. What isn't as it should be is brought again, by the job that did before.

        Raises ``FoundDamageError``, ``StoppedError``, ``NotYetError`` if the files aren't there
        yet, ``JobFileError``, and the errors of stores and of the joblist.
        """
        tools, liveness = self._tools, self._tools.copier.liveness

        def watch(done: int) -> None:
            if self._stop.is_set():
                raise StoppedError(self._stop.reason or ASKED)

        def emit(event: Event) -> None:
            if not isinstance(event, Verified):  # the job's end tells the same, with its name
                tools.emit(event)

        audit = Audit(
            context.stores,
            emit,
            deep=True,
            threads=tools.options.threads,
            watch=watch,
            on_thread=liveness.join,
        )
        with liveness.aside():
            found = audit.joblist(
                tools.joblist, names=frozenset({self._brought_by(claimed_job)}), repair=True
            )
        if found.unfinished_jobs:
            raise NotYetError(
                "the job that brings the files was put back meanwhile",
                seconds=LOOK_AGAIN_SECONDS,
                files=0,
            )
        wrong = found.missing + found.changed + found.unproven + found.unreadable
        claimed_job.log("verified", files=found.files, bytes=found.bytes, wrong=wrong)
        if wrong:
            raise FoundDamageError(
                f"{wrong} of {found.files} files are missing, changed or can't be read. Those that "
                "can be are brought again."
            )
        self.totals = Totals(files=found.files, bytes=found.bytes)

    def _brought_by(self, claimed: ClaimedJob) -> str:
        """Return the name of the job whose files are verified."""
        task = task_of(claimed.job)
        if not task.after:
            raise JobFileError("expected a line package.after, the job to verify; found none")
        if job_name(task.package, "copy", task.to) not in task.after:
            return task.after[0]
        landing = landing_of(self._tools.joblist, task.package, task.to)
        if landing is None:
            raise NotArrivedError.of(task.package)
        landed = task_of(self._tools.joblist.load(filename_of(landing.job))[0])
        return landed.brought_by or landing.job
