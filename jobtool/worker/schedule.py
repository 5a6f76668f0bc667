"""The order in which a worker tries the jobs of a joblist."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

from jobtool.jobs.job import JobStatus
from jobtool.jobs.joblist import JobList
from jobtool.worker.scanstate import ScanState
from jobtool.worker.sweep import Sweeper


def rotated(job_ids: Sequence[str], start: int) -> list[str]:
    """Return the job IDs from position ``start`` on, then those before it."""
    return [*job_ids[start:], *job_ids[:start]]


def in_turn(job_ids: Iterable[str], from_other_end: Callable[[], bool]) -> Iterator[str]:
    """Yield each job ID once: the first remaining, or the last while ``from_other_end()``."""
    left = deque(job_ids)
    while left:
        yield left.pop() if from_other_end() else left.popleft()


class Schedule:
    """Passes over the jobs of a joblist and tries them.

    ``run_job`` claims a job and runs it. It returns False if another worker holds the job, or may
    still hold it. ``is_ended`` returns True once no more jobs may be tried. ``is_in_doubt``
    returns True while the last jobs failed for a reason that may concern all jobs. The next job
    then comes from the other end of the order, since neighbours of those jobs may be like them.
    ``is_held_back`` returns True for a ``todo`` job that needn't be tried, since it comes after
    another one that isn't done, is for workers at other sites, or is paused. ``is_stale`` returns
    True once a pass over the ``todo`` jobs is to begin anew, in another order.
    """

    def __init__(
        self,
        joblist: JobList,
        scan_state: ScanState,
        sweeper: Sweeper,
        *,
        run_job: Callable[[str], bool],
        is_ended: Callable[[], bool],
        is_in_doubt: Callable[[], bool],
        is_held_back: Callable[[str], bool] = lambda job_id: False,
        is_stale: Callable[[], bool] = lambda: False,
    ) -> None:
        self._joblist = joblist
        self._scan_state = scan_state
        self._sweeper = sweeper
        self._run_job = run_job
        self._is_ended = is_ended
        self._is_in_doubt = is_in_doubt
        self._is_held_back = is_held_back
        self._is_stale = is_stale

    def run_todo(self, job_ids: Sequence[str]) -> None:
        """Try each job that is ``todo``. A job's status is read right before it is tried."""
        self._scan_state.begin_pass()
        for job_id in in_turn(job_ids, self._is_in_doubt):
            if self._is_ended() or self._is_stale():
                return
            if self._joblist.has_temporaries(job_id):
                self._sweeper.remove_temporaries(job_id)
            state = self._scan_state
            if state.is_over(job_id) or job_id in state.too_long or state.waits(job_id):
                continue
            if self._is_held_back(job_id):
                state.reads += 1  # it was looked at, at least
                continue
            try:
                status = self._scan_state.read_status(job_id)
            except FileNotFoundError:
                continue  # the job file was removed
            if status is None:
                self._scan_state.load(job_id)  # records it as invalid, if it still is
            elif status is JobStatus.ONGOING or (
                status is JobStatus.TODO and not self._run_job(job_id)
            ):
                self._scan_state.ongoing.append(job_id)

    def run_orphans(self) -> None:
        """Try each job that is ``ongoing``, since its worker may have died."""
        ongoing, self._scan_state.ongoing = self._scan_state.ongoing, []
        for job_id in ongoing:
            if self._is_ended():
                return
            if not self._run_job(job_id):
                self._scan_state.ongoing.append(job_id)
