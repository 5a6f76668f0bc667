"""Which jobs of a joblist with packages this worker may do now."""

from __future__ import annotations

from jobtool.errors import JobFileError
from jobtool.jobs.job import Job, JobStatus
from jobtool.jobs.joblist import JobList
from jobtool.jobs.packagechain import goes_to, legs_of
from jobtool.jobs.packagetask import PackageTask, job_name
from jobtool.names import filename_of
from jobtool.worker.scanstate import ScanState

#: Steps after which there may be work at other sites.
_MOVES = ("pack", "copy", "relay")


class Gate:
    """Keeps a worker from jobs of other sites, and from those that come after undone ones.

    ``site`` is the worker's, None for one that does the jobs of all sites.
    """

    def __init__(self, joblist: JobList, scan_state: ScanState, site: str | None) -> None:
        self._joblist = joblist
        self._scan_state = scan_state
        self._site = site
        self._awaited: dict[str, str] = {}  # what a premature job comes after, by job ID

    def is_open(self, job_id: str) -> bool:
        """Return True if a job may be claimed, as far as its file tells; record why not.

        This is asked without the claim: a worker that held it meanwhile would keep it from the one
        that finishes what the job comes after.
        """
        if self._joblist.settings.packages is None:
            return True
        state = self._scan_state
        task = self._task_of(job_id)
        if task is None:
            return True
        is_elsewhere = self._site is not None and bool(task.at) and self._site not in task.at
        awaited = self._awaited_by(task)
        if is_elsewhere:
            state.elsewhere.add(job_id)
        if awaited is None:
            if is_elsewhere and task.step in _MOVES:
                state.incoming.add(job_id)
            return not is_elsewhere
        name, status = awaited
        if status is JobStatus.ERROR or filename_of(name) in state.blocked:
            self._block(job_id)
        elif is_elsewhere:
            if task.step in _MOVES:
                state.incoming.add(job_id)
        else:
            state.premature.add(job_id)
        self._awaited[job_id] = filename_of(name)
        state.waiting.pop(job_id, None)
        return False

    def _awaited_by(self, task: PackageTask) -> tuple[str, JobStatus | None] | None:
        """Return the first job that a task comes after and that isn't a success; its status."""
        for name in task.after:
            status = self._status_of(name, task)
            if status is not JobStatus.SUCCESS:
                return name, status
        return None

    def _block(self, job_id: str) -> None:
        """Record that a job is blocked, and with it those that come after it."""
        state, found = self._scan_state, [job_id]
        while found:
            blocked = found.pop()
            state.blocked.add(blocked)
            for jobs in (state.premature, state.incoming):
                jobs.discard(blocked)
            behind = (*state.premature, *state.incoming)
            found += [each for each in behind if self._awaited.get(each) == blocked]

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
                return _of_legs(legs_of(self._joblist, asking.package, name.removeprefix(start)))
            status = self._joblist.status_of(job_id)
            if asking.step in ("copy", "relay") and status is not JobStatus.SUCCESS:
                return status if self._holds_up(job_id, asking) else JobStatus.SUCCESS
            return status
        except (FileNotFoundError, JobFileError):
            return None

    def _holds_up(self, job_id: str, asking: PackageTask) -> bool:
        """Return False if a job for another site doesn't bring the package to this place after all.

        Raises ``FileNotFoundError`` and ``JobFileError``.
        """
        other = self._joblist.load(job_id)[0]
        is_for_other = other.package is not None and other.package.to not in (None, asking.to)
        return not is_for_other or len(asking.way) < 2 or goes_to(other, asking.way[1])


def _of_legs(legs: list[Job]) -> JobStatus:
    statuses = {job.status for job in legs}
    if JobStatus.ERROR in statuses:
        return JobStatus.ERROR
    return JobStatus.SUCCESS if statuses == {JobStatus.SUCCESS} else JobStatus.TODO
