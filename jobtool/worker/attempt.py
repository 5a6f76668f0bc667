"""One attempt at one job by the worker that holds its claim: its steps in order, a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jobtool.errors import (
    ClaimLostError,
    InfrastructureError,
    JobtoolError,
    MembershipLostError,
    NotYetError,
    QueryRefusedError,
    Scope,
    StoppedError,
)
from jobtool.jobs.claimedjob import ClaimedJob, too_often
from jobtool.jobs.job import COPY, JobStatus
from jobtool.jobs.packagesettings import backoff_seconds_of
from jobtool.jobs.stamps import stamp_of
from jobtool.steps.step import LogLine, Step, StepContext
from jobtool.stop import ASKED, Stop
from jobtool.stores.credentials.provider import ProviderError
from jobtool.transfer.credentialscopes import credential_scopes_of
from jobtool.transfer.plan import Failure
from jobtool.worker.events import (
    JobFailed,
    JobHandedBack,
    JobLost,
    JobStarted,
    JobSucceeded,
    StepBegun,
    StepDone,
)
from jobtool.worker.filesstep import FilesFailedError, PrematureError, Totals
from jobtool.worker.filessteps import files_step_of
from jobtool.worker.jobrecords import JobRecords
from jobtool.worker.jobreport import LOGGED_FILES, JobReport
from jobtool.worker.jobtext import what_of
from jobtool.worker.outcome import Outcome
from jobtool.worker.tools import AttemptTools


class Attempt:
    """Does the steps of a claimed ``ongoing`` job that aren't done, and writes its new status.

    ``report`` reports progress and how much was done. An attempt that ends ``DOUBTFUL`` was handed
    back for ``doubt``. ``stop`` ends this attempt: the worker stops, or the claim is lost.
    """

    def __init__(self, claimed: ClaimedJob, tools: AttemptTools, stop: Stop) -> None:
        self.doubt: JobtoolError | None = None
        self.report = JobReport(claimed, tools.options, tools.emit, tools.watch)
        self._claimed = claimed
        self._tools = tools
        self._stop = stop
        self._name = claimed.job.name
        self._records = JobRecords(tools.joblist, claimed, tools.claims)
        self._copy = files_step_of(claimed.job)(tools, self._records, self.report, stop)
        self._copied: Totals | None = None  # by an earlier attempt
        self._step: str | None = None  # the step under way
        self._has_done_step = False

    @property
    def is_too_long(self) -> bool:
        """Whether the job was handed back because it can't be done in the time that is left."""
        return self._copy.is_too_long

    def run(self) -> Outcome:
        """Do the job and record how it ended.

        Raises ``InfrastructureError`` after handing the job back, since no other job would succeed.
        Once the claim is lost, nothing is written.
        """
        try:
            return self._run()
        except MembershipLostError:
            self._records.journal.discard()
            raise
        except ClaimLostError as error:
            self._records.journal.discard()
            self._tools.emit(JobLost(job=self._name, reason=str(error)))
            return Outcome.LOST

    def _run(self) -> Outcome:
        started = self._tools.options.monotonic()
        try:
            totals = self._do_steps()
        except ClaimLostError:
            raise
        except StoppedError as error:
            if self._stop.is_set():
                return self._hand_back(self._stop.reason)
            # Handed back, it would be claimed again at once, without end.
            unasked = JobtoolError(f"it stopped, though nothing asked it to: {error}")
            return self._fail([Failure(path="", error=unasked)])
        except ProviderError:
            self._set_back("no credentials", is_counted=False)  # the reason is reported at the end
            raise
        except QueryRefusedError as error:
            # The database's message may be long, and ends the command: it is told once.
            self._set_back(self._reason(error), told="the database refuses its query")
            raise
        except InfrastructureError as error:
            if error.retryable and self._stop.is_set():
                return self._hand_back(self._stop.reason)
            self._set_back(self._reason(error))
            raise
        except FilesFailedError as error:
            return self._end_in_failure(error.failures, is_doubtful=error.is_doubtful)
        except NotYetError as error:
            return self._wait(error)
        except PrematureError as error:
            self._set_back(self._reason(error), is_counted=False)
            return Outcome.HANDED_BACK
        except JobtoolError as error:
            if error.retryable and self._stop.is_set():
                return self._hand_back(self._stop.reason)  # the stop cut off its further tries
            is_doubtful = error.scope is Scope.UNCERTAIN and not self._copy.has_succeeded
            return self._end_in_failure([Failure(path="", error=error)], is_doubtful=is_doubtful)
        except Exception as error:  # a bug must not leave this job ongoing or stop other jobs
            unexpected = JobtoolError(f"unexpected {type(error).__name__}: {error}")
            return self._fail([Failure(path="", error=unexpected)])
        return self._succeed(totals, seconds=self._tools.options.monotonic() - started)

    def _do_steps(self) -> Totals:
        """Do the steps that aren't done; return the totals of the job's files.

        Raises what a step raises, and ``StoppedError`` between two steps.
        """
        claimed, tools = self._claimed, self._tools
        if claimed.job.package is not None:
            from jobtool.worker.packages.preparing import prepared

            self._copy.use(prepared(claimed, tools))
        tools.emit(JobStarted.of(claimed.job, tools.joblist.settings))
        tools.stores.on_renewal = self.report.renewal
        tools.stores.begin_job(credential_scopes_of(claimed.job))
        retry = tools.options.retry(self._stop, on_retry=self.report.retry)
        for name in claimed.job.chain:
            if self._is_done(name):
                if name == COPY:
                    self._copied = self._recorded_totals()
                continue
            if self._has_done_step and self._stop.is_set():
                raise StoppedError(self._stop.reason or ASKED)
            self._step = name
            self._begin_step(name)
            context = StepContext(
                stores=tools.stores,
                stop=self._stop,
                retry=retry,
                emit=tools.emit,
                owner=tools.joblist.owner_of(claimed.job_id),
                receipts=self._records.receipts,
                log=self._log_of(name),
                require_held=claimed.claim.require_held,
            )
            self._do_step(self._copy if name == COPY else tools.plugins.make(name), context)
            self._step = None
        totals = self._copy.totals or self._copied
        assert totals is not None  # each chain has the step ``copy``
        return totals

    def _begin_step(self, name: str) -> None:
        self._claimed.begin_step(name)
        if self._claimed.job.steps:
            attempt = self._claimed.job.step_state(name).attempts
            self._tools.emit(StepBegun(job=self._name, step=name, attempt=attempt))

    def _is_done(self, name: str) -> bool:
        is_done = self._claimed.job.step_state(name).status is JobStatus.SUCCESS
        return is_done and (name != COPY or self._records.has_table)  # the table is its proof

    def _do_step(self, step: Step, context: StepContext) -> None:
        started = self._tools.options.monotonic()
        try:
            step.run(self._claimed, context)
        except SystemExit as error:  # it would end this worker, and each that claims the job later
            raise JobtoolError(f"it tried to end the worker's process ({error!r})") from None
        seconds = self._tools.options.monotonic() - started
        self._claimed.end_step(step.name, seconds=seconds)
        self._has_done_step = True
        if self._claimed.job.steps:
            self._tools.emit(StepDone(job=self._name, step=step.name, seconds=seconds))

    def _log_of(self, step: str) -> LogLine:
        def log(event: str, **values: object) -> None:
            self._claimed.log(f"{step}.{event}", **values)

        return log

    def _recorded_totals(self) -> Totals:
        """Return the totals of files that an earlier attempt has copied."""
        files = size = 0
        for receipt in self._records.receipts():
            files += 1
            size += receipt.size
        return Totals(files=files, bytes=size)

    @property
    def _has_progressed(self) -> bool:
        return self._copy.has_progressed or self._has_done_step

    @property
    def _counts(self) -> dict[str, object]:
        """The progress of the copy, as fields of log lines."""
        if self._copied is None:
            return self.report.counts
        files, size = self._copied.files, self._copied.bytes
        return {"files": f"{files}/{files}", "bytes": f"{size}/{size}"}

    @property
    def _where(self) -> dict[str, object]:
        """The step at which the attempt ended, as fields of its log line."""
        return {"step": self._step} if self._claimed.job.steps and self._step else {}

    def _reason(self, error: BaseException) -> str:
        """Return the text of an error, with the step's name unless it is ``copy``."""
        return str(error) if self._step in (None, COPY) else f"step {self._step}: {error}"

    def _succeed(self, totals: Totals, *, seconds: float) -> Outcome:
        values = {"files": totals.files, "bytes": totals.bytes, "seconds": seconds}
        if totals.skipped:
            values["skipped"] = totals.skipped
        if totals.excluded:
            values["excluded"] = totals.excluded
        if totals.rows is not None:
            values["rows"] = totals.rows
        if self.report.renewals:
            values["renewals"] = self.report.renewals
        self._claimed.change(JobStatus.SUCCESS, "success", **values)
        self._tools.emit(
            JobSucceeded(
                job=self._name,
                files=totals.files,
                bytes=totals.bytes,
                seconds=seconds,
                rows=totals.rows,
                excluded=totals.excluded,
                what=what_of(self._claimed.job),
            )
        )
        return Outcome.SUCCESS

    def _fail(self, failures: Sequence[Failure]) -> Outcome:
        self._copy.tell_left_out()
        for failure in failures[:LOGGED_FILES]:
            if failure.path:
                self._claimed.log("failed", path=failure.path, reason=str(failure.error))
        reason = self._reason(failures[0].error)
        count = sum(bool(failure.path) for failure in failures)
        may_pass = all(failure.error.retryable for failure in failures)
        status = self._claimed.fail(
            {**self._counts, "failed_files": count, **self._where, "reason": reason},
            may_pass=may_pass,
            max_attempts=self._tools.options.max_attempts,
            backoff_seconds=backoff_seconds_of(self._tools.joblist.settings.packages),
        )
        self._tools.emit(
            JobFailed(
                job=self._name,
                reason=reason,
                failed_files=count,
                will_be_tried_again=status is JobStatus.TODO,
            )
        )
        return Outcome.ERROR if status is JobStatus.ERROR else Outcome.HANDED_BACK

    def _end_in_failure(self, failures: Sequence[Failure], *, is_doubtful: bool) -> Outcome:
        """Fail the job, or hand it back if the refusal may be about all jobs."""
        if not is_doubtful:
            return self._fail(failures)
        doubts, job_id = self._tools.doubts, self._claimed.job_id
        try:
            is_its_own = doubts.is_of_the_job(job_id, self._copy.any_proven)
        except InfrastructureError as error:
            self._set_back(self._reason(error))
            raise
        if is_its_own:
            return self._fail(failures)
        self.doubt = next(
            failure.error for failure in failures if failure.error.scope is Scope.UNCERTAIN
        )
        self._set_back(self._reason(self.doubt), is_counted=not doubts.is_met_again(job_id))
        return Outcome.DOUBTFUL

    def _set_back(self, reason: str, *, is_counted: bool = True, told: str | None = None) -> None:
        """Hand the job back for a reason that isn't its own, unless that happened too often.

        A hand-back that ``is_counted`` may be about this job alone after all. ``told`` is told in
        place of the reason, which the job's log has.
        """
        self._copy.tell_left_out()
        kept = self._kept_counts()
        status = self._claimed.set_back(
            {**self._counts, **kept, **self._where, "reason": reason},
            has_progressed=self._has_progressed,
            is_counted=is_counted,
        )
        if status is JobStatus.ERROR:
            self._tools.emit(
                JobFailed(
                    job=self._name,
                    reason=too_often(reason),
                    failed_files=0,
                    will_be_tried_again=False,
                )
            )
        else:
            self._tell_handed_back(told or reason, kept)

    def _wait(self, error: NotYetError) -> Outcome:
        """Hand the job back until its store may have fetched the files that can't be read yet."""
        self._copy.tell_left_out()
        kept = self._kept_counts()
        more = f" (and {error.files - 1} more files)" if error.files > 1 else ""
        reason = self._reason(error) + more
        values = {"waiting_files": error.files, **self._where, "reason": reason}
        until = self._claimed.wait({**self._counts, **kept, **values}, seconds=error.seconds)
        told = {**kept, "waiting_files": error.files, "not_before": stamp_of(until)}
        self._tell_handed_back(reason, told)
        return Outcome.WAITING

    def _hand_back(self, reason: str | None) -> Outcome:
        """Hand the job back because the worker was asked to stop."""
        self._copy.tell_left_out()
        reason = reason or ASKED
        kept = self._kept_counts()
        if self._has_progressed:
            self._claimed.note_progress()
        values = {**self._counts, **kept, **self._where, "reason": reason}
        self._claimed.change(JobStatus.TODO, "handed-back", **values)
        self._tell_handed_back(reason, kept)
        return Outcome.HANDED_BACK

    def _tell_handed_back(self, reason: str, more: Mapping[str, Any]) -> None:
        told = {**self.report.totals, **more}
        self._tools.emit(JobHandedBack(job=self._name, reason=reason, **told))

    def _kept_counts(self) -> dict[str, int]:
        """Return the log field for what is kept of unfinished files; none if nothing was begun."""
        parts_bytes = self._copy.parts_bytes
        if parts_bytes is None or not self.report.counts:
            return {}
        return {"parts_bytes": parts_bytes}
