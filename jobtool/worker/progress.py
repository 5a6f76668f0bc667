"""What a worker shows of its progress, and of its crew's."""

from __future__ import annotations

from jobtool.events import Emit
from jobtool.worker.events import CrewProgress, JobProgress
from jobtool.worker.options import ResolvedOptions
from jobtool.worker.rankgroup import RankGroup, Tally

#: How often the first rank tells how far all are.
CREW_SECONDS = 10.0


class Reporter:
    """Counts what was sent into a tally, tells the crew, and shows the whole crew's on rank 0."""

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
        self._files_before = 0  # those of the jobs that are over
        self._bytes_before = 0
        self._started = self._emitted = options.monotonic()

    def watch(self, progress: JobProgress) -> None:
        """Take note of how far the job under way is; called several times a second."""
        self._tally.files_sent = self._files_before + progress.files_sent
        self._tally.bytes_sent = self._bytes_before + progress.bytes_sent
        if self._rank_group.is_alone:
            self._options.watch(progress)
        else:
            self.tick()

    def end_job(self) -> None:
        """Note that the job under way is over."""
        self._files_before = self._tally.files_sent
        self._bytes_before = self._tally.bytes_sent
        self._rank_group.tell(self._tally)

    def tick(self) -> None:
        """Tell the crew, and show how far it is, each as often as is right."""
        if self._rank_group.is_alone:
            return
        self._rank_group.tell(self._tally)
        now = self._options.monotonic()
        if self._rank or now - self._emitted < CREW_SECONDS:
            return
        self._emitted = now
        tallies = self._rank_group.tallies()
        bytes_sent = sum(tally.bytes_sent for tally in tallies)
        self._emit(
            CrewProgress(
                workers=sum(not tally.is_over for tally in tallies),
                jobs_done=sum(tally.succeeded + tally.failed for tally in tallies),
                jobs_total=self.jobs_total,
                files_sent=sum(tally.files_sent for tally in tallies),
                bytes_sent=bytes_sent,
                rate_mb_s=bytes_sent / 1e6 / max(now - self._started, 1e-3),
            )
        )
