"""Which jobs of a joblist with packages this worker may do now.

A worker looks at all jobs again and again, and most come after others that aren't done. To leave
such a job alone one call of the filesystem is enough, as long as its file hasn't changed. Before a
job is claimed, its file and those of the jobs that it comes after are read.
"""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from collections.abc import Iterable
from typing import Literal

import msgspec

from jobtool.errors import JobFileError
from jobtool.jobs.job import Job, JobStatus
from jobtool.jobs.joblist import JobList
from jobtool.jobs.packagechain import goes_to, legs_among
from jobtool.jobs.packagetask import PackageStep, PackageTask, job_name
from jobtool.names import filename_of
from jobtool.worker.events import JobStuck
from jobtool.worker.packages.legs import Legs
from jobtool.worker.packages.looks import JobFiles, KeptJobs
from jobtool.worker.scanstate import ScanState

#: Steps after which there may be work at other sites.
_MOVES = ("pack", "copy", "relay")


class _Awaited(msgspec.Struct, frozen=True, kw_only=True):
    """A job that another comes after.

    ``status`` is None if it can't be read. ``lacks`` says if the ``job`` itself isn't in the
    joblist, or a further ``leg`` of its package's way.
    """

    name: str
    status: JobStatus | None
    lacks: Literal["job", "leg"] | None = None


