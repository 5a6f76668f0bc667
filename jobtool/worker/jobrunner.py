"""One job: from a worker's try to claim it to the worker's tally."""

from __future__ import annotations

import os

from jobtool.errors import ClaimLostError, InfrastructureError, JobFileError, MembershipLostError
from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.jobs.control import JobsStop
from jobtool.jobs.exportshare import MANIFEST_JOB
from jobtool.jobs.job import JobStatus
from jobtool.layouts.destination import with_destination
from jobtool.liveness import Liveness
from jobtool.names import visible
from jobtool.stop import Stop
from jobtool.stores.credentials.provider import ProviderError
from jobtool.worker.attempt import Attempt
from jobtool.worker.events import CredentialsMissing, JobClaimed, JobFailed, JobLost
from jobtool.worker.outcome import Outcome
from jobtool.worker.packages.gate import Gate
from jobtool.worker.progress import Reporter
from jobtool.worker.rankgroup import Tally
from jobtool.worker.scanstate import FINISHED, ScanState
from jobtool.worker.steering import Steering
from jobtool.worker.tools import AttemptTools
from jobtool.worker.waiting import credential_pause_seconds

#: Jobs with one of these statuses may be claimed.
CLAIMABLE = (JobStatus.TODO, JobStatus.ONGOING)


