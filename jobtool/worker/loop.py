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
from jobtool.worker.idle import Idle
from jobtool.worker.jobrunner import JobRunner
from jobtool.worker.limits import Limits
from jobtool.worker.listlook import ListLook, look_rule
from jobtool.worker.options import WorkerOptions, options_for
from jobtool.worker.order import JobOrder
from jobtool.worker.ownstate import OwnState
from jobtool.worker.pace import Pace
from jobtool.worker.passes import Helping, Passes
from jobtool.worker.preview import Previewer
from jobtool.worker.priorities import Priorities
from jobtool.worker.progress import Reporter
from jobtool.worker.rankgroup import RankGroup, Scan, Tally
from jobtool.worker.runend import RunEnd
from jobtool.worker.scanstate import ScanState
from jobtool.worker.schedule import Schedule
from jobtool.worker.steering import PausedWait, Steering
from jobtool.worker.stores import worker_stores
from jobtool.worker.sweep import Sweeper
from jobtool.worker.tools import AttemptTools


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
        self._list_look = ListLook(joblist)
        estimate, rank = self._list_look.estimate, environment.rank
        self._reporter = Reporter(
            self._rank_group, self._tally, resolved, emit, rank=rank, estimate=estimate
        )
        self._emit = emit = self._reporter.counted(emit)
        self._steering = Steering(joblist, resolved.stop, emit)
        self._limits = Limits(
            joblist,
            options,
            emit,
            self._rank_group,
            self._tally.name,
            also=self._steering.look,
            workers=lambda: self._state.workers,
        )
        self._priorities = Priorities(joblist, lambda: self._steering.control)
        self._order = JobOrder(
            joblist, resolved.jobs, resolved.order, environment, self._priorities.known
        )
        self._plugins = StepPlugins()
        self._methods = load_methods(resolved.methods, joblist.settings)
        self._scan_state = ScanState(
            joblist, emit, self._plugins, resolved.now, self._priorities, self._order.chosen
        )
        self._paused_wait = PausedWait(
            joblist, self._steering, self._scan_state, self._reporter, resolved, emit
        )
        self._idle = Idle(
            resolved, self._rank_group, self._scan_state, self._reporter, self._state.idle
        )
        self._run_end = RunEnd(
            joblist,
            resolved,
            emit,
            scan_state=self._scan_state,
            rank_group=self._rank_group,
            tally=self._tally,
            reporter=self._reporter,
            is_early=lambda: self._is_ended,
            is_paused=lambda job_id: self._steering.pause_of(job_id) is not None,
        )
        self._liveness = Liveness()
        self._claims: Claims | None = None
        self._pace = Pace(options.drain_at, options.monotonic)
        self._is_out_of_time = False
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
            # Before it joins: a stop that counts this worker as a running one is newer.
            is_first = self._rank_group.is_alone or self._environment.rank == 0
            self._tally.stop_seen = self._steering.begin(heeds=is_first)
            with self._membership.joined(self._tally.name, on_loss):
                if self._rank_group.is_alone:
                    self._order.others = self._membership.count() - 1
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

    def preview(self, rate: float | None = None) -> int:
        """Emit what would be transferred; change nothing; return the exit code.

        ``rate`` is the bytes in a second to expect; by default those of earlier jobs.
        """
        return Previewer(
            self._joblist,
            self._scan_state,
            self._stores,
            self._options,
            self._emit,
            chosen=self._order.chosen,
            limits=self._limits.tell(),
            rate=rate,
        ).run()

    @property
    def _is_ended(self) -> bool:
        max_jobs = self._options.max_jobs
        claimed = self._tally.claimed - self._steering.hand_backs
        is_enough = max_jobs is not None and claimed >= max_jobs
        return self._options.stop.is_set() or is_enough or self._is_out_of_time

    def _work(self) -> None:
        agreed = agree(self._joblist, self._proposed, self._membership)
        claims = self._claims = Claims(
            self._joblist.claims_path,
            agreed.claim_policy,
            require_present=self._membership.require_present,
        )
        job_ids = self._scan(agreed)
        rule = look_rule(
            self._options.looks,
            jobs=len(job_ids),
            rank=self._environment.rank,
            is_alone=self._rank_group.is_alone,
            workers=lambda: self._state.workers,
        )
        with self._list_look.looking(rule):
            self._work_on(job_ids, claims)

    def _work_on(self, job_ids: list[str], claims: Claims) -> None:
        copier = Copier(
            threads=self._options.threads,
            small_files=self._options.small_files,
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
            holding=self._steering.holding,
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
            steering=self._steering,
        )
        sweeper = Sweeper(self._joblist, claims, self._scan_state, self._options.now)
        schedule = Schedule(
            self._joblist,
            self._scan_state,
            sweeper,
            run_job=lambda job_id: not self._has_time() or runner.run(job_id),
            is_ended=lambda: self._is_ended or self._is_paused,
            is_in_doubt=lambda: self._doubts.is_any_open,
            is_held_back=runner.is_held_back,
            is_stale=lambda: self._order.is_stale,
        )
        passes = Passes(
            self._joblist,
            schedule=schedule,
            order=self._order,
            scan_state=self._scan_state,
            tally=self._tally,
            helping=Helping(helper, copier, self._order, self._steering, self._reporter),
            shares=self._options.share,
            paused_wait=self._paused_wait,
            idle=self._idle,
            is_ended=lambda: self._is_ended,
            is_paused=lambda: self._is_paused,
            claims=claims,
            monotonic=self._options.monotonic,
        )
        try:
            passes.run(job_ids)
            sweeper.remove_batches()
        finally:
            helper.withdraw()
            copier.close()

    def _scan(self, agreed: AgreedPolicy) -> list[str]:
        """List the jobs, together with the other ranks; return the job IDs."""
        scan = self._rank_group.share_scan(self._look_at_all, self._options.stop.is_set)
        if not self._rank_group.is_alone and self._environment.rank:
            first = self._rank_group.first()  # None if it died before it could tell anything
            self._steering.agree(None if first is None else first.stop_seen)
        self._scan_state.adopt(scan)
        self._order.adopt(scan)
        chosen = self._order.chosen([*scan])
        if self._environment.rank == 0:
            self._emit(JobsFound.of(self._joblist.path, scan, chosen))
            self._emit(Scanning())
            self._emit(ClaimsChosen(claims=agreed.claim_policy.kind, reason=agreed.reason))
        undone = [job_id for job_id in chosen if job_id not in self._scan_state.finished]
        self._reporter.jobs_total = len(undone)
        return [*scan]

    def _look_at_all(self) -> Scan:
        scan = self._scan_state.scan(is_alone=self._rank_group.is_alone)
        return self._order.sorted(scan, self._emit)

    @property
    def _is_paused(self) -> bool:
        return self._steering.list_pause is not None

    def _has_time(self) -> bool:
        """Return True if a job like the shortest so far would be done in time; emit why if not."""
        if self._pace.is_enough_for_another:
            return True
        self._is_out_of_time = True
        left = max(self._pace.seconds_left, 0.0)
        self._emit(NoTimeLeft(seconds_left=left, job_seconds=self._pace.shortest_seconds))
        return False
