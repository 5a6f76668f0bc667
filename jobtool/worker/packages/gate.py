"""Which jobs of a joblist with packages this worker may do now.

A job that comes after another one isn't read again as long as that one isn't done. So a look at a
joblist reads the jobs that may be done, and not all that come after them.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable

import msgspec

from jobtool.errors import JobFileError
from jobtool.jobs.job import Job, JobStatus
from jobtool.jobs.joblist import JobList
from jobtool.jobs.packagechain import goes_to, legs_of
from jobtool.jobs.packagetask import PackageTask, job_name
from jobtool.names import filename_of
from jobtool.worker.scanstate import ScanState

#: Steps after which there may be work at other sites.
_MOVES = ("pack", "copy", "relay")

#: After this time a job that can't be done yet is read again: someone may have edited its file.
_READ_AGAIN_SECONDS = 600.0


class _Closed(msgspec.Struct, frozen=True):
    """Why a job couldn't be done when its file was read.

    ``awaited`` is the name of the job that it comes after, None if it is only for other sites.
    ``mark`` tells then whether the file was changed since.
    """

    task: PackageTask
    awaited: str | None
    is_elsewhere: bool
    read_at: float
    mark: tuple[int, ...] | None


class Gate:
    """Keeps a worker from jobs of other sites, and from those that come after undone ones.

    ``site`` is the worker's, None for one that does the jobs of all sites. ``monotonic`` is the
    clock. It takes about a kilobyte of memory for each job that can't be done yet.
    """

    def __init__(
        self,
        joblist: JobList,
        scan_state: ScanState,
        site: str | None,
        monotonic: Callable[[], float],
    ) -> None:
        self._joblist = joblist
        self._scan_state = scan_state
        self._site = site
        self._monotonic = monotonic
        self._closed: dict[str, _Closed] = {}  # by job ID
        self._behind: defaultdict[str, set[str]] = defaultdict(set)  # what comes after a job ID
        self._statuses: dict[str, JobStatus | None] = {}  # read since the last job that was done
        self._ways: dict[str, JobStatus | None] = {}  # the same for ways, by their first job's name
        self._pass = self._forgotten = 0

    def begin_look(self) -> None:
        """Read the statuses of the jobs that others come after anew, since time has passed."""
        self._statuses.clear()
        self._ways.clear()

    def stays_closed(self, job_id: str) -> bool:
        """Return True, and record why, if a job comes after one that still isn't done.

        The job itself isn't read.
        """
        self._follow()
        closed = self._closed.get(job_id)
        if closed is None or closed.awaited is None or self._is_old(closed):
            return False
        status = self._status_of(closed.awaited, closed.task)
        if status is JobStatus.SUCCESS:
            return False
        self._record(job_id, closed, status)
        return True

    def is_open(self, job_id: str) -> bool:
        """Return True if a job may be claimed, as far as its file tells; record why not.

        This is asked without the claim: a worker that held it meanwhile would keep it from the one
        that finishes what the job comes after.
        """
        if self._joblist.settings.packages is None:
            return True
        self._follow()
        closed = self._closed.get(job_id)
        mark = self._mark_of(job_id)
        if closed is not None and closed.awaited is None and closed.mark == mark is not None:
            self._record(job_id, closed, None)
            return False
        task = self._task_of(job_id)
        if task is None:
            self._forget(job_id)
            return True
        is_elsewhere = self._site is not None and bool(task.at) and self._site not in task.at
        awaited, status = self._awaited_by(task)
        self._forget(job_id)
        if awaited is None and not is_elsewhere:
            return True
        closed = _Closed(task, awaited, is_elsewhere, self._monotonic(), mark)
        self._closed[job_id] = closed
        if awaited is not None:
            self._behind[filename_of(awaited)].add(job_id)
        self._record(job_id, closed, status)
        return False

    def _follow(self) -> None:
        """Begin a new look with each pass, and forget all once jobs were put back."""
        state = self._scan_state
        if self._pass != state.passes:
            self._pass = state.passes
            self.begin_look()
        if self._forgotten != state.times_forgotten:
            self._forgotten = state.times_forgotten
            self._closed.clear()
            self._behind.clear()
            self.begin_look()

    def _mark_of(self, job_id: str) -> tuple[int, ...] | None:
        try:
            found = os.stat(self._joblist.path_of(job_id))
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _is_old(self, closed: _Closed) -> bool:
        return self._monotonic() - closed.read_at > _READ_AGAIN_SECONDS

    def _forget(self, job_id: str) -> None:
        closed = self._closed.pop(job_id, None)
        if closed is not None and closed.awaited is not None:
            self._behind[filename_of(closed.awaited)].discard(job_id)

    def _record(self, job_id: str, closed: _Closed, status: JobStatus | None) -> None:
        """Record why a job can't be done; ``status`` is that of the job that it comes after."""
        state = self._scan_state
        is_incoming = closed.is_elsewhere and closed.task.step in _MOVES
        if closed.is_elsewhere:
            state.elsewhere.add(job_id)
        if closed.awaited is None:
            if is_incoming:
                state.incoming.add(job_id)
            return
        if status is JobStatus.ERROR or filename_of(closed.awaited) in state.blocked:
            self._block(job_id)
        elif is_incoming:
            state.incoming.add(job_id)
        elif not closed.is_elsewhere:
            state.premature.add(job_id)
        state.waiting.pop(job_id, None)

    def _awaited_by(self, task: PackageTask) -> tuple[str | None, JobStatus | None]:
        """Return the first job that a task comes after and that isn't a success; its status."""
        for name in task.after:
            status = self._status_of(name, task)
            if status is not JobStatus.SUCCESS:
                return name, status
        return None, None

    def _block(self, job_id: str) -> None:
        """Record that a job is blocked, and with it those that come after it."""
        state, found = self._scan_state, [job_id]
        while found:
            blocked = found.pop()
            state.blocked.add(blocked)
            for jobs in (state.premature, state.incoming):
                jobs.discard(blocked)
            for each in self._behind.get(blocked, ()):
                if each in state.premature or each in state.incoming:
                    found.append(each)

    def _task_of(self, job_id: str) -> PackageTask | None:
        """Return a job's task; None if its file can't be read, which is found once it is tried."""
        try:
            return self._joblist.load(job_id)[0].package
        except (FileNotFoundError, JobFileError):
            return None

    def _status_of(self, name: str, asking: PackageTask) -> JobStatus | None:
        """Return the status of a job that another comes after; of a way, that of its legs."""
        job_id = filename_of(name)
        try:
            start = job_name(asking.package, "copy", "")
            if name.startswith(start) and asking.step not in ("copy", "relay"):
                return self._status_of_way(name, asking.package, name.removeprefix(start))
            status = self._own_status_of(job_id)
            if asking.step in ("copy", "relay") and status is not JobStatus.SUCCESS:
                return status if self._holds_up(name, asking) else JobStatus.SUCCESS
            return status
        except (FileNotFoundError, JobFileError):
            return None

    def _own_status_of(self, job_id: str) -> JobStatus | None:
        """Return a job's status. It is ``todo`` as long as what the job comes after isn't done.

        Raises ``FileNotFoundError``.
        """
        if job_id in self._statuses:
            return self._statuses[job_id]
        closed = self._closed.get(job_id)
        if closed is not None and closed.awaited is not None and not self._is_old(closed):
            self._statuses[job_id] = JobStatus.TODO  # so that jobs that await each other end here
            if self._status_of(closed.awaited, closed.task) is not JobStatus.SUCCESS:
                return JobStatus.TODO
        self._statuses[job_id] = status = self._joblist.status_of(job_id)
        return status

    def _status_of_way(self, name: str, package: str, to: str) -> JobStatus | None:
        if name not in self._ways:
            status = self._own_status_of(filename_of(name))
            if status is JobStatus.SUCCESS:  # of the first leg
                status = _of_legs(legs_of(self._joblist, package, to))
            self._ways[name] = status
        return self._ways[name]

    def _holds_up(self, name: str, asking: PackageTask) -> bool:
        """Return False if a job for another site doesn't bring the package to this place after all.

        Raises ``FileNotFoundError`` and ``JobFileError``.
        """
        if name == job_name(asking.package, "pack"):
            return True
        other = self._joblist.load(filename_of(name))[0]
        is_for_other = other.package is not None and other.package.to not in (None, asking.to)
        return not is_for_other or len(asking.way) < 2 or goes_to(other, asking.way[1])


def _of_legs(legs: list[Job]) -> JobStatus:
    statuses = {job.status for job in legs}
    if JobStatus.ERROR in statuses:
        return JobStatus.ERROR
    return JobStatus.SUCCESS if statuses == {JobStatus.SUCCESS} else JobStatus.TODO
