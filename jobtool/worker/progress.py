"""A worker's progress reports."""

from __future__ import annotations

from jobtool.events import Emit
from jobtool.worker.events import JobProgress, RunProgress
from jobtool.worker.options import ResolvedOptions
from jobtool.worker.rankgroup import RankGroup, Tally

#: How often rank 0 reports the progress of all ranks.
RUN_PROGRESS_SECONDS = 10.0


class Reporter:
    """Keeps this worker's tally up to date and publishes it; rank 0 reports all ranks' progress."""

    def __init__(
        self,
        rank_group: RankGroup,
        tally: Tally,
        options: ResolvedOptions,
        emit: Emit,
        *,
        rank: int,
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
        self._started = self._emitted = options.monotonic()

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
        """Publish the tally and, on rank 0, report all ranks' progress; each at its own rate."""
        if self._rank_group.is_alone:
            return
        self._rank_group.publish(self._tally)
        now = self._options.monotonic()
        if self._rank or now - self._emitted < RUN_PROGRESS_SECONDS:
            return
        self._emitted = now
        tallies = self._rank_group.tallies()
        bytes_sent = sum(tally.bytes_sent for tally in tallies)
        rows = [tally.rows_read for tally in tallies if tally.rows_read is not None]
        seconds = max(now - self._started, 1e-3)
        self._emit(
            RunProgress(
                workers=sum(not tally.is_over for tally in tallies),
                jobs_done=sum(tally.succeeded + tally.failed for tally in tallies),
                jobs_total=self.jobs_total,
                files_sent=sum(tally.files_sent for tally in tallies),
                bytes_sent=bytes_sent,
                rate_mb_s=bytes_sent / 1e6 / seconds,
                rows_read=sum(rows) if rows else None,
                rows_per_second=sum(rows) / seconds if rows else None,
            )
        )
