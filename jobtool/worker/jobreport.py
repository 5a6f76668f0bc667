"""A worker's report of one attempt at a job: events for people, lines for the job's log."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from datetime import UTC, timedelta

from jobtool.errors import ClaimLostError, JoblistUnavailableError, UnreachableError
from jobtool.events import Emit
from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.jobs.joblist import LOGS_FOLDER
from jobtool.names import quote
from jobtool.stores.credentials.holder import CredentialHolder
from jobtool.transfer.copy import Copied
from jobtool.transfer.phases import Phase
from jobtool.transfer.plan import Item
from jobtool.transfer.progress import Progress
from jobtool.transfer.run import JobTransfer
from jobtool.worker.events import (
    AttributesUnkept,
    CredentialsTooShort,
    FileTransferred,
    JobListed,
    JobPhase,
    JobProgress,
    MethodUsed,
    TriedAgain,
    Waiting,
)
from jobtool.worker.options import ResolvedOptions

#: How often a progress line is written to the job file.
PROGRESS_SECONDS = 30.0

#: How many failed or skipped files the job's log names one by one.
LOGGED_FILES = 20

#: After how long the rate is good enough to say how long a job will take.
_ESTIMATE_SECONDS = 10.0

#: Phases that a transfer enters by itself.
_TOLD_PHASES = (Phase.COMPARING_ROWS, Phase.EXPORTING, Phase.SYNCING)


class JobReport:
    """Reports how an attempt goes while it is under way.

    ``files_done`` and ``bytes_done`` don't count what was done before. ``totals`` are the counts of
    the last progress, as events have them; ``counts`` are the same counts as the job's log has
    them. Both are empty before the first progress. ``renewals`` counts renewals of credentials.
    ``watch`` is passed the progress several times a second.
    """

    def __init__(
        self,
        claimed: ClaimedJob,
        options: ResolvedOptions,
        emit: Emit,
        watch: Callable[[JobProgress], None],
    ) -> None:
        self.files_done = self.bytes_done = 0
        self.totals: dict[str, int] = {}
        self.counts: dict[str, object] = {}
        self.renewals = 0
        self._claimed = claimed
        self._name = claimed.job.name
        self._options = options
        self._emit = emit
        self._watch = watch
        self._holders: list[CredentialHolder] = []
        self._helpers: set[str] = set()
        self._phase: Phase | None = None
        self._told_outlasting = False
        self._rows: tuple[int | None, int | None] = None, None
        self._told_waiting = float("-inf")

    def phase(self, phase: Phase) -> None:
        """Report the phase that the attempt enters."""
        if phase is not self._phase:
            self._phase = phase
            self._emit(JobPhase(job=self._name, phase=phase))

    def listed(self, listed: Progress) -> None:
        """Report what was listed, and how much of it is done already."""
        self._emit(
            JobListed(
                job=self._name,
                files=listed.files_total,
                bytes=listed.bytes_total,
                files_done=listed.files_done,
                bytes_done=listed.bytes_done,
            )
        )

    def credentials(self, holders: list[CredentialHolder]) -> None:
        """Log whose credentials the attempt begins with."""
        self._holders = holders
        for holder in holders:
            self._claimed.log("credentials", **described(holder))

    def renewal(self, holder: CredentialHolder) -> None:
        """Log a renewal. Any thread may call it."""
        self.renewals += 1
        with contextlib.suppress(ClaimLostError, JoblistUnavailableError, FileNotFoundError):
            self._claimed.log("credentials-renewed", **described(holder))

    def helper(self, worker: str) -> None:
        """Log a worker that helps; each worker once."""
        if worker not in self._helpers:
            self._helpers.add(worker)
            self._claimed.log("helped", worker=worker)

    def retry(self, error: BaseException) -> None:
        """Report what is tried again and, now and then, what is waited for."""
        self._emit(TriedAgain(job=self._name, reason=str(error)))
        now = self._options.monotonic()
        if isinstance(error, UnreachableError) and now - self._told_waiting >= PROGRESS_SECONDS:
            self._told_waiting = now
            self._emit(Waiting(job=self._name, reason=str(error)))
            self._claimed.log("waiting", reason=str(error))

    def file(self, item: Item, copied: Copied) -> None:
        """Report a file that has arrived."""
        self._emit(
            FileTransferred(
                job=self._name,
                source=item.source_url,
                destination=copied.destination_url(item),
                size=item.entry.size,
                md5=copied.md5,
                verified_by=copied.proof.verified_by,
                checksum=copied.proof.checksum,
            )
        )

    def rows(self, done: int, total: int | None) -> None:
        """Note how many rows of an export have passed; the next progress has it.

        ``total`` is None if it isn't known. A table may have grown since its rows were counted.
        """
        self._rows = done, total if total is None or done <= total else None

    def progress_since(self, before: Progress) -> Callable[[Progress], None]:
        """Return the reporter of progress for a transfer that begins now."""
        monotonic = self._options.monotonic
        started = last = monotonic()

        def on_tick(progress: Progress) -> None:
            nonlocal last
            now = monotonic()
            seconds = max(now - started, 1e-3)
            rows_done, rows_total = self._rows
            self.files_done = progress.files_done - before.files_done
            self.bytes_done = progress.bytes_done - before.bytes_done
            told = JobProgress(
                job=self._name,
                files_done=progress.files_done,
                files_total=progress.files_total,
                bytes_done=progress.bytes_done,
                bytes_total=progress.bytes_total,
                files_sent=progress.files_sent,
                bytes_sent=progress.bytes_sent,
                rate_mb_s=progress.bytes_sent / 1e6 / seconds,
                phase=progress.phase,
                rows_done=rows_done,
                rows_total=rows_total,
                rows_per_second=None if rows_done is None else rows_done / seconds,
                seconds_left=_seconds_left(rows_done, rows_total, seconds),
                files_proven=self.files_done,
                bytes_proven=progress.bytes_proven - before.bytes_proven,
                under_way=progress.large,
            )
            if progress.phase in _TOLD_PHASES:
                self.phase(progress.phase)
            self.totals = {
                name: getattr(told, name)
                for name in ("files_done", "files_total", "bytes_done", "bytes_total")
            }
            self.counts = {
                "files": f"{told.files_done}/{told.files_total}",
                "bytes": f"{told.bytes_done}/{told.bytes_total}",
            }
            if rows_done is not None:
                self.totals["rows_done"] = rows_done
                self.counts["rows"] = f"{rows_done}" + (f"/{rows_total}" if rows_total else "")
            self._watch(told)
            self._tell_outlasting(told, now - started)
            if now - last >= PROGRESS_SECONDS:
                last = now
                self._emit(told)
                self._claimed.log("progress", **self.counts, rate_mb_s=told.rate_mb_s)

        return on_tick

    def _tell_outlasting(self, progress: JobProgress, seconds: float) -> None:
        """Announce once that the job will take longer than credentials that can't be renewed."""
        if self._told_outlasting or seconds < _ESTIMATE_SECONDS or not progress.bytes_sent:
            return
        left = (progress.bytes_total - progress.bytes_done) * seconds / progress.bytes_sent
        for holder in self._holders:
            expires_at = holder.last.expires_at
            if holder.provider.can_renew or expires_at is None:
                continue
            if self._options.now() + timedelta(seconds=left) > expires_at:
                self._told_outlasting = True
                self._emit(
                    CredentialsTooShort(
                        job=self._name,
                        provider=holder.provider.name,
                        expires=f"{expires_at:%Y-%m-%dT%H:%M:%SZ}",
                        seconds_left=left,
                    )
                )
                self._claimed.log("credentials-too-short", **described(holder), seconds_left=left)

    def left_out(self, transfer: JobTransfer) -> None:
        """Report what was left out, what methods did, and which attributes files lost."""
        for use in transfer.method_uses:
            event = MethodUsed.of(use, job=self._name)
            self._emit(event)
            told = {"name": use.name, "files": use.files, "seconds": use.seconds}
            if use.reason is not None:
                told["reason"] = use.reason
            if use.log_path is not None and os.path.exists(use.log_path):
                told["log"] = f"{LOGS_FOLDER}/{os.path.basename(use.log_path)}"
            self._claimed.log("method", **told)
        for path, reason in transfer.skipped.first[:LOGGED_FILES]:
            self._claimed.log("skipped", path=path, reason=reason)
        for unkept in transfer.notes.told:
            lacks = AttributesUnkept.of(unkept, job=self._name)
            self._emit(lacks)
            self._claimed.log(
                "attributes",
                attribute=lacks.attribute,
                reason=lacks.reason,
                count=lacks.count,
                first=", ".join(map(quote, lacks.first)),
            )


def _seconds_left(done: int | None, total: int | None, seconds: float) -> float | None:
    """Return how long the rest of the rows takes at the rate so far; None if that is unknown."""
    return (total - done) * seconds / done if done and total is not None else None


def described(holder: CredentialHolder) -> dict[str, str]:
    """Return what may be logged of credentials: provider, end of the key or kind, expiry."""
    current = holder.last
    expires = "never"
    if current.expires_at is not None:
        expires = f"{current.expires_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return {"provider": holder.provider.name, "key": current.shown, "expires": expires}
