"""A worker's lifecycle, from joining a joblist to its exit code."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import partial

from jobtool.errors import (
    JoblistUnavailableError,
    JobtoolError,
    MembershipLostError,
    reason_of,
)
from jobtool.events import Emit, ignore, unfailing
from jobtool.jobs.claim import Claims
from jobtool.jobs.claimpolicy import (
    AgreedPolicy,
    agree,
    claim_setting_of,
    lease_seconds_of,
    membership_name,
    propose,
    stall_seconds_of,
)
from jobtool.jobs.joblist import JobList
from jobtool.jobs.membership import Membership
from jobtool.jobs.workerstates import StateFile
from jobtool.liveness import Liveness, Watchdog
from jobtool.methods.plugins import load_methods
from jobtool.names import quote
from jobtool.sharing.helper import Helper
from jobtool.steps.plugins import StepPlugins
from jobtool.transfer.copy import Copier
from jobtool.transfer.partranges import DEFAULT_PART_BYTES
from jobtool.worker.doubt import Doubts
from jobtool.worker.environment import Environment
from jobtool.worker.events import (
    AttributesUnkept,
    ClaimsChosen,
    Helped,
    JobsFound,
    NoTimeLeft,
    Scanning,
    Stalled,
    WorkerStopped,
)
from jobtool.worker.jobrunner import JobRunner
from jobtool.worker.limits import Limits
from jobtool.worker.options import WorkerOptions, options_for
from jobtool.worker.overview import Overview
from jobtool.worker.ownstate import OwnState
from jobtool.worker.pace import Pace
from jobtool.worker.preview import preview
from jobtool.worker.progress import Reporter
from jobtool.worker.rankgroup import RankGroup, Tally
from jobtool.worker.runend import RunEnd
from jobtool.worker.scanstate import ScanState
from jobtool.worker.schedule import Schedule, rotated
from jobtool.worker.stores import worker_stores
from jobtool.worker.sweep import Sweeper
from jobtool.worker.tools import AttemptTools
from jobtool.worker.waiting import (
    may_get_work,
    pause_seconds,
    reads_of_all,
)

#: How many batches of others' jobs a worker does before it looks for a job of its own.
_BATCHES_BEFORE_LOOKING = 10


class Worker:
    """Works on a joblist until no job is left that it could claim.

    A worker first runs the jobs that are ``todo``, from a start of its own. Then it runs those that
    are ``ongoing`` but that no worker holds, because their worker has died. ``options`` that are
    None are taken from joblist.toml. An exception that ``emit`` raises fails no job; the first is
    shown by ``warnings``. Raises ``JoblistError`` if joblist.toml names a command that isn't
    trusted, and ``UsageError`` for options that aren't possible here.
    """

    def __init__(
        self,
        joblist: JobList,
        environment: Environment,
        options: WorkerOptions,
        emit: Emit = ignore,
    ) -> None:
        resolved = options_for(joblist.settings, options)
        self._joblist = joblist
        self._environment = environment
        self._options = resolved
        emit = unfailing(emit)
        self._stores = worker_stores(joblist, resolved)
        self._name = f"{environment.host}-{environment.pid}-{secrets.token_hex(3)}"
        self._membership = Membership(joblist.claims_path, lease_seconds_of(joblist))
        self._proposed = propose(joblist, options.claims or claim_setting_of(joblist))
        self._rank_group = RankGroup(
            joblist.claims_path, environment, self._membership, options.monotonic
        )
        self._tally = Tally(name=membership_name(self._name, self._proposed))
        state_file = StateFile(joblist.claims_path, self._tally.name)
        self._state = OwnState(state_file, environment, lambda: self._is_ended)
        emit = self._state.observed(emit)
        self._overview = Overview(joblist)
        overview, rank = self._overview.estimate, environment.rank
        self._reporter = Reporter(
            self._rank_group, self._tally, resolved, emit, rank=rank, overview=overview
        )
        self._emit = emit = self._reporter.counted(emit)
        self._limits = Limits(joblist, options, emit, self._rank_group, self._tally.name)
        self._plugins = StepPlugins()
        self._methods = load_methods(resolved.methods, joblist.settings)
        self._scan_state = ScanState(joblist, emit, self._plugins, resolved.now)
        self._run_end = RunEnd(
            joblist,
            resolved,
            emit,
            scan_state=self._scan_state,
            rank_group=self._rank_group,
            tally=self._tally,
            reporter=self._reporter,
            is_early=lambda: self._is_ended,
        )
        self._liveness = Liveness()
        self._claims: Claims | None = None
        self._pace = Pace(options.drain_at, options.monotonic)
        self._waited_for_ranks = False  # when last idle
        self._workers_before = 0  # workers that had joined before this one, if it isn't a rank
        self._is_out_of_time = False
        self._busy_at = options.monotonic()
        done_by_others = partial(self._rank_group.done_by_others, self._tally.name)
        self._doubts = Doubts(done_by_others, options.stop.wait)

    def run(self, on_joined: Callable[[], None] | None = None) -> int:
        """Work; return the exit code (see ``jobtool.errors``; 3 if work is left).

        ``on_joined`` is called once this worker has joined the others.

        Of several ranks that were started together, the lowest one left at the end reports for all
        of them; the others return 0. Raises ``InfrastructureError`` after handing the job back, or
        if the joblist can't be written; ``UsageError`` if other workers use another kind of claims;
        ``MembershipLostError`` if other workers regard this one as dead.
        """
        try:
            stall_seconds = stall_seconds_of(self._joblist)
            on_stall = partial(self._leave_stalled, stall_seconds)
            watchdog = Watchdog(self._liveness, stall_seconds, on_stall)
            on_loss = partial(self._options.stop.lose, "other workers regard this one as dead")
            with self._membership.joined(self._tally.name, on_loss):
                if self._rank_group.is_alone:
                    self._workers_before = self._membership.count() - 1
                self._rank_group.publish(self._tally, now=True)
                if on_joined is not None:
                    on_joined()
                try:
                    with watchdog, self._limits, self._state, self._liveness.working():
                        self._work()
                    self._membership.require_present()
                except (JobtoolError, OSError) as error:
                    # A worker that its rank group regards as dead no longer belongs to it.
                    if self._rank_group.is_alone or isinstance(error, MembershipLostError):
                        self._run_end.report_failure(error)
                        raise
                    self._tally.exit_code = getattr(error, "exit_code", 4)
                    self._emit(WorkerStopped(reason=str(error)))
                return self._run_end.end()
        except OSError as error:
            raise JoblistUnavailableError(
                f"can't use the joblist {quote(self._joblist.path)}: {reason_of(error)}"
            ) from None

    def _leave_stalled(self, stall_seconds: float) -> None:
        """Release the jobs of this worker, which hangs. Another thread calls this."""
        is_left = self._claims is not None and self._claims.lose_all()
        if is_left:
            self._options.stop.lose(f"nothing moved for {stall_seconds:.0f} s")
            self._membership.give_up()
        self._emit(Stalled(seconds=stall_seconds, works_on=self._liveness.works_on(), left=is_left))

    def preview(self) -> int:
        """Emit the jobs that would be transferred; change nothing; return the exit code."""
        self._limits.tell()
        return preview(self._joblist, self._scan_state, self._emit, self._options.site)

    @property
    def _is_ended(self) -> bool:
        max_jobs = self._options.max_jobs
        is_enough = max_jobs is not None and self._tally.claimed >= max_jobs
        return self._options.stop.is_set() or is_enough or self._is_out_of_time

    def _work(self) -> None:
        agreed = agree(self._joblist, self._proposed, self._membership)
        claims = self._claims = Claims(
            self._joblist.claims_path,
            agreed.claim_policy,
            require_present=self._membership.require_present,
        )
        job_ids = self._scan(agreed)
        with self._overview.looking(
            jobs=len(job_ids),
            rank=self._environment.rank,
            is_alone=self._rank_group.is_alone,
            sees_all=self._options.sees_all,
        ):
            self._work_on(job_ids, claims)

    def _work_on(self, job_ids: list[str], claims: Claims) -> None:
        copier = Copier(
            threads=self._options.threads,
            part_bytes=self._options.part_bytes or DEFAULT_PART_BYTES,
            liveness=self._liveness,
            throttle=self._limits.throttle,
        )
        helper = Helper(
            self._joblist,
            claims,
            self._stores,
            self._options,
            name=self._name,
            worker=self._environment.worker,
            on_helped=lambda job_id, batch, size: self._emit(
                Helped(stem=job_id, block=batch, bytes=size)
            ),
            on_unkept=lambda job, unkept: self._emit(AttributesUnkept.of(unkept, job=job)),
        )
        tools = AttemptTools(
            joblist=self._joblist,
            worker=self._environment.worker,
            options=self._options,
            emit=self._emit,
            watch=self._state.watched(self._reporter.watch),
            claims=claims,
            stores=self._stores,
            copier=copier,
            plugins=self._plugins,
            methods=self._methods,
            pace=self._pace,
            doubts=self._doubts,
            use_routes=self._limits.use_routes,
        )
        runner = JobRunner(
            tools,
            rank=self._environment.rank,
            liveness=self._liveness,
            reporter=self._reporter,
            scan_state=self._scan_state,
            tally=self._tally,
        )
        sweeper = Sweeper(self._joblist, claims, self._scan_state, self._options.now)
        schedule = Schedule(
            self._joblist,
            self._scan_state,
            sweeper,
            run_job=lambda job_id: not self._has_time() or runner.run(job_id),
            is_ended=lambda: self._is_ended,
            is_in_doubt=lambda: self._doubts.is_any_open,
            is_held_back=runner.is_held_back,
        )
        try:
            while not self._is_ended:
                if self._joblist.settings.packages is not None:
                    self._scan_state.forget_if_put_back()  # a step puts others back
                before = self._tally.claimed
                started = self._options.monotonic()
                schedule.run_todo(self._in_order(job_ids))
                if self._tally.claimed == before:
                    schedule.run_orphans()
                is_idle = self._tally.claimed == before and not self._is_ended
                look_seconds = self._options.monotonic() - started
                if not is_idle or self._help(helper, copier):
                    self._busy_at = self._options.monotonic()
                elif not self._wait_for_work(claims, helper, look_seconds):
                    break
                job_ids = self._joblist.job_ids()
            sweeper.remove_batches()
        finally:
            helper.withdraw()
            copier.close()

    def _scan(self, agreed: AgreedPolicy) -> list[str]:
        """List the jobs, together with the other ranks; return the job IDs."""
        scan = self._rank_group.share_scan(
            partial(self._scan_state.scan, reads_status=not self._rank_group.is_alone),
            self._options.stop.is_set,
        )
        self._scan_state.adopt(scan)
        if self._environment.rank == 0:
            self._emit(JobsFound(count=len(scan), path=self._joblist.path))
            self._emit(Scanning())
            self._emit(ClaimsChosen(claims=agreed.claim_policy.kind, reason=agreed.reason))
        self._reporter.jobs_total = len(scan) - len(self._scan_state.finished)
        return [*scan]

    def _in_order(self, job_ids: list[str]) -> list[str]:
        start = self._environment.start_of(len(job_ids), others=self._workers_before)
        return rotated(job_ids, start)

    def _has_time(self) -> bool:
        """Return True if a job like the shortest so far would be done in time; emit why if not."""
        if self._pace.is_enough_for_another:
            return True
        self._is_out_of_time = True
        left = max(self._pace.seconds_left, 0.0)
        self._emit(NoTimeLeft(seconds_left=left, job_seconds=self._pace.shortest_seconds))
        return False

    def _help(self, helper: Helper, copier: Copier) -> bool:
        """Do batches of jobs that other workers hold; return True if there was one."""
        if not self._options.share:
            return False
        helper.offer(self._in_order(self._scan_state.ongoing))
        if not helper.help(copier):
            return False
        for _ in range(_BATCHES_BEFORE_LOOKING):
            if not helper.help(copier):
                break
        self._reporter.tick()  # the job's holder counts what was sent
        return True

    def _wait_for_work(self, claims: Claims, helper: Helper, look_seconds: float) -> bool:
        """Wait a moment if there may be work later; return True to look again."""
        waited, self._waited_for_ranks = self._waited_for_ranks, self._rank_group.must_wait()
        may_help, waits = helper.is_hopeful, self._options.wait
        if not may_get_work(
            is_any_ongoing=bool(self._scan_state.ongoing),
            waits=waits,
            may_help=may_help,
            is_claim_undecided=claims.watch.is_undecided,
            # Look once more after the last of them has ended: it may have left a job.
            must_wait_for_ranks=waited or self._waited_for_ranks,
            awaits_jobs=self._scan_state.awaits_jobs,
            is_due_soon=self._scan_state.is_any_due(waits=waits),
        ):
            return self._scan_state.forget_if_put_back()
        self._reporter.tick()
        self._state.idle()
        self._scan_state.tell_awaited()
        if waited and not self._waited_for_ranks:  # they have just ended
            return not self._options.stop.is_set()
        idle_seconds = 0.0 if may_help else self._options.monotonic() - self._busy_at
        pause = pause_seconds(
            look_seconds,
            idle_seconds,
            for_ranks=not self._scan_state.ongoing,
            reads=reads_of_all(self._scan_state.reads, self._membership.count),
        )
        return not self._options.stop.wait(pause)
