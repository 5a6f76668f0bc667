"""A worker's progress reports."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from jobtool.events import Emit, Event
from jobtool.report.estimate import Estimate
from jobtool.worker.events import JobProgress, RunProgress, TriedAgain
from jobtool.worker.options import ResolvedOptions
from jobtool.worker.rankgroup import RankGroup, Tally

#: After how long the progress is reported for the first time, and how much longer each time after
#: that, up to the longest pause: a log of days stays short.
RUN_PROGRESS_SECONDS = 10.0
_GROWTH = 1.5
_LONGEST_PAUSE_SECONDS = 300.0

#: How often those who watch are told.
_WATCH_SECONDS = 0.5


class Reporter:
    """Keeps this worker's tally up to date and publishes it; reports the progress of the run.

    Rank 0 reports that of all ranks. ``estimate`` returns that of the whole list.
    """

    def __init__(
        self,
        rank_group: RankGroup,
        tally: Tally,
        options: ResolvedOptions,
        emit: Emit,
        *,
        rank: int,
        estimate: Callable[[], Estimate | None] = lambda: None,
    ) -> None:
        self.jobs_total = 0
        self._rank_group = rank_group
        self._tally = tally
        self._options = options
        self._emit = emit
        self._rank = rank
        self._files_before = 0  # sent by the jobs that have ended
        self._bytes_before = 0
        self._rows_before = 0
        self._estimate = estimate
        self._done_before: tuple[int, int] | None = None  # bytes and jobs of the whole list
        self._most_done = 0
        self._started = self._emitted = self._watched = options.monotonic()
        self._pause_seconds = RUN_PROGRESS_SECONDS

    @property
    def seconds(self) -> float:
        """How long the run has lasted."""
        return self._options.monotonic() - self._started

    def counted(self, emit: Emit) -> Emit:
        """Return an ``Emit`` that counts what is tried again."""

        def call(event: Event) -> None:
            if isinstance(event, TriedAgain):
                self._tally.retries += 1
            emit(event)

        return call

    def watch(self, progress: JobProgress) -> None:
        """Update the tally with the running job's progress; called several times a second."""
        self._tally.files_sent = self._files_before + progress.files_sent
        self._tally.bytes_sent = self._bytes_before + progress.bytes_sent
        if progress.rows_done is not None:
            self._tally.rows_read = self._rows_before + progress.rows_done
        self._options.watch(progress)
        self.tick()

    def end_job(self) -> None:
        """Add what the running job has sent to the totals."""
        self._files_before = self._tally.files_sent
        self._bytes_before = self._tally.bytes_sent
        self._rows_before = self._tally.rows_read or 0
        self._rank_group.publish(self._tally)

    def tick(self) -> None:
        """Publish the tally and report the progress; each at its own rate."""
        if not self._rank_group.is_alone:
            self._rank_group.publish(self._tally)
        now = self._options.monotonic()
        is_due = now - self._emitted >= self._pause_seconds
        if self._rank or not (is_due or now - self._watched >= _WATCH_SECONDS):
            return
        self._watched = now
        if not (is_due or self._options.looks == "always"):
            return
        told = self._progress(now)
        self._options.watch_run(told)
        if is_due:
            self._emitted = now
            self._pause_seconds = min(self._pause_seconds * _GROWTH, _LONGEST_PAUSE_SECONDS)
            self._emit(told)

    def _progress(self, now: float) -> RunProgress:
        tallies = [self._tally] if self._rank_group.is_alone else self._rank_group.tallies()
        bytes_sent = sum(tally.bytes_sent for tally in tallies)
        rows = [tally.rows_read for tally in tallies if tally.rows_read is not None]
        seconds = max(now - self._started, 1e-3)
        told = RunProgress(
            workers=sum(not tally.is_over for tally in tallies),
            jobs_done=sum(tally.succeeded + tally.failed for tally in tallies),
            jobs_total=self.jobs_total,
            files_sent=sum(tally.files_sent for tally in tallies),
            bytes_sent=bytes_sent,
            rate_mb_s=bytes_sent / 1e6 / seconds,
            rows_read=sum(rows) if rows else None,
            rows_per_second=sum(rows) / seconds if rows else None,
        )
        found = self._estimate()
        succeeded = sum(tally.succeeded for tally in tallies)
        return told if found is None else self._with_whole(told, found, succeeded)

    def _with_whole(self, told: RunProgress, found: Estimate, succeeded: int) -> RunProgress:
        """Add the whole list. It was looked at a while ago, so what these workers did counts, too.

        The bytes never go back: a bar that does would puzzle.
        """
        if self._done_before is None:
            bytes_before = max(found.bytes_done - told.bytes_sent, 0)
            self._done_before = bytes_before, max(found.jobs_done - succeeded, 0)
        bytes_before, jobs_before = self._done_before
        done = max(found.bytes_done, bytes_before + told.bytes_sent, self._most_done)
        if found.bytes_total is not None:
            done = min(done, found.bytes_total)
        self._most_done = done
        left = max((found.bytes_left or 0) - (done - found.bytes_done), 0)
        rate = found.rate_now
        return replace(
            told,
            list_jobs=found.jobs,
            list_jobs_done=min(max(found.jobs_done, jobs_before + succeeded), found.jobs),
            list_files=found.files_total,
            list_files_done=found.files_done,
            list_bytes=found.bytes_total,
            list_bytes_done=done,
            is_estimated=found.is_estimated,
            list_bytes_per_second=rate,
            seconds_left=left / rate if left and rate else None,
        )
