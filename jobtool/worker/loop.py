"""The worker: claim, transfer, record, next."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections import deque
from collections.abc import Callable
from functools import partial

from jobtool.errors import (
    ClaimLostError,
    JobFileError,
    JoblistUnavailableError,
    JobtoolError,
    MembershipLostError,
    UnmetRequirementError,
    WorldError,
)
from jobtool.events import Emit, ignore, unfailing
from jobtool.jobs.blocks import Blocks
from jobtool.jobs.claim import Claims
from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.jobs.claimpolicy import (
    agree,
    lease_seconds_of,
    membership_name,
    propose,
    stall_seconds_of,
)
from jobtool.jobs.job import Job, JobStatus
from jobtool.jobs.joblist import JobList, reason_of
from jobtool.jobs.membership import Membership
from jobtool.jobs.requirements import require_understood
from jobtool.layouts.destination import with_destination
from jobtool.liveness import Liveness, Watchdog
from jobtool.names import quote
from jobtool.steps.plugins import StepPlugins
from jobtool.stop import Stop
from jobtool.stores.credentials.provider import ProviderError
from jobtool.transfer.checksum import DEFAULT_PART_BYTES
from jobtool.transfer.copy import Copier
from jobtool.transfer.stores_of import stores_of
from jobtool.worker.attempt import Attempt, Outcome
from jobtool.worker.deadline import Pace
from jobtool.worker.doubt import Doubts
from jobtool.worker.environment import Environment
from jobtool.worker.events import (
    ClaimsChosen,
    CredentialsMissing,
    JobClaimed,
    JobInvalid,
    JobLost,
    JobsFound,
    JobStarted,
    JobUnsuitable,
    NoTimeLeft,
    Scanning,
    Stalled,
    WorkerFinished,
    WorkerStopped,
    WouldTransfer,
)
from jobtool.worker.helper import Helper
from jobtool.worker.options import WorkerOptions, resolve_options
from jobtool.worker.progress import Reporter
from jobtool.worker.rankgroup import RankGroup, Tally
from jobtool.worker.scanstate import FINISHED, ScanState
from jobtool.worker.tools import AttemptTools

_CLAIMABLE = (JobStatus.TODO, JobStatus.ONGOING)

#: How long a worker that has nothing to claim pauses before it looks again: at least so long, so
#: many times as long as the looking takes, and this share of the time that it has been idle, but no
#: longer than that.
_LOOK_SECONDS = 0.5
_LOOKS_TO_PAUSES = 5
_IDLE_TO_PAUSES = 0.1
_LONGEST_PAUSE_SECONDS = 10.0

#: How many blocks of others' jobs it does before it looks whether there is a job of its own.
_BLOCKS_BEFORE_LOOKING = 10

#: How often in a row a provider may give no credentials, and how long to wait after the first time;
#: twice as long after each other.
_CREDENTIAL_FAILURES = 3
_FIRST_WAIT_SECONDS = 1.0


class Worker:
    """Works on a joblist until nothing is left that it could claim.

    First what is ``todo``, from a start of its own; then what is ``ongoing`` under a claim that
    nobody holds, since its worker has died.

    What ``options`` leave open is taken from joblist.toml. What ``emit`` raises fails no job: it is
    told once, by ``warnings``. Raises ``JoblistError`` if joblist.toml names a command that may not
    be trusted.
    """

    def __init__(
        self,
        joblist: JobList,
        environment: Environment,
        options: WorkerOptions,
        emit: Emit = ignore,
    ) -> None:
        resolved = resolve_options(options, joblist.settings.transfer)
        emit = unfailing(emit)
        self._joblist = joblist
        self._environment = environment
        self._options = resolved
        self._emit = emit
        self._stores = stores_of(
            joblist,
            connections=2 * resolved.threads,
            links=resolved.policies.links,
            read_back=resolved.policies.verify == "read-back",
            keep=resolved.policies.preserve,
        )
        self._name = f"{environment.host}-{environment.pid}-{secrets.token_hex(3)}"
        self._membership = Membership(joblist.claims_path, lease_seconds_of(joblist))
        self._proposed = propose(joblist, options.claims or joblist.settings.claims or "auto")
        self._rank_group = RankGroup(
            joblist.claims_path, environment, self._membership, options.monotonic
        )
        self._tally = Tally(name=membership_name(self._name, self._proposed))
        self._reporter = Reporter(
            self._rank_group, self._tally, resolved, emit, rank=environment.rank
        )
        self._scan_state = ScanState(joblist)
        self._liveness = Liveness()
        self._claims: Claims | None = None
        self._pace = Pace(options.drain_at, options.monotonic)
        self._has_others = False  # ranks that were there when we last looked, to be waited for
        self._others = 0  # workers that were there before this one, where they have no ranks
        self._is_out_of_time = False
        self._busy_at = options.monotonic()
        self._credential_failures = 0  # in a row
        self._doubts = Doubts(self._done_elsewhere, options.stop.wait)
        self._plugins = StepPlugins()

    def run(self, on_announced: Callable[[], None] | None = None) -> int:
        """Work; return the exit code (see ``jobtool.errors``; 3 if work is left).

        ``on_announced`` is called once other ranks can know of this one.

        Of several ranks that were started together only the last of the lowest tells what all
        of them came to; the others return 0. Raises ``WorldError`` after handing the job back, and
        if the joblist can't be written; ``UsageError`` if other workers claim in another way;
        ``MembershipLostError`` if they have taken this one for dead.
        """
        try:
            stall_seconds = stall_seconds_of(self._joblist)
            watchdog = Watchdog(
                self._liveness, stall_seconds, partial(self._leave_stalled, stall_seconds)
            )
            with self._membership.announced(self._tally.name, self._stop_unknown):
                if self._rank_group.is_alone:
                    self._others = self._membership.count() - 1
                self._rank_group.tell(self._tally, now=True)
                if on_announced is not None:
                    on_announced()
                try:
                    with watchdog, self._liveness.working():
                        self._work()
                    self._membership.require_present()
                except (JobtoolError, OSError) as error:
                    # Of a crew that takes it for dead it is no longer one.
                    if self._rank_group.is_alone or isinstance(error, MembershipLostError):
                        self._tell_end_by(error)
                        raise
                    self._tally.exit_code = getattr(error, "exit_code", 4)
                    self._emit(WorkerStopped(reason=str(error)))
                return self._end()
        except OSError as error:
            raise JoblistUnavailableError(
                f"can't use the joblist {quote(self._joblist.path)}: {reason_of(error)}"
            ) from None

    def _stop_unknown(self) -> None:
        self._options.stop.lose("others have taken this worker for dead")

    def _leave_stalled(self, stall_seconds: float) -> None:
        """Leave the jobs of this worker, which hangs, to others; called from another thread."""
        is_left = self._claims is not None and self._claims.lose_all()
        if is_left:
            self._options.stop.lose(f"nothing moved for {stall_seconds:.0f} s")
            self._membership.give_up()
        on = self._liveness.works_on()
        self._emit(Stalled(seconds=stall_seconds, works_on=on, left=is_left))

    def preview(self) -> int:
        """Tell what would be transferred, and touch nothing; return the exit code."""
        scanned = list(self._joblist.scan())
        self._emit(JobsFound(count=len(scanned), path=self._joblist.path))
        for found in scanned:
            if found.status in (*_CLAIMABLE, None):
                job = self._load(found.job_id)
                if job is not None:
                    self._emit(
                        WouldTransfer(job=job.name, source=job.origin, destination=job.target)
                    )
        return 1 if self._scan_state.invalid else 0

    @property
    def _is_ended(self) -> bool:
        most = self._options.max_jobs
        is_enough = most is not None and self._tally.taken >= most
        return self._options.stop.is_set() or is_enough or self._is_out_of_time

    def _work(self) -> None:
        agreed = agree(self._joblist, self._proposed, self._membership)
        claims = self._claims = Claims(
            self._joblist.claims_path,
            agreed.claim_policy,
            require_present=self._membership.require_present,
        )
        look = partial(self._scan_state.scan, thoroughly=not self._rank_group.is_alone)
        scan = self._rank_group.hand_over(look, self._options.stop.is_set)
        self._scan_state.learn(scan)
        job_ids = [*scan]
        if self._environment.rank == 0:
            self._emit(JobsFound(count=len(job_ids), path=self._joblist.path))
            self._emit(Scanning())
            self._emit(ClaimsChosen(claims=agreed.claim_policy.kind, reason=agreed.reason))
        self._reporter.jobs_total = len(job_ids) - len(self._scan_state.finished)
        copier = Copier(
            threads=self._options.threads,
            part_bytes=self._options.part_bytes or DEFAULT_PART_BYTES,
            liveness=self._liveness,
        )
        helper = Helper(
            self._joblist,
            claims,
            self._stores,
            self._options,
            self._emit,
            name=self._name,
            worker=self._environment.worker,
        )
        try:
            while not self._is_ended:
                before = self._tally.taken
                started = self._options.monotonic()
                self._take_todo(job_ids, claims, copier)
                if self._tally.taken == before:
                    self._take_orphans(claims, copier)
                is_idle = self._tally.taken == before and not self._is_ended
                look_seconds = self._options.monotonic() - started
                if not is_idle or self._help(helper, copier):
                    self._busy_at = self._options.monotonic()
                elif not self._stay(claims, helper, look_seconds):
                    break
                job_ids = self._joblist.job_ids()
            self._sweep_blocks(claims)
        finally:
            helper.withdraw()
            copier.close()

    def _in_order(self, job_ids: list[str]) -> list[str]:
        start = self._environment.start_of(len(job_ids), others=self._others)
        return job_ids[start:] + job_ids[:start]

    def _take_todo(self, job_ids: list[str], claims: Claims, copier: Copier) -> None:
        """Go through the jobs once, each looked at right before it would be taken.

        While a job is in doubt the next comes from the other end: its neighbours may be like it.
        """
        self._scan_state.ongoing = []
        ahead = deque(self._in_order(job_ids))
        while ahead:
            if self._is_ended:
                return
            job_id = ahead.pop() if self._doubts.is_any_open else ahead.popleft()
            if self._joblist.has_temporaries(job_id):
                self._sweep(job_id, claims)
            if self._scan_state.is_over(job_id) or job_id in self._scan_state.too_long:
                continue
            try:
                status = self._scan_state.look(job_id)
            except FileNotFoundError:
                continue  # removed by hand meanwhile
            if status is None:
                self._load(job_id)
            elif status is JobStatus.ONGOING or (
                status is JobStatus.TODO and not self._take(job_id, claims, copier)
            ):
                self._scan_state.ongoing.append(job_id)

    def _sweep(self, job_id: str, claims: Claims) -> None:
        """Remove what a worker that was killed over this job file has left beside it."""
        with contextlib.suppress(FileNotFoundError, JobFileError):
            claimed = ClaimedJob.take(self._joblist, claims, job_id, self._options.now)
            if claimed is not None:
                with claimed:
                    self._joblist.remove_temporaries(job_id)

    def _sweep_blocks(self, claims: Claims) -> None:
        """Remove offers of help, made by workers that were killed, with jobs that are done."""
        for job_id in self._joblist.job_ids_with_blocks():
            if self._scan_state.finished.get(job_id) is not JobStatus.SUCCESS:
                continue
            blocks = Blocks(self._joblist.blocks_path_of(job_id), claims)
            with contextlib.suppress(FileNotFoundError, JobFileError):
                claimed = ClaimedJob.take(self._joblist, claims, job_id, self._options.now)
                if claimed is None:  # by the lease of who has done it and died then, perhaps
                    blocks.withdraw_all()
                    continue
                with claimed:
                    if claimed.job.status is JobStatus.SUCCESS:
                        blocks.remove()

    def _take_orphans(self, claims: Claims, copier: Copier) -> None:
        """Take what is ``ongoing`` under a claim that nobody holds."""
        ongoing, self._scan_state.ongoing = self._scan_state.ongoing, []
        for job_id in ongoing:
            if self._is_ended:
                return
            if not self._take(job_id, claims, copier):
                self._scan_state.ongoing.append(job_id)

    def _help(self, helper: Helper, copier: Copier) -> bool:
        """Do a block of a job that another holds, if one can be had."""
        if not self._options.share:
            return False
        helper.offer(self._in_order(self._scan_state.ongoing))
        if not helper.help(copier):
            return False
        for _ in range(_BLOCKS_BEFORE_LOOKING):
            if not helper.help(copier):
                break
        self._reporter.tick()  # what it sent is counted by the job's holder
        return True

    def _stay(self, claims: Claims, helper: Helper, look_seconds: float) -> bool:
        """Wait a moment if there may be something to do later; tell whether to look again."""
        had_others, self._has_others = self._has_others, self._must_wait_for_others()
        is_hopeful = helper.is_hopeful
        is_awaited = self._scan_state.ongoing and (
            self._options.wait or is_hopeful or claims.watch.is_undecided
        )
        if not is_awaited and not had_others and not self._has_others:
            return self._scan_state.forget_if_put_back()
        self._reporter.tick()
        idle_seconds = 0.0 if is_hopeful else self._options.monotonic() - self._busy_at
        pause = pause_seconds(look_seconds=look_seconds, idle_seconds=idle_seconds)
        return not self._options.stop.wait(pause)

    def _must_wait_for_others(self) -> bool:
        return self._rank_group.has_others() and self._rank_group.is_lowest()

    def _take(self, job_id: str, claims: Claims, copier: Copier) -> bool:
        """Take a job if it can be had and needs work; False if another holds it, or may still."""
        if not self._has_time():
            return True
        # Before a job is claimed: settings that no client can be made of are no job's fault.
        settings = self._joblist.settings
        self._stores.prepare({"source": settings.source, "destination": settings.destination})
        stop = Stop(parent=self._options.stop)
        try:
            claimed = ClaimedJob.take(
                self._joblist,
                claims,
                job_id,
                self._options.now,
                on_loss=lambda: stop.lose("the claim was lost"),
            )
        except FileNotFoundError:
            return True  # removed by hand
        except JobFileError as error:
            self._leave_alone(job_id, error)
            return True
        if claimed is None:
            return False
        with claimed:
            try:
                # Another worker may have taken and finished it meanwhile.
                if claimed.job.status in _CLAIMABLE:
                    self._plugins.require(claimed.job.chain)
                    claimed.job = with_destination(claimed.job, self._joblist.settings)
                    self._work_on(claimed, claims, copier, stop)
                else:
                    self._scan_state.finished[job_id] = claimed.job.status
            except JobFileError as error:
                self._leave_alone(job_id, error)
        return True

    def _has_time(self) -> bool:
        """Tell whether any job like those so far would be done in time; say so if not."""
        if self._pace.is_enough_for_another:
            return True
        self._is_out_of_time = True
        self._emit(
            NoTimeLeft(
                seconds_left=max(self._pace.seconds_left, 0.0),
                job_seconds=self._pace.shortest_seconds,
            )
        )
        return False

    def _load(self, job_id: str) -> Job | None:
        try:
            job, _ = self._joblist.load(job_id)
            require_understood(job.requires)
            self._plugins.require(job.chain)
            return with_destination(job, self._joblist.settings)
        except FileNotFoundError:
            return None  # removed by hand
        except JobFileError as error:
            self._leave_alone(job_id, error)
            return None

    def _leave_alone(self, job_id: str, error: JobFileError) -> None:
        """Say why a job is left as it is: nobody can do it, or this worker can't."""
        if isinstance(error, UnmetRequirementError):
            self._scan_state.left_alone.add(job_id)
            self._emit(JobUnsuitable(stem=job_id, reason=str(error)))
        else:
            self._leave_invalid(job_id, str(error))

    def _leave_invalid(self, job_id: str, reason: str) -> None:
        self._scan_state.invalid.add(job_id)
        self._emit(JobInvalid(stem=job_id, reason=reason))

    def _work_on(self, claimed: ClaimedJob, claims: Claims, copier: Copier, stop: Stop) -> None:
        job, job_id = claimed.job, claimed.job_id
        started = self._options.monotonic()
        try:
            claimed.begin(worker=self._environment.worker, rank=self._environment.rank)
            self._emit(
                JobClaimed(
                    job=job.name, stem=job_id, status=job.status, attempt=claimed.job.attempts
                )
            )
            self._emit(JobStarted(job=job.name, source=job.origin, destination=job.target))
            attempt = Attempt(claimed, self._tools(claims, copier), stop)
            with self._liveness.working(job.name):
                outcome = attempt.run()
        except ProviderError as error:
            self._count_set_back(claimed)
            self._wait_for_credentials(error)
            return
        except WorldError:
            self._count_set_back(claimed)
            raise
        except MembershipLostError:
            self._tally.lost += 1
            raise
        except ClaimLostError as error:
            self._emit(JobLost(job=job.name, reason=str(error)))
            outcome = Outcome.LOST
        except (JobFileError, FileNotFoundError) as error:
            # Somebody has edited or removed the job file meanwhile: the others are still good.
            if os.path.exists(self._joblist.path_of(job_id)) and isinstance(error, OSError):
                raise
            gone = "it was removed while the job was under way"
            self._leave_invalid(job_id, gone if isinstance(error, OSError) else str(error))
            self._tally.failed += 1
            return
        finally:
            self._reporter.end_job()
        self._credential_failures = 0
        if outcome is Outcome.SUCCESS:
            self._doubts.note_success()
            self._tally.succeeded += 1
            seconds = self._options.monotonic() - started
            self._pace.note(
                seconds, files=attempt.report.files_done, size_bytes=attempt.report.bytes_done
            )
        elif outcome is Outcome.ERROR:
            self._tally.failed += 1
        elif outcome is Outcome.LOST:
            self._tally.lost += 1
        elif outcome is Outcome.DOUBTFUL and attempt.doubt is not None:
            self._count_set_back(claimed)
            self._doubts.add(job_id, attempt.doubt)
        elif attempt.is_too_long:
            self._scan_state.too_long.add(job_id)  # looked at, rather than taken
        else:
            self._tally.handed_back += 1
        if claimed.job.status in FINISHED and outcome is not Outcome.LOST:
            self._scan_state.finished[job_id] = claimed.job.status

    def _tools(self, claims: Claims, copier: Copier) -> AttemptTools:
        return AttemptTools(
            joblist=self._joblist,
            worker=self._environment.worker,
            options=self._options,
            emit=self._emit,
            watch=self._reporter.watch,
            claims=claims,
            stores=self._stores,
            copier=copier,
            plugins=self._plugins,
            pace=self._pace,
            doubts=self._doubts,
        )

    def _count_set_back(self, claimed: ClaimedJob) -> None:
        """Count a job that was handed back, and is in error if that was so too often."""
        if claimed.job.status is JobStatus.ERROR:
            self._tally.failed += 1
            self._scan_state.finished[claimed.job_id] = claimed.job.status
        else:
            self._tally.handed_back += 1

    def _done_elsewhere(self) -> int:
        """Return how many files and jobs the other ranks of the run have done, -1 if alone."""
        if self._rank_group.is_alone:
            return -1
        others = (tally for tally in self._rank_group.tallies() if tally.name != self._tally.name)
        return sum(tally.succeeded + tally.files_sent for tally in others)

    def _wait_for_credentials(self, error: ProviderError) -> None:
        """Give the provider time; raises its error once it has failed too often in a row."""
        self._credential_failures += 1
        if self._credential_failures >= _CREDENTIAL_FAILURES:
            raise error
        self._emit(CredentialsMissing(reason=str(error), failures=self._credential_failures))
        self._options.stop.wait(_FIRST_WAIT_SECONDS * 2 ** (self._credential_failures - 1))

    def _end(self) -> int:
        """Report the run's results if this worker is to do that; return the exit code."""
        if not self._rank_group.is_lowest():
            self._tally.is_over = True
            self._rank_group.tell(self._tally, now=True)
            return 0  # the lowest that is there tells the truth for all
        while self._rank_group.has_others():
            self._reporter.tick()
            time.sleep(_LOOK_SECONDS)
        self._rank_group.tell(self._tally, now=True)
        tallies = [self._tally] if self._rank_group.is_alone else self._rank_group.tallies()
        code = self._summarise(tallies)
        self._rank_group.dismiss()
        return code

    def _tell_end_by(self, error: BaseException) -> None:
        """Tell what this worker came to before the environment failed it."""
        if isinstance(error, WorldError):
            self._tally.exit_code = error.exit_code
            with contextlib.suppress(JobtoolError, OSError):  # the joblist itself may be gone
                self._summarise([self._tally])

    def _summarise(self, tallies: list[Tally]) -> int:
        """Tell what workers came to; return the exit code of all of them."""
        counts = self._scan_state.count()
        # One that has told nothing has died before it could.
        died = self._rank_group.size - 1 - sum(tally.is_over for tally in tallies)
        # What others are working on is theirs, unless it may be an orphan: one of us has died, we
        # left before looking, or it is one of those that this worker can't do.
        may_be_orphans = counts[JobStatus.ONGOING] and (
            self._is_ended or died or self._scan_state.left_alone
        )
        code = 1 if counts[JobStatus.ERROR] or counts[None] else 0
        if counts[JobStatus.TODO] or may_be_orphans:
            code = 3
        code = max([code, *(tally.exit_code for tally in tallies)])
        self._emit(
            WorkerFinished(
                succeeded=sum(tally.succeeded for tally in tallies),
                failed=sum(tally.failed for tally in tallies),
                handed_back=sum(tally.handed_back for tally in tallies),
                left_todo=counts[JobStatus.TODO],
                left_ongoing=counts[JobStatus.ONGOING],
                in_error=counts[JobStatus.ERROR],
                invalid=counts[None],
                workers=self._rank_group.size,
                died=died,
                exit_code=code,
                stopped=self._options.stop.reason,
                path=self._joblist.path,
            )
        )
        return code


def pause_seconds(*, look_seconds: float, idle_seconds: float) -> float:
    """Return how long to wait before the joblist is looked at again: a pure decision.

    So that a fleet that waits for hours with ``--wait`` doesn't wear out the filesystem, and what
    there is to do is found at most a tenth later than it might have been.
    """
    by_idleness = min(_IDLE_TO_PAUSES * idle_seconds, _LONGEST_PAUSE_SECONDS)
    return max(_LOOK_SECONDS, _LOOKS_TO_PAUSES * look_seconds, by_idleness)
