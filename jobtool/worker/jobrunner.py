"""One job: from a worker's try to claim it to the worker's tally."""

from __future__ import annotations

import os

from jobtool.errors import ClaimLostError, InfrastructureError, JobFileError, MembershipLostError
from jobtool.events import Emit
from jobtool.jobs.claim import Claims
from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.jobs.job import JobStatus
from jobtool.jobs.joblist import JobList
from jobtool.layouts.destination import with_destination
from jobtool.liveness import Liveness
from jobtool.stop import Stop
from jobtool.stores.credentials.provider import ProviderError
from jobtool.stores.registry import StoreRegistry
from jobtool.transfer.copy import Copier
from jobtool.worker.attempt import Attempt, Outcome
from jobtool.worker.doubt import Doubts
from jobtool.worker.environment import Environment
from jobtool.worker.events import CredentialsMissing, JobClaimed, JobLost, JobStarted
from jobtool.worker.options import ResolvedOptions
from jobtool.worker.pace import Pace
from jobtool.worker.progress import Reporter
from jobtool.worker.rankgroup import Tally
from jobtool.worker.scanstate import FINISHED, ScanState
from jobtool.worker.waiting import credential_pause_seconds

#: A job with one of these statuses may be claimed.
CLAIMABLE = (JobStatus.TODO, JobStatus.ONGOING)


class JobRunner:
    """Claims jobs, makes an attempt at each, and counts the outcomes in ``tally``."""

    def __init__(
        self,
        joblist: JobList,
        environment: Environment,
        options: ResolvedOptions,
        emit: Emit,
        *,
        claims: Claims,
        copier: Copier,
        doubts: Doubts,
        liveness: Liveness,
        pace: Pace,
        reporter: Reporter,
        scan_state: ScanState,
        stores: StoreRegistry,
        tally: Tally,
    ) -> None:
        self._joblist = joblist
        self._environment = environment
        self._options = options
        self._emit = emit
        self._claims = claims
        self._copier = copier
        self._doubts = doubts
        self._liveness = liveness
        self._pace = pace
        self._reporter = reporter
        self._scan_state = scan_state
        self._stores = stores
        self._tally = tally
        self._credential_failures = 0  # in a row

    def run(self, job_id: str) -> bool:
        """Run a job if it can be claimed and still needs work.

        Return False if another worker holds the job, or may still hold it. Raises
        ``InfrastructureError`` after handing the job back, and ``MembershipLostError``.
        """
        # Before a job is claimed: settings that no client can be made from aren't a job's fault.
        settings = self._joblist.settings
        self._stores.prepare({"source": settings.source, "destination": settings.destination})
        stop = Stop(parent=self._options.stop)
        try:
            claimed = ClaimedJob.take(
                self._joblist,
                self._claims,
                job_id,
                self._options.now,
                on_loss=lambda: stop.lose("the claim was lost"),
            )
        except FileNotFoundError:
            return True  # somebody has removed the job file
        except JobFileError as error:
            self._scan_state.add_invalid(job_id, str(error))
            return True
        if claimed is None:
            return False
        with claimed:
            try:
                # Another worker may have finished the job since its status was read.
                if claimed.job.status in CLAIMABLE:
                    claimed.job = with_destination(claimed.job, settings)
                    self._run_claimed(claimed, stop)
                else:
                    self._scan_state.finished[job_id] = claimed.job.status
            except JobFileError as error:
                self._scan_state.add_invalid(job_id, str(error))
        return True

    def _run_claimed(self, claimed: ClaimedJob, stop: Stop) -> None:
        job, job_id = claimed.job, claimed.job_id
        started = self._options.monotonic()
        try:
            claimed.begin(worker=self._environment.worker, rank=self._environment.rank)
            self._emit(
                JobClaimed(
                    job=job.name, stem=job_id, status=job.status, attempt=claimed.job.attempts
                )
            )
            self._emit(JobStarted(job=job.name, source=job.origin, destination=job.target))
            attempt = Attempt(
                claimed,
                self._joblist,
                self._environment.worker,
                self._options,
                stop,
                self._emit,
                self._reporter.watch,
                self._claims,
                self._pace,
                self._doubts,
            )
            with self._liveness.working(job.name):
                outcome = attempt.run(self._stores, self._copier)
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
            self._emit(JobLost(job=job.name, reason=str(error)))
            outcome = Outcome.LOST
        except (JobFileError, FileNotFoundError) as error:
            # Somebody has edited or removed the job file. Other jobs aren't affected.
            if os.path.exists(self._joblist.path_of(job_id)) and isinstance(error, OSError):
                raise
            removed = "it was removed while the job was in progress"
            self._scan_state.add_invalid(
                job_id, removed if isinstance(error, OSError) else str(error)
            )
            self._tally.failed += 1
            return
        finally:
            self._reporter.end_job()
        self._credential_failures = 0
        if outcome is Outcome.SUCCESS:
            self._doubts.note_success()
            self._tally.succeeded += 1
            seconds = self._options.monotonic() - started
            self._pace.add(
                seconds, files=attempt.report.files_done, size_bytes=attempt.report.bytes_done
            )
        elif outcome is Outcome.ERROR:
            self._tally.failed += 1
        elif outcome is Outcome.LOST:
            self._tally.lost += 1
        elif outcome is Outcome.DOUBTFUL and attempt.doubt is not None:
            self._count_hand_back(claimed)
            self._doubts.add(job_id, attempt.doubt)
        elif attempt.is_too_long:
            self._scan_state.too_long.add(job_id)  # it was only listed, so it isn't counted
        else:
            self._tally.handed_back += 1
        if claimed.job.status in FINISHED and outcome is not Outcome.LOST:
            self._scan_state.finished[job_id] = claimed.job.status

    def _count_hand_back(self, claimed: ClaimedJob) -> None:
        """Count a job that was handed back; it is in error if that happened too often."""
        if claimed.job.status is JobStatus.ERROR:
            self._tally.failed += 1
            self._scan_state.finished[claimed.job_id] = claimed.job.status
        else:
            self._tally.handed_back += 1

    def _wait_for_credentials(self, error: ProviderError) -> None:
        """Give the provider time. Raises its error once it has failed too often in a row."""
        self._credential_failures += 1
        pause_seconds = credential_pause_seconds(self._credential_failures)
        if pause_seconds is None:
            raise error
        self._emit(CredentialsMissing(reason=str(error), failures=self._credential_failures))
        self._options.stop.wait(pause_seconds)
