"""The worker: claim, transfer, record, next."""

from __future__ import annotations

import os
from dataclasses import dataclass

from jobtool.errors import JobFileError, JoblistUnavailableError, WorldError
from jobtool.events import Emit, ignore
from jobtool.jobs.claim import Claim
from jobtool.jobs.held import HeldJob
from jobtool.jobs.job import Job, JobStatus
from jobtool.jobs.joblist import JobList, ScannedJob, reason_of
from jobtool.layouts.destination import with_destination
from jobtool.names import quote
from jobtool.stores.registry import StoreRegistry
from jobtool.transfer.checksum import DEFAULT_PART_BYTES
from jobtool.transfer.copy import Copier
from jobtool.worker.attempt import Attempt, Outcome
from jobtool.worker.environment import Environment
from jobtool.worker.events import (
    JobClaimed,
    JobInvalid,
    JobsFound,
    JobStarted,
    Scanning,
    WorkerFinished,
    WouldTransfer,
)
from jobtool.worker.options import WorkerOptions

_CLAIMABLE = (JobStatus.TODO, JobStatus.ONGOING)


@dataclass(slots=True)
class _Tally:
    succeeded: int = 0
    failed: int = 0
    handed_back: int = 0

    @property
    def taken(self) -> int:
        return self.succeeded + self.failed + self.handed_back


class Worker:
    """Works on a joblist until nothing is left that it could claim.

    First what is ``todo``, from a start of its own; then what is ``ongoing`` under a claim that
    nobody holds, since its worker has died.
    """

    def __init__(
        self,
        joblist: JobList,
        environment: Environment,
        options: WorkerOptions,
        emit: Emit = ignore,
    ) -> None:
        self._joblist = joblist
        self._environment = environment
        self._options = options
        self._emit = emit
        self._stores = StoreRegistry(
            joblist.settings.s3,
            connections=2 * options.threads,
            links=options.policies.links,
            read_back=options.policies.verify == "read-back",
        )
        self._invalid: dict[str, str] = {}
        self._others: set[str] = set()  # jobs that others held when we last tried them
        self._tally = _Tally()

    def run(self) -> int:
        """Work; return the exit code (see ``jobtool.errors``; 3 if work is left).

        Raises ``WorldError`` after handing the job back, and if the joblist can't be written.
        """
        copier = Copier(
            threads=self._options.threads,
            part_bytes=self._options.part_bytes or DEFAULT_PART_BYTES,
        )
        try:
            scanned = self._environment.share(lambda: list(self._joblist.scan()))
            if self._environment.rank == 0:
                self._emit(JobsFound(count=len(scanned), path=self._joblist.path))
                self._emit(Scanning())
            while self._take_any(scanned, copier) and not self._is_ended:
                scanned = list(self._joblist.scan())
        except OSError as error:
            raise JoblistUnavailableError(
                f"can't use the joblist {quote(self._joblist.path)}: {reason_of(error)}"
            ) from None
        finally:
            copier.close()
            self._environment.wait_for_others()
        return self._finish()

    def preview(self) -> int:
        """Tell what would be transferred, and touch nothing; return the exit code."""
        scanned = list(self._joblist.scan())
        self._emit(JobsFound(count=len(scanned), path=self._joblist.path))
        for found in scanned:
            if found.status in (*_CLAIMABLE, None):
                job = self._load(found.stem)
                if job is not None:
                    self._emit(
                        WouldTransfer(job=job.name, source=job.origin, destination=job.target)
                    )
        return 1 if self._invalid else 0

    @property
    def _is_ended(self) -> bool:
        most = self._options.max_jobs
        return self._options.stop.is_set() or (most is not None and self._tally.taken >= most)

    def _take_any(self, scanned: list[ScannedJob], copier: Copier) -> int:
        """Take every job that can be had, orphans only if no other could; return how many."""
        before = self._tally.taken
        self._others.clear()
        for status in (JobStatus.TODO, JobStatus.ONGOING, None):
            stems = [found.stem for found in scanned if found.status is status]
            start = self._environment.start_of(len(stems))
            for stem in stems[start:] + stems[:start]:
                if self._is_ended:
                    return 0
                if stem in self._invalid:
                    continue
                if status is None:
                    self._load(stem)
                else:
                    self._take(stem, copier)
            if status is not None and self._tally.taken > before:
                return self._tally.taken - before
        return 0

    def _take(self, stem: str, copier: Copier) -> None:
        claim = Claim.take(self._joblist, stem)
        if claim is None:
            self._others.add(stem)
            return
        with claim:
            self._joblist.remove_temporaries(stem)
            job = self._load(stem)
            # Another worker may have taken and finished it since the scan.
            if job is not None and job.status in _CLAIMABLE:
                self._work_on(job, stem, copier)

    def _load(self, stem: str) -> Job | None:
        try:
            job, _ = self._joblist.load(stem)
            return with_destination(job, self._joblist.settings)
        except FileNotFoundError:
            return None  # removed by hand
        except JobFileError as error:
            self._leave_invalid(stem, str(error))
            return None

    def _leave_invalid(self, stem: str, reason: str) -> None:
        self._invalid[stem] = reason
        self._emit(JobInvalid(stem=stem, reason=reason))

    def _work_on(self, job: Job, stem: str, copier: Copier) -> None:
        held = HeldJob(self._joblist, stem, job, self._options.now)
        held.begin(worker=self._environment.worker, rank=self._environment.rank)
        self._emit(
            JobClaimed(
                job=job.name,
                stem=stem,
                status=job.status,
                attempt=held.job.attempts,
            )
        )
        self._emit(JobStarted(job=job.name, source=job.origin, destination=job.target))
        attempt = Attempt(
            held,
            self._joblist,
            self._environment.worker,
            self._options,
            self._emit,
        )
        try:
            outcome = attempt.run(self._stores, copier)
        except WorldError:
            self._tally.handed_back += 1
            raise
        except (JobFileError, FileNotFoundError) as error:
            # Somebody has edited or removed the job file meanwhile: the others are still good.
            if os.path.exists(self._joblist.path_of(stem)) and isinstance(error, OSError):
                raise
            gone = "it was removed while the job was under way"
            self._leave_invalid(stem, gone if isinstance(error, OSError) else str(error))
            self._tally.failed += 1
            return
        if outcome is Outcome.SUCCESS:
            self._tally.succeeded += 1
        elif outcome is Outcome.ERROR:
            self._tally.failed += 1
        else:
            self._tally.handed_back += 1

    def _finish(self) -> int:
        if self._environment.rank != 0 and self._environment.is_mpi:
            return 0  # rank 0 tells the truth for all; two codes would make mpirun choose
        counts = dict.fromkeys([*JobStatus, None], 0)
        for found in self._joblist.scan():
            status = None if found.stem in self._invalid else found.status
            if status is JobStatus.TODO and found.stem in self._others:
                status = JobStatus.ONGOING  # claimed, and about to say so
            counts[status] += 1
        self._emit(
            WorkerFinished(
                succeeded=self._tally.succeeded,
                failed=self._tally.failed,
                handed_back=self._tally.handed_back,
                left_todo=counts[JobStatus.TODO],
                left_ongoing=counts[JobStatus.ONGOING],
                in_error=counts[JobStatus.ERROR],
                invalid=counts[None],
            )
        )
        # What others are working on is theirs, unless we left before looking for orphans.
        if counts[JobStatus.TODO] or (self._is_ended and counts[JobStatus.ONGOING]):
            return 3
        return 1 if counts[JobStatus.ERROR] or counts[None] else 0
