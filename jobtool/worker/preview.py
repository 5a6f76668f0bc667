"""A dry run of a worker: it looks at the jobs that would run, and tells; nothing is written."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotDoneError
from functools import partial

from msgspec.structs import replace

from jobtool.errors import InfrastructureError, JobtoolError, StoppedError
from jobtool.events import Emit
from jobtool.jobs.job import COPY, Job
from jobtool.jobs.joblist import JobList
from jobtool.names import quote
from jobtool.report.pastrate import past_rate
from jobtool.report.pauses import read_pauses
from jobtool.stores.registry import StoreRegistry
from jobtool.transfer.foresight import SMALL_BYTES, Foreseer, Foresight, Problem
from jobtool.transfer.ledger import Ledger
from jobtool.transfer.ledger.gone import Gone
from jobtool.transfer.partranges import DEFAULT_PART_BYTES
from jobtool.transfer.plan import Plan
from jobtool.transfer.planning import open_plan
from jobtool.transfer.selecting import selection_in
from jobtool.worker.events import JobsFound, Preview, PreviewProgress, WouldTransfer
from jobtool.worker.events.preview import TimeEstimate
from jobtool.worker.jobrunner import CLAIMABLE
from jobtool.worker.jobtext import source_text, what_of
from jobtool.worker.lookers import Lookers
from jobtool.worker.options import ResolvedOptions
from jobtool.worker.packages.gate import Gate
from jobtool.worker.previewrooms import Rooms, ignores_case
from jobtool.worker.scanstate import ScanState

#: How many jobs are looked at at a time, and how many are begun ahead of the one that is told next.
_JOBS_AT_A_TIME = 4
_JOBS_AHEAD = 16

#: How long a server that doesn't answer is waited for.
_PATIENCE_SECONDS = 20.0

_TICK_SECONDS = 0.2

#: How often the progress of a listing is noted.
_FILES_PER_NOTE = 1024
_PROGRESS_SECONDS = 5.0

Look = tuple[Job, str, Future[Foresight] | None]


class Previewer:
    """Looks at the jobs that a worker with these options would do. Emits them, then a ``Preview``.

    ``chosen`` returns those of some job IDs that the worker may do, in their order. ``limits`` are
    the bytes and the requests that may be moved in a second now, None for no limit. ``rate`` is the
    bytes in a second that the user expects, None for those of earlier jobs.
    """

    def __init__(
        self,
        joblist: JobList,
        scan_state: ScanState,
        stores: StoreRegistry,
        options: ResolvedOptions,
        emit: Emit,
        *,
        chosen: Callable[[list[str]], list[str]],
        limits: tuple[float | None, float | None],
        rate: float | None,
    ) -> None:
        self._joblist = joblist
        self._scan_state = scan_state
        self._stores = stores
        self._options = options
        self._emit = emit
        self._chosen = chosen
        self._limits = limits
        self._rate = rate
        self._retry = _hurried(options).retry(options.stop)
        self._gate = Gate(joblist, scan_state, options.site)
        self._total = Foresight()
        self._jobs = self._sized = 0
        self._rooms = Rooms(self._retry)
        self._failed = Problem(kind="job")
        self._broken: InfrastructureError | None = None
        self._told_at = time.monotonic()
        self._sizes: dict[str, tuple[int, int]] = {}  # files and bytes of jobs that aren't told yet

    def run(self) -> int:
        """Look, tell, and return the exit code."""
        scanned = list(self._joblist.scan())
        chosen = self._chosen([one.job_id for one in scanned])
        of_all = None if len(chosen) == len(scanned) else len(chosen)
        self._emit(JobsFound(count=len(scanned), path=self._joblist.path, chosen=of_all))
        status = {one.job_id: one.status for one in scanned}
        claimable = [job_id for job_id in chosen if status[job_id] in (*CLAIMABLE, None)]
        stopped: str | None = None
        lookers = Lookers(_JOBS_AT_A_TIME)
        try:
            for job, job_id, future in self._ahead(claimable, lookers):
                self._tell(job, job_id, self._wait(job, future, len(claimable)))
        except StoppedError:
            stopped = self._options.stop.reason
        finally:
            lookers.close()
        preview = self._preview(stopped)
        self._emit(preview)
        return preview.exit_code

    def _ahead(self, job_ids: list[str], lookers: Lookers) -> Iterator[Look]:
        """Yield the jobs that would run, in order, each with the look at it that has begun."""
        pending: deque[Look] = deque()
        most = self._options.max_jobs
        begun = 0
        for job_id in job_ids:
            if most is not None and begun >= most:
                break
            job = self._scan_state.load(job_id)
            if job is None or not (self._gate.is_open(job_id) or not self._gate.is_elsewhere(job)):
                continue
            begun += 1
            future = lookers.submit(partial(self._look, job, job_id)) if has_sizes(job) else None
            pending.append((job, job_id, future))
            if len(pending) >= _JOBS_AHEAD:
                yield pending.popleft()
        yield from pending

    def _look(self, job: Job, job_id: str) -> Foresight:
        """Look at one job; called in several threads."""
        if self._broken is not None:
            raise self._broken
        self._require_going()
        plan, listing = open_plan(
            job,
            self._stores,
            owner=self._joblist.owner_of(job_id),
            retry=self._retry,
            select=partial(selection_in, self._joblist),
        )
        if listing is not None:
            listing.on_entry = partial(self._note_size, job_id, plan)
            listing.run()
        ledger = Ledger(
            plan,
            self._joblist.journal_of(job_id),  # nothing is appended to it
            attempt=job.attempts + 1,
            compression=self._options.compression,
        )
        gone = Gone(ledger)
        ledger.fold(self._joblist.records_of(job_id), gone.note)
        gone.settle(accept_gone=self._options.policies.if_gone == "ignore")
        ledger.compare(self._retry)
        return Foreseer(
            plan,
            ledger,
            self._options.policies,
            part_bytes=self._options.part_bytes or DEFAULT_PART_BYTES,
            ignores_case=ignores_case,
            require_going=self._require_going,
        ).look()

    def _note_size(self, job_id: str, plan: Plan) -> None:
        if len(plan) % _FILES_PER_NOTE == 0:
            self._sizes[job_id] = len(plan), plan.total_bytes

    def _require_going(self) -> None:
        if self._options.stop.is_set():
            raise StoppedError(self._options.stop.reason or "")

    def _wait(self, job: Job, future: Future[Foresight] | None, jobs: int) -> Foresight | None:
        """Return what was found about a job; None if that isn't known."""
        if future is None:
            return None
        while True:
            try:
                return future.result(_TICK_SECONDS)
            except StoppedError:
                raise
            except InfrastructureError as error:
                self._broken = self._broken or error
                return None
            except JobtoolError as error:
                self._failed.add(f"{quote(job.name)}: {error}")
                return None
            except NotDoneError:
                self._require_going()
                self._tell_progress(jobs)

    def _tell(self, job: Job, job_id: str, found: Foresight | None) -> None:
        self._jobs += 1
        self._sizes.pop(job_id, None)
        known = {}
        if found is not None:
            self._sized += 1
            self._total.add(found)
            for store, need in found.needs:
                self._rooms.need(store, need)
            known = {
                "files": found.all.files,
                "bytes": found.all.bytes,
                "send_files": found.send.files,
                "send_bytes": found.send.bytes,
            }
        self._emit(
            WouldTransfer(
                job=job.name,
                source=source_text(job, self._joblist.settings),
                destination=job.target,
                what=what_of(job),
                after=self._scan_state.awaited.get(job_id),
                **known,
            )
        )

    def _tell_progress(self, jobs: int) -> None:
        now = time.monotonic()
        if now - self._told_at >= _PROGRESS_SECONDS:
            self._told_at = now
            sizes = [*self._sizes.values()]
            progress = PreviewProgress(
                jobs_done=self._jobs,
                jobs=jobs,
                files=self._total.all.files + sum(files for files, _ in sizes),
                bytes=self._total.all.bytes + sum(size for _, size in sizes),
            )
            self._emit(progress)

    # The result.

    def _preview(self, stopped: str | None) -> Preview:
        total = self._total
        problems = [*([self._failed] if self._failed.count else []), *total.problems.values()]
        problems.sort(key=lambda problem: not problem.is_error)
        rooms = self._rooms.found()
        preview = Preview(
            path=self._joblist.path,
            jobs=self._jobs,
            sized_jobs=self._sized,
            files=total.all.files,
            bytes=total.all.bytes,
            proven_files=total.proven.files,
            proven_bytes=total.proven.bytes,
            compare_files=total.compare.files,
            compare_bytes=total.compare.bytes,
            send_files=total.send.files,
            send_bytes=total.send.bytes,
            kept_bytes=total.kept_bytes,
            largest=total.largest[1] if total.largest else None,
            largest_bytes=total.largest[0] if total.largest else 0,
            small_files=total.small.files,
            small_bytes=total.small.bytes,
            small_below_bytes=SMALL_BYTES,
            excluded=total.excluded,
            rooms=rooms,
            without_room=self._rooms.untold,
            requests={
                "source": _counts(total.source_requests),
                "destination": _counts(total.destination_requests),
            },
            estimate=self._estimate(),
            problems=problems,
            paused=[*read_pauses(self._joblist).lines(self._joblist.path)],
            compression=self._options.compression,
            not_looked_at=None if self._broken is None else str(self._broken),
            stopped=stopped,
        )
        return replace(preview, exit_code=self._exit_code(preview))

    def _exit_code(self, preview: Preview) -> int:
        if preview.stopped is not None:
            return StoppedError.exit_code
        if self._broken is not None:
            return self._broken.exit_code
        if not all(room.suffices for room in preview.rooms):
            return InfrastructureError.exit_code
        is_any_error = any(problem.is_error for problem in preview.problems)
        return 1 if is_any_error or self._scan_state.invalid or self._scan_state.stuck else 0

    def _estimate(self) -> TimeEstimate | None:
        size = max(self._total.send.bytes - self._total.kept_bytes, 0)
        files = self._total.send.files
        if self._rate is not None:
            least = most = size / self._rate
            estimate = TimeEstimate(
                basis="given", bytes_per_second=self._rate, least_seconds=least, most_seconds=most
            )
        else:
            past = past_rate(self._joblist)
            if past is None:
                return None
            least, most = past.seconds_for(files=files, size_bytes=size)
            estimate = TimeEstimate(
                basis="measured",
                bytes_per_second=past.bytes_per_second,
                least_seconds=least,
                most_seconds=most,
                jobs=past.jobs,
            )
        requests = self._total.source_requests.total + self._total.destination_requests.total
        for name, limit, amount in (
            ("bandwidth", self._limits[0], size),
            ("max_requests_per_second", self._limits[1], requests),
        ):
            if limit and amount / limit > estimate.most_seconds:
                held = amount / limit
                estimate = replace(estimate, least_seconds=held, most_seconds=held, held_by=name)
        return estimate


def _hurried(options: ResolvedOptions) -> ResolvedOptions:
    """Return the options with no more patience than a person has who waits for a dry run."""
    return replace(options, patience_seconds=min(options.patience_seconds, _PATIENCE_SECONDS))


def has_sizes(job: Job) -> bool:
    """Return True for a job whose files can be listed now: no export, no step of a package."""
    is_copied = not job.steps or COPY in job.undone_steps
    return job.export is None and job.package is None and is_copied


def _counts(found: object) -> dict[str, int]:
    return {name: getattr(found, name) for name in ("lists", "reads", "writes")}