class JobRunner:
    """Claims jobs, makes an attempt at each, and counts the outcomes in ``tally``.

    ``rank`` is the worker's number among those that were started together.
    """

    def __init__(
        self,
        tools: AttemptTools,
        *,
        rank: int,
        liveness: Liveness,
        reporter: Reporter,
        scan_state: ScanState,
        tally: Tally,
        steering: Steering,
    ) -> None:
        self._steering = steering
        self._tools = tools
        self._rank = rank
        self._liveness = liveness
        self._reporter = reporter
        self._scan_state = scan_state
        self._tally = tally
        self._gate = Gate(tools.joblist, scan_state, tools.options.site)
        self._credential_failures = 0  # in a row

    def is_held_back(self, job_id: str) -> bool:
        """Return True if a ``todo`` job needn't be tried: after an undone one, or while paused."""
        return self._is_paused(job_id) or self._gate.is_closed(job_id)

    def _is_paused(self, job_id: str) -> bool:
        is_paused = self._steering.pause_of(job_id) is not None
        if is_paused:
            self._scan_state.paused.add(job_id)
        return is_paused

    def run(self, job_id: str) -> bool:
        """Run a job if it can be claimed and still needs work.

        Return False if another worker holds the job, or may still hold it. Raises
        ``InfrastructureError`` after handing the job back, and ``MembershipLostError``.
        """
        if job_id == MANIFEST_JOB and not self._may_write_manifest():
            return True
        if self._is_paused(job_id) or not self._gate.is_open(job_id):
            return True
        # Before a job is claimed: settings that no client can be made from aren't a job's fault.
        tools, settings = self._tools, self._tools.joblist.settings
        tools.stores.prepare({"source": settings.source, "destination": settings.destination})
        stop = Stop(parent=tools.options.stop)
        try:
            claimed = ClaimedJob.acquire(
                tools.joblist,
                tools.claims,
                job_id,
                tools.options.now,
                on_loss=lambda: stop.lose("the claim was lost"),
            )
        except FileNotFoundError:
            return True  # the job file was removed
        except JobFileError as error:
            self._scan_state.leave_alone(job_id, error)
            return True
        if claimed is None:
            return False
        with claimed:
            until = claimed.waits_until()
            if until is not None:
                self._scan_state.waiting[job_id] = until
                return True
            self._scan_state.waiting.pop(job_id, None)
            try:
                # Another worker may have finished the job since its status was read.
                if claimed.job.status in CLAIMABLE and not self._is_stopped(claimed):
                    tools.plugins.require(claimed.job.chain)
                    claimed.job = with_destination(claimed.job, settings)
                    self._run_claimed(claimed, stop)
                else:
                    self._note_finished(claimed)
            except JobFileError as error:
                self._scan_state.leave_alone(job_id, error)
            except MembershipLostError:
                raise
            except ClaimLostError as error:  # before the job was begun
                self._tally.lost += 1
                tools.emit(JobLost(job=claimed.job.name, reason=str(error)))
            except FileNotFoundError as error:
                self._leave_edited(job_id, error)
        return True

    def _is_stopped(self, claimed: ClaimedJob) -> bool:
        """Make a claimed job ``error`` if a person has stopped it; return whether that is so."""
        stop = self._steering.stop_of_job(claimed.job_id, claimed.job, claimed.log_as_claimed)
        if stop is not None:
            self._end_by_stop(claimed, stop)
            self._tally.failed += 1
        return stop is not None

    def _end_by_stop(self, claimed: ClaimedJob, stop: JobsStop) -> None:
        reason = f"stopped by {visible(stop.by)}"
        claimed.end_by_stop(reason, stop.token)
        self._tools.emit(
            JobFailed(
                job=claimed.job.name, reason=reason, failed_files=0, will_be_tried_again=False
            )
        )

    def _may_write_manifest(self) -> bool:
        """Return False for the last job of an export as long as another job isn't a success.

        This is asked without the claim: a worker that held it meanwhile would keep it from the one
        that finishes the last of the others.
        """
        joblist = self._tools.joblist
        if joblist.settings.export is None:
            return True
        known = self._scan_state.finished
        others = joblist.row_job_ids()
        # Those that aren't known first; then all, since a success may have been put back.
        for job_id in (*(each for each in others if each not in known), *others):
            try:
                status = joblist.status_of(job_id)
            except FileNotFoundError:
                continue
            if status is not JobStatus.SUCCESS:
                known.pop(job_id, None)
                if status in (JobStatus.ERROR, None):
                    self._scan_state.blocked.add(MANIFEST_JOB)
                return False
        self._scan_state.blocked.discard(MANIFEST_JOB)
        return True

    def _run_claimed(self, claimed: ClaimedJob, stop: Stop) -> None:
        tools, job, job_id = self._tools, claimed.job, claimed.job_id
        started = tools.options.monotonic()
        try:
            claimed.begin(worker=tools.worker, rank=self._rank)
            tools.emit(
                JobClaimed(
                    job=job.name, stem=job_id, status=job.status, attempt=claimed.job.attempts
                )
            )
            attempt = Attempt(claimed, tools, stop)
            number = claimed.job.attempts
            with (
                self._steering.holding(job_id, stop, number),
                self._liveness.working(job.name),
            ):
                outcome = attempt.run()
            if outcome is Outcome.HANDED_BACK:
                outcome = self._after_hand_back(claimed, number)
        except ProviderError as error:
            self._count_hand_back(claimed)
            self._wait_for_credentials(error)
            return
        except InfrastructureError:
            self._count_hand_back(claimed)
            raise
        except MembershipLostError:
            self._tally.lost += 1
            raise
        except ClaimLostError as error:
            tools.emit(JobLost(job=job.name, reason=str(error)))
            outcome = Outcome.LOST
        except (JobFileError, FileNotFoundError) as error:
            self._leave_edited(job_id, error)
            return
        finally:
            tools.use_routes({})
            self._reporter.end_job()
        self._count(claimed, attempt, outcome, seconds=tools.options.monotonic() - started)

    def _count(
        self, claimed: ClaimedJob, attempt: Attempt, outcome: Outcome, *, seconds: float
    ) -> None:
        tools, job_id = self._tools, claimed.job_id
        self._credential_failures = 0
        if outcome is Outcome.SUCCESS:
            tools.doubts.note_success()
            self._tally.succeeded += 1
            tools.pace.add(
                seconds, files=attempt.report.files_done, size_bytes=attempt.report.bytes_done
            )
        elif outcome is Outcome.ERROR:
            self._tally.failed += 1
        elif outcome is Outcome.LOST:
            self._tally.lost += 1
        elif outcome is Outcome.DOUBTFUL and attempt.doubt is not None:
            self._count_hand_back(claimed)
            tools.doubts.add(job_id, attempt.doubt)
        elif outcome is Outcome.WAITING and claimed.job.not_before is not None:
            self._tally.handed_back += 1
            self._scan_state.waiting[job_id] = claimed.job.not_before
        elif attempt.is_too_long:
            self._scan_state.too_long.add(job_id)  # it was only listed, so it isn't counted
        else:
            self._tally.handed_back += 1
            if claimed.job.not_before is not None:  # after a failure
                self._scan_state.waiting[job_id] = claimed.job.not_before
        if claimed.job.status in FINISHED and outcome is not Outcome.LOST:
            self._note_finished(claimed)

    def _after_hand_back(self, claimed: ClaimedJob, attempt: int) -> Outcome:
        """Make a job ``error`` that a person has stopped; return the outcome."""
        stop = self._steering.stop_of_attempt(claimed.job_id, attempt)
        if stop is not None and claimed.job.status is JobStatus.TODO:
            self._end_by_stop(claimed, stop)
            return Outcome.ERROR
        if self._steering.pause_of(claimed.job_id) is not None:
            self._steering.hand_backs += 1
        return Outcome.HANDED_BACK

    def _note_finished(self, claimed: ClaimedJob) -> None:
        self._scan_state.finished[claimed.job_id] = claimed.job.status

    def _leave_edited(self, job_id: str, error: JobFileError | FileNotFoundError) -> None:
        """Leave a job whose file another program has edited or removed. Other jobs aren't affected.

        Raises the error if it is about another file.
        """
        if isinstance(error, JobFileError):
            self._scan_state.leave_alone(job_id, error)
        elif os.path.exists(self._tools.joblist.path_of(job_id)):
            raise error
        else:
            removed = "it was removed while the job was in progress"
            self._scan_state.add_invalid(job_id, removed)
        self._tally.failed += 1

    def _count_hand_back(self, claimed: ClaimedJob) -> None:
        """Count a job that was handed back. It is in error if that happened too often."""
        if claimed.job.status is JobStatus.ERROR:
            self._tally.failed += 1
            self._scan_state.finished[claimed.job_id] = claimed.job.status
        else:
            self._tally.handed_back += 1

    def _wait_for_credentials(self, error: ProviderError) -> None:
        """Wait for the provider. Raises its error once it has failed too often in a row."""
        self._credential_failures += 1
        pause_seconds = credential_pause_seconds(self._credential_failures)
        if pause_seconds is None:
            raise error
        failures = self._credential_failures
        self._tools.emit(CredentialsMissing(reason=str(error), failures=failures))
        self._tools.options.stop.wait(pause_seconds)
