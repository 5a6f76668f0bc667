"""The scan state: what a worker has seen of a joblist's jobs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import datetime, timedelta

from jobtool.errors import JobFileError, UnmetRequirementError
from jobtool.events import Emit
from jobtool.jobs.job import Job, JobStatus
from jobtool.jobs.joblist import JobList
from jobtool.jobs.requirements import require_understood
from jobtool.layouts.destination import with_destination
from jobtool.steps.plugins import StepPlugins
from jobtool.worker.events import JobInvalid, JobsAwaited, JobStuck, JobUnsuitable
from jobtool.worker.priorities import Priorities
from jobtool.worker.rankgroup import Scan
from jobtool.worker.runsummary import Left

FINISHED = (JobStatus.SUCCESS, JobStatus.ERROR)

#: A worker without work waits for a step of a package that is tried again within this time.
_SOON_SECONDS = 300.0

#: So many jobs are read at the start of each worker, to find priorities that people wrote.
_FEW_JOBS = 1000

#: How long such a job needn't be read again before it is claimed, which shows what it is then.
_FRESH = timedelta(seconds=10)

#: How often a worker without work tells at most what it waits for.
_TELL_AGAIN_SECONDS = 60.0


class ScanState:
    """The jobs that needn't be read again, by job ID.

    ``finished`` holds the status of finished jobs, ``invalid`` the jobs whose file is invalid.
    ``ongoing`` lists the jobs that others held when last looked at. ``too_long`` holds the jobs
    that can't be done in the time that is left. ``waiting`` holds the time until which a job waits
    for files that can't be read yet, by the clock ``now``. ``left_alone`` holds the jobs that
    require what this worker lacks: a newer version, or one of the ``plugins``. ``blocked`` holds
    the jobs that nobody can do as long as another is in error, ``stuck`` those of them that come
    after a job which isn't there. ``premature`` holds those that come after jobs which aren't done
    yet, ``elsewhere`` those for workers at other sites, of which
    ``incoming`` may bring a package to this one. ``awaited`` has the ID of the job that a job was
    last seen to come after. ``paused`` holds the jobs that a person has paused. ``not_chosen``
    counts those that aren't for this worker, by ``chosen``. ``reads`` counts the job files that the
    last pass has read or looked at.
    """

    def __init__(
        self,
        joblist: JobList,
        emit: Emit,
        plugins: StepPlugins,
        now: Callable[[], datetime],
        priorities: Priorities | None = None,
        chosen: Callable[[list[str]], list[str]] = list,
    ) -> None:
        self.finished: dict[str, JobStatus] = {}
        self.invalid: set[str] = set()
        self.ongoing: list[str] = []
        self.too_long: set[str] = set()
        self.waiting: dict[str, datetime] = {}
        self.left_alone: set[str] = set()
        self.blocked: set[str] = set()
        self.stuck: set[str] = set()
        self.premature: set[str] = set()
        self.elsewhere: set[str] = set()
        self.incoming: set[str] = set()
        self.awaited: dict[str, str] = {}
        self.paused: set[str] = set()
        self.not_chosen = 0
        self._priorities = priorities
        self._chosen = chosen
        self._fresh: set[str] = set()  # jobs that were todo a moment ago
        self._fresh_until = now()
        self._told_awaited: tuple[str, str | None] | None = None
        self._told_awaited_at = now()
        self._told_stuck: set[str] = set()
        self.reads = 0
        self._joblist = joblist
        self._emit = emit
        self._plugins = plugins
        self._now = now
        self._put_back_ns = joblist.last_put_back_ns()

    def begin_pass(self) -> None:
        """Forget what the last look at the jobs has found of those that can't be done now."""
        self.reads = 0
        self.ongoing = []
        blocked = (self.blocked, self.stuck)
        for jobs in (*blocked, self.premature, self.elsewhere, self.incoming, self.paused):
            jobs.clear()

    def is_over(self, job_id: str) -> bool:
        """Return True if a job is known to be finished or invalid, or is left alone."""
        known = (self.finished, self.invalid, self.left_alone)
        return any(job_id in jobs for jobs in known)

    def waits(self, job_id: str) -> bool:
        """Return True if a job needn't be looked at yet, since its files can't be read yet."""
        until = self.waiting.get(job_id)
        return until is not None and self._now() < until

    @property
    def awaits_jobs(self) -> bool:
        """Whether there are jobs whose end gives this worker work."""
        return bool(self.premature or self.incoming)

    def tell_awaited(self) -> None:
        """Emit what a worker without work waits for, when that has changed; not every moment."""
        jobs = self.premature | self.incoming
        if not jobs:
            return
        first = min(self.premature or self.incoming)
        found, now = (first, self.awaited.get(first)), self._now()
        is_soon = (now - self._told_awaited_at).total_seconds() < _TELL_AGAIN_SECONDS
        if found == self._told_awaited or (self._told_awaited is not None and is_soon):
            return
        self._told_awaited, self._told_awaited_at = found, now
        self._emit(JobsAwaited(jobs=len(jobs), stem=found[0], after=found[1]))

    def is_any_due(self, *, waits: bool) -> bool:
        """Return True if a step of a package is tried again soon; or later, for one that waits.

        Other jobs wait for files that can't be read yet, for hours: no worker stays for these.
        """
        if self._joblist.settings.packages is None or not self.waiting:
            return False
        seconds = (min(self.waiting.values()) - self._now()).total_seconds()
        return waits or seconds <= _SOON_SECONDS

    def left(self) -> Left:
        """Return the jobs that are left for a reason, as ``count`` has found them."""
        return Left(
            waiting=tuple(self.waiting.values()),
            blocked=len(self.blocked),
            stuck=len(self.stuck),
            premature=len(self.premature),
            elsewhere=len(self.elsewhere - self.blocked),
            paused=len(self.paused - self.blocked - self.elsewhere - self.premature),
            not_chosen=self.not_chosen,
        )

    def read_status(self, job_id: str) -> JobStatus | None:
        """Read a job's status; None if its first line is invalid. Raises ``FileNotFoundError``."""
        self.reads += 1
        if job_id in self._fresh:
            self._fresh.discard(job_id)
            if self._now() < self._fresh_until:
                return JobStatus.TODO
        status, priority = self._joblist.head_of(job_id)
        if self._priorities is not None and status is JobStatus.TODO:
            self._priorities.note(job_id, priority)
        if status in FINISHED:
            self.finished[job_id] = status
        return status

    def load(self, job_id: str) -> Job | None:
        """Read a job file; return None if it was removed or can't be done, and record that."""
        try:
            job, _ = self._joblist.load(job_id)
            require_understood(job.requires)
            self._plugins.require(job.chain)
            return with_destination(job, self._joblist.settings)
        except FileNotFoundError:
            return None
        except JobFileError as error:
            self.leave_alone(job_id, error)
            return None

    def leave_alone(self, job_id: str, error: JobFileError) -> None:
        """Record that a job file is left unchanged, and emit why.

        The file is invalid, or after an ``UnmetRequirementError`` this worker can't do the job.
        """
        if isinstance(error, UnmetRequirementError):
            self.left_alone.add(job_id)
            self._emit(JobUnsuitable(stem=job_id, reason=str(error)))
        else:
            self.add_invalid(job_id, str(error))

    def add_invalid(self, job_id: str, reason: str) -> None:
        """Record that a job file is invalid, and emit an event."""
        self.invalid.add(job_id)
        self._emit(JobInvalid(stem=job_id, reason=reason))

    def add_stuck(self, job_id: str, found: JobStuck) -> None:
        """Record that a job comes after one that isn't there, and emit it once."""
        self.stuck.add(job_id)
        if job_id not in self._told_stuck:
            self._told_stuck.add(job_id)
            self._emit(found)

    def scan(self, *, is_alone: bool) -> Scan:
        """List the jobs; read which of them are finished, and their priorities.

        A worker that ``is_alone`` reads that of a few jobs only: what it would read of many, to
        begin somewhere among them, each of its like reads, too.
        """
        job_ids = self._joblist.job_ids()
        are_few = len(job_ids) <= _FEW_JOBS
        todo = set()
        if not is_alone or are_few:
            for job_id in job_ids:
                with contextlib.suppress(FileNotFoundError):
                    if self.read_status(job_id) is JobStatus.TODO:
                        todo.add(job_id)
            if self._priorities is not None:
                self._priorities.publish()
        if is_alone:
            self._fresh, self._fresh_until = todo, self._now() + _FRESH
        return {job_id: self.finished.get(job_id) for job_id in job_ids}

    def is_any_left(self) -> bool:
        """Return True if a chosen job isn't done. Reads files until one says so."""
        for job_id in self._chosen(self._joblist.job_ids()):
            with contextlib.suppress(FileNotFoundError):
                if not self.is_over(job_id) and self.read_status(job_id) not in (*FINISHED, None):
                    return True
        return False

    def adopt(self, scan: Scan) -> None:
        """Use the result of a scan, which another rank may have made."""
        self.finished = {job_id: status for job_id, status in scan.items() if status is not None}

    def forget_if_put_back(self) -> bool:
        """Forget which jobs are finished if jobs were put back since; return True if so."""
        put_back_ns = self._joblist.last_put_back_ns()
        if put_back_ns == self._put_back_ns:
            return False
        self._put_back_ns = put_back_ns
        self.finished.clear()
        self.waiting.clear()
        return True

    def count(
        self, is_paused: Callable[[str], bool] = lambda job_id: False
    ) -> dict[JobStatus | None, int]:
        """Count the jobs by status, None for invalid ones; read the files of unfinished jobs.

        Jobs that aren't ``todo`` any more are forgotten as ``waiting``. Jobs that weren't chosen
        aren't counted. A paused job that is ``ongoing`` counts as ``todo``: its worker hands it
        back, or has died, and nobody takes it over before it is resumed.
        """
        counts: dict[JobStatus | None, int] = dict.fromkeys([*JobStatus, None], 0)
        held_by_others = set(self.ongoing)
        todo, paused = set(), set()
        job_ids = self._joblist.job_ids()
        chosen = self._chosen(job_ids)
        self.not_chosen = len(job_ids) - len(chosen)
        for job_id in chosen:
            status = self.finished.get(job_id)
            if job_id in self.left_alone or not self.is_over(job_id):
                try:
                    status = self._joblist.status_of(job_id)
                except FileNotFoundError:
                    continue
            if status is JobStatus.TODO and job_id in held_by_others:
                status = JobStatus.ONGOING  # another worker has claimed it and not yet written so
            if status in (JobStatus.TODO, JobStatus.ONGOING) and is_paused(job_id):
                status = JobStatus.TODO
                paused.add(job_id)
            counts[status] += 1
            if status is JobStatus.TODO:
                todo.add(job_id)
        self.waiting = {job_id: at for job_id, at in self.waiting.items() if job_id in todo}
        self.premature &= todo
        self.elsewhere &= todo
        self.incoming &= todo
        self.blocked &= todo
        self.stuck &= todo
        self.paused = paused
        return counts
