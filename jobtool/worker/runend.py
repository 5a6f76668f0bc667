"""The end of a worker's run: waiting for the other ranks, the report, the exit code."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from jobtool.errors import InfrastructureError, JobtoolError
from jobtool.events import Emit
from jobtool.jobs.joblist import JobList
from jobtool.worker.options import ResolvedOptions
from jobtool.worker.progress import Reporter
from jobtool.worker.rankgroup import RankGroup, Tally
from jobtool.worker.runsummary import summarise
from jobtool.worker.scanstate import ScanState
from jobtool.worker.waiting import RANKS_LOOK_SECONDS


class RunEnd:
    """Ends a run. Of several ranks, the lowest one that is left reports for all.

    ``is_early`` returns whether this worker leaves before it looked at all jobs, ``is_paused``
    whether a job is paused, by its ID.
    """

    def __init__(
        self,
        joblist: JobList,
        options: ResolvedOptions,
        emit: Emit,
        *,
        scan_state: ScanState,
        rank_group: RankGroup,
        tally: Tally,
        reporter: Reporter,
        is_early: Callable[[], bool],
        is_paused: Callable[[str], bool],
    ) -> None:
        self._is_paused = is_paused
        self._joblist = joblist
        self._options = options
        self._emit = emit
        self._scan_state = scan_state
        self._rank_group = rank_group
        self._tally = tally
        self._reporter = reporter
        self._is_early = is_early

    def end(self) -> int:
        """Report the end of the run if no lower rank does; return the exit code."""
        if not self._rank_group.is_lowest():
            self._tally.is_over = True
            self._rank_group.publish(self._tally, now=True)
            return 0  # the lowest rank that is left returns the exit code of all
        while self._rank_group.has_others():
            self._reporter.tick()
            time.sleep(RANKS_LOOK_SECONDS)
        self._rank_group.publish(self._tally, now=True)
        tallies = [self._tally] if self._rank_group.is_alone else self._rank_group.tallies()
        code = self._report(tallies, workers=self._rank_group.size)
        self._rank_group.close()
        return code

    def report_failure(self, error: BaseException) -> None:
        """Report what this worker did before the environment failed."""
        if isinstance(error, InfrastructureError):
            self._tally.exit_code = error.exit_code
            with contextlib.suppress(JobtoolError, OSError):  # the joblist itself may be gone
                self._report([self._tally], workers=1)

    def _report(self, tallies: list[Tally], *, workers: int) -> int:
        finished = summarise(
            tallies,
            self._scan_state.count(self._is_paused),
            workers=workers,
            has_ended_early=self._is_early(),
            has_left_alone=bool(self._scan_state.left_alone),
            stopped=self._options.stop.reason,
            path=self._joblist.path,
            left=self._scan_state.left(),
            site=self._options.site,
            seconds=self._reporter.seconds,
        )
        self._emit(finished)
        return finished.exit_code
