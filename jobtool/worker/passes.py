"""The passes of a worker over the jobs of a joblist, and what it does between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jobtool.jobs.claim import Claims
from jobtool.jobs.joblist import JobList
from jobtool.sharing.helper import Helper
from jobtool.transfer.copy import Copier
from jobtool.worker.idle import Idle
from jobtool.worker.order import JobOrder
from jobtool.worker.progress import Reporter
from jobtool.worker.rankgroup import Tally
from jobtool.worker.scanstate import ScanState
from jobtool.worker.schedule import Schedule
from jobtool.worker.steering import PausedWait, Steering

#: How many batches of others' jobs a worker does before it looks for a job of its own.
_BATCHES_BEFORE_LOOKING = 10


class Helping:
    """Lets a worker without a job of its own do batches of jobs that other workers hold."""

    def __init__(
        self,
        helper: Helper,
        copier: Copier,
        order: JobOrder,
        steering: Steering,
        reporter: Reporter,
    ) -> None:
        self.helper = helper
        self._copier = copier
        self._order = order
        self._steering = steering
        self._reporter = reporter

    def help(self, job_ids: Sequence[str]) -> bool:
        """Do batches of some ``ongoing`` jobs; return True if there was one."""
        ordered = self._order.of(job_ids)
        self.helper.offer([each for each in ordered if self._steering.pause_of(each) is None])
        if not self.helper.help(self._copier):
            return False
        for _ in range(_BATCHES_BEFORE_LOOKING):
            if self._steering.list_pause is not None or not self.helper.help(self._copier):
                break
        self._reporter.tick()  # the job's holder counts what was sent
        return True


class Passes:
    """Passes over the jobs until none is left that this worker could claim.

    In a pass it runs the jobs that are ``todo``. If there is none, it takes over jobs of workers
    that have died. Without these it does parts of others' jobs if it ``shares``, or waits.
    ``is_ended`` returns True once it takes no more jobs, ``is_paused`` while the joblist is paused.
    """

    def __init__(
        self,
        joblist: JobList,
        *,
        schedule: Schedule,
        order: JobOrder,
        scan_state: ScanState,
        tally: Tally,
        helping: Helping,
        shares: bool,
        paused_wait: PausedWait,
        idle: Idle,
        is_ended: Callable[[], bool],
        is_paused: Callable[[], bool],
        claims: Claims,
        monotonic: Callable[[], float],
    ) -> None:
        self._joblist = joblist
        self._schedule = schedule
        self._order = order
        self._scan_state = scan_state
        self._tally = tally
        self._helping = helping
        self._shares = shares
        self._paused_wait = paused_wait
        self._idle = idle
        self._is_ended = is_ended
        self._is_paused = is_paused
        self._claims = claims
        self._monotonic = monotonic

    def run(self, job_ids: list[str]) -> None:
        """Pass over these jobs, then over those that the joblist has then. Raises what jobs do."""
        while not self._is_ended():
            if self._is_paused() and not self._wait_while_paused():
                return
            if self._joblist.settings.packages is not None:
                self._scan_state.forget_if_put_back()  # a step puts others back
            before = self._tally.claimed
            started = self._monotonic()
            self._schedule.run_todo(self._order.of(job_ids))
            if self._is_paused() or self._order.is_stale:
                continue
            if self._tally.claimed == before:
                self._schedule.run_orphans()
            is_idle = self._tally.claimed == before and not self._is_ended()
            look_seconds = self._monotonic() - started
            if not is_idle or (self._shares and self._helping.help(self._scan_state.ongoing)):
                self._idle.end()
            elif not self._idle.wait(self._claims, self._helping.helper, look_seconds):
                return
            job_ids = self._joblist.job_ids()

    def _wait_while_paused(self) -> bool:
        """Wait for the end of the pause; return False if there is nothing to wait for."""
        self._helping.helper.withdraw()
        if not self._paused_wait.wait(self._is_ended):
            return False
        self._idle.end()
        return True