class Gate:
    """Keeps a worker from jobs of other sites, and from those that come after undone ones.

    ``site`` is the worker's, None for one that does the jobs of all sites.
    """

    def __init__(self, joblist: JobList, scan_state: ScanState, site: str | None) -> None:
        self._joblist = joblist
        self._files = JobFiles(joblist)
        self._kept = KeptJobs(joblist)
        self._legs = Legs(joblist)
        self._scan_state = scan_state
        self._site = site
        self._behind: defaultdict[str, set[str]] = defaultdict(set)  # what has come after a job ID

    def is_open(self, job_id: str) -> bool:
        """Return True if a job may be claimed, as far as its file tells; record why not.

        This is asked without the claim: a worker that held it meanwhile would keep it from the one
        that finishes what the job comes after.
        """
        if self._joblist.settings.packages is None:
            return True
        job = self._load(job_id, self._files)
        if job is None or job.package is None:
            return True
        awaited = self._awaited_by(job, job.package, self._files)
        return self._admits(job_id, job, job.package, awaited)

    def is_closed(self, job_id: str) -> bool:
        """Return True, and record why, if a ``todo`` job may not be claimed, as far as is known.

        If this returns False, ask ``is_open``. What is worth telling a person, a job that isn't
        there or can't be read, is left to that, too.
        """
        if self._joblist.settings.packages is None:
            return False
        job = self._load(job_id, self._kept)
        if job is None or job.package is None or job.status is not JobStatus.TODO:
            return False
        awaited = self._awaited_by(job, job.package, self._kept)
        if awaited is not None and awaited.status is None:
            return False
        return not self._admits(job_id, job, job.package, awaited)

    def is_elsewhere(self, job: Job) -> bool:
        """Return True for a job that only workers at other sites do."""
        task = job.package
        return task is not None and bool(task.at) and self._site not in (None, *task.at)

    def _admits(self, job_id: str, job: Job, task: PackageTask, awaited: _Awaited | None) -> bool:
        """Return True if a job may be claimed; record why not."""
        state, is_elsewhere = self._scan_state, self.is_elsewhere(job)
        if is_elsewhere:
            state.elsewhere.add(job_id)
        if awaited is None:
            state.awaited.pop(job_id, None)
            if is_elsewhere and task.step in _MOVES:
                state.incoming.add(job_id)
            return not is_elsewhere
        first = filename_of(awaited.name)
        if awaited.lacks is not None:
            found = JobStuck(job=job.name, after=awaited.name, lacks=awaited.lacks)
            state.add_stuck(job_id, found)
        is_over = awaited.status in (JobStatus.ERROR, None) or first in state.invalid
        if is_over or first in state.blocked:
            self._block(job_id)
        elif is_elsewhere:
            if task.step in _MOVES:
                state.incoming.add(job_id)
        else:
            state.premature.add(job_id)
        state.awaited[job_id] = first
        self._behind[first].add(job_id)
        state.waiting.pop(job_id, None)
        return False

    def _awaited_by(self, job: Job, task: PackageTask, jobs: JobFiles) -> _Awaited | None:
        """Return the first job that another comes after and that isn't a success; None without."""
        for name in task.after:
            awaited = self._look_at(name, job, task, jobs)
            if awaited.status is not JobStatus.SUCCESS:
                return awaited
        return None

    def _block(self, job_id: str) -> None:
        """Record that a job is blocked, and with it those that come after it."""
        state, found = self._scan_state, [job_id]
        while found:
            blocked = found.pop()
            state.blocked.add(blocked)
            for jobs in (state.premature, state.incoming):
                jobs.discard(blocked)
            for each in self._behind.get(blocked, ()):
                is_open_yet = each in state.premature or each in state.incoming
                if is_open_yet and state.awaited.get(each) == blocked:
                    found.append(each)

    def _load(self, job_id: str, jobs: JobFiles) -> Job | None:
        """Return a job; None if its file can't be read, which is found once it is tried."""
        try:
            return jobs.load(job_id)
        except (FileNotFoundError, JobFileError):
            return None

    def _look_at(self, name: str, job: Job, asking: PackageTask, jobs: JobFiles) -> _Awaited:
        """Return what is known of a job that ``job`` comes after; of a way, of its legs."""
        job_id, status = filename_of(name), None
        try:
            start = job_name(asking.package, "copy", "")
            if name.startswith(start) and asking.step not in ("copy", "relay"):
                legs = legs_among(jobs.load, asking.package, name.removeprefix(start))
                statuses = (_status_of_leg(leg, jobs) for leg in legs)
                return _Awaited(name=name, status=_of_legs(statuses))
            if asking.step == "relay":
                status = _status_of_leg(jobs.load(job_id), jobs)
            else:
                status = jobs.status_of(job_id)
            is_undone_move = asking.step in ("copy", "relay") and status is not JobStatus.SUCCESS
            if is_undone_move and not self._holds_up(jobs.load(job_id), job, asking):
                status = JobStatus.SUCCESS
            return _Awaited(name=name, status=status)
        except JobFileError:
            return _Awaited(name=name, status=status)
        except FileNotFoundError:
            if asking.step in ("copy", "relay") and _is_of_other_site(name, asking):
                return _Awaited(name=name, status=JobStatus.SUCCESS)  # it brings nothing any more
            is_there = os.path.exists(self._joblist.path_of(job_id))
            return _Awaited(name=name, status=None, lacks="leg" if is_there else "job")

    def _holds_up(self, other: Job, job: Job, asking: PackageTask) -> bool:
        """Return False if a job for another site doesn't bring the package to this place after all.

        Raises ``JobFileError``.
        """
        is_for_other = other.package is not None and other.package.to not in (None, asking.to)
        if not is_for_other or len(asking.way) < 2:
            return True
        if not goes_to(other, asking.way[1]):
            return False
        # Two jobs that have changed their ways may come after each other: one of them has the leg.
        return self._legs.owner_of(asking.package, asking.way[1]) != job.name


def _is_of_other_site(name: str, asking: PackageTask) -> bool:
    """Return True for the name of a job that brings the same package to another site."""
    steps: tuple[PackageStep, ...] = ("copy", "relay")
    starts = [job_name(asking.package, step, "") for step in steps]
    sites = [name.removeprefix(start) for start in starts if name.startswith(start)]
    return any(site.partition(".")[0] != asking.to for site in sites)


def _status_of_leg(leg: Job, jobs: JobFiles) -> JobStatus:
    """Return the status of a leg; where another job has moved the package, that one's.

    That one may have been put back since.
    """
    owner = None if leg.package is None else leg.package.brought_by
    if leg.status is not JobStatus.SUCCESS or owner is None:
        return leg.status
    with contextlib.suppress(FileNotFoundError):
        return jobs.status_of(filename_of(owner)) or JobStatus.ERROR
    return leg.status


def _of_legs(legs: Iterable[JobStatus]) -> JobStatus:
    statuses = set(legs)
    if JobStatus.ERROR in statuses:
        return JobStatus.ERROR
    return JobStatus.SUCCESS if statuses == {JobStatus.SUCCESS} else JobStatus.TODO
