"""A worker without work: whether it stays, and how long it waits before it looks again."""

from __future__ import annotations

from collections.abc import Callable

from jobtool.jobs.claim import Claims
from jobtool.sharing.helper import Helper
from jobtool.worker.options import ResolvedOptions
from jobtool.worker.progress import Reporter
from jobtool.worker.rankgroup import RankGroup
from jobtool.worker.scanstate import ScanState
from jobtool.worker.waiting import may_get_work, pause_seconds, reads_of_all


class Idle:
    """Lets a worker without work wait, as long as it may get some.

    ``on_idle`` is called before each wait.
    """

    def __init__(
        self,
        options: ResolvedOptions,
        rank_group: RankGroup,
        scan_state: ScanState,
        reporter: Reporter,
        on_idle: Callable[[], None],
    ) -> None:
        self._options = options
        self._rank_group = rank_group
        self._scan_state = scan_state
        self._reporter = reporter
        self._on_idle = on_idle
        self._waited_for_ranks = False  # when last idle
        self._busy_at = options.monotonic()

    def end(self) -> None:
        """Note that the worker has had work."""
        self._busy_at = self._options.monotonic()

    def wait(self, claims: Claims, helper: Helper, look_seconds: float) -> bool:
        """Wait a moment if there may be work later; return True to look again.

        ``look_seconds`` is how long the last look took.
        """
        waited, self._waited_for_ranks = self._waited_for_ranks, self._rank_group.must_wait()
        may_help, waits = helper.is_hopeful, self._options.wait
        is_due = self._scan_state.is_any_due(waits=waits)
        if not may_get_work(
            is_any_ongoing=bool(self._scan_state.ongoing),
            waits=waits,
            may_help=may_help,
            is_claim_undecided=claims.watch.is_undecided,
            # Look once more after the last of them has ended: it may have left a job.
            must_wait_for_ranks=waited or self._waited_for_ranks,
            awaits_jobs=self._scan_state.awaits_jobs,
            is_due_soon=is_due or (waits and bool(self._scan_state.paused)),
        ):
            return self._scan_state.forget_if_put_back()
        self._on_idle()
        self._reporter.tick()
        self._scan_state.tell_awaited()
        if waited and not self._waited_for_ranks:  # they have just ended
            return not self._options.stop.is_set()
        idle_seconds = 0.0 if may_help else self._options.monotonic() - self._busy_at
        pause = pause_seconds(
            look_seconds,
            idle_seconds,
            for_ranks=not self._scan_state.ongoing,
            reads=reads_of_all(self._scan_state.reads, self._rank_group.membership.count),
        )
        return not self._options.stop.wait(pause)
