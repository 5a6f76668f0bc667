"""The events about a run as a whole: how far it is, and how it ends."""

from __future__ import annotations

import math
from typing import ClassVar

from jobtool.events import Event
from jobtool.level import Level
from jobtool.names import shell_word
from jobtool.report.estimate import about_text
from jobtool.units import duration_text, rate_text, size_text

_MEGABYTE = 1_000_000

#: The line at the end of a shorter run doesn't repeat what its jobs' lines say.
_SHORT_SECONDS = 20.0


class RunProgress(Event, frozen=True, kw_only=True):
    """The progress of a worker, or of all ranks of a rank group together, and of the whole list.

    ``workers`` of them are still running. ``rate_mb_s`` is in units of 10**6 bytes a second. For an
    export the files are its chunks, and ``rows_read`` are the rows that its queries gave; None for
    joblists that copy files.

    The rest is about all jobs of the joblist, whoever does them; None as long as it isn't known.
    ``list_jobs_done`` of ``list_jobs`` are a success. ``list_bytes_done`` have arrived, of
    ``list_bytes``, which ``is_estimated`` if not all jobs have been listed.
    ``list_bytes_per_second`` is the rate now of all workers, ``seconds_left`` how long the rest
    takes at it.
    """

    kind: ClassVar[str] = "run-progress"
    workers: int
    jobs_done: int
    jobs_total: int
    files_sent: int
    bytes_sent: int
    rate_mb_s: float
    rows_read: int | None = None
    rows_per_second: float | None = None
    list_jobs: int | None = None
    list_jobs_done: int | None = None
    list_files: int | None = None
    list_files_done: int | None = None
    list_bytes: int | None = None
    list_bytes_done: int | None = None
    is_estimated: bool | None = None
    list_bytes_per_second: float | None = None
    seconds_left: float | None = None

    @property
    def share_done(self) -> float | None:
        """The part of the whole list that is done, from 0 to 1; None if that isn't known.

        It is one of bytes. A list of empty files has none; then it is one of jobs.
        """
        done, total = self.list_bytes_done, self.list_bytes
        if not total:
            done, total = self.list_jobs_done, self.list_jobs
        return None if done is None or not total else min(done / total, 1.0)

    def text(self) -> str:
        """Return the sentence."""
        jobs = f"{self.jobs_done}/{self.jobs_total} jobs by {self.workers} worker(s)"
        moved = f"{size_text(self.bytes_sent)}, {rate_text(self.rate_mb_s * _MEGABYTE)}"
        if self.rows_read is None:
            here = f"{jobs}, {self.files_sent} files, {moved}"
        else:
            per_second = self.rows_per_second or 0
            here = (
                f"{jobs}, {self.rows_read:,} rows, {self.files_sent} chunks, {moved}, "
                f"{per_second:,.0f} rows/s"
            )
        whole = self.whole_text()
        return f"{here}. Whole list: {whole}" if whole else here

    def whole_text(self) -> str:
        """Return how far the whole list is; empty if that isn't known."""
        share = self.share_done
        if share is None:
            return ""
        # Rounded down: 100 % is said once all is there.
        told = [f"{math.floor(100 * share)} %"]
        if self.list_bytes:
            told[0] += f" of {'about ' if self.is_estimated else ''}{size_text(self.list_bytes)}"
        if self.list_jobs is not None:
            told.append(f"{self.list_jobs_done:,}/{self.list_jobs:,} jobs")
        if self.list_bytes_per_second is not None:
            told.append(rate_text(self.list_bytes_per_second))
        if self.seconds_left is not None:
            told.append(f"about {about_text(self.seconds_left)} left")
        return ", ".join(told)


class WorkerStopped(Event, frozen=True, kw_only=True):
    """One rank of several ended early. The others go on."""

    kind: ClassVar[str] = "stopped"
    level: ClassVar[Level] = Level.ALWAYS
    symbol: ClassVar[str] = "❌"
    reason: str

    def text(self) -> str:
        """Return the sentence."""
        return self.reason


class WorkerFinished(Event, frozen=True, kw_only=True):
    """The work has ended.

    ``succeeded``, ``failed`` and ``handed_back`` count the jobs of this worker, or of all ranks of
    its group. ``left_todo``, ``left_ongoing``, ``in_error`` and ``invalid`` count the jobs of the
    joblist at ``path``. ``died`` counts the ``workers`` that didn't end by themselves. ``stopped``
    says why the work ended early, None if it didn't. ``waiting`` counts those of ``left_todo`` that
    wait, for files that can't be read yet or for another try of a step of a package, the first of
    them until ``not_before``, in UTC. ``premature`` of them come after steps of packages that
    aren't done yet, ``blocked`` after jobs in error, ``stuck`` ones of them after missing jobs.
    ``elsewhere`` are for workers at other sites than ``site``. ``paused`` ones were paused by a
    person. All these are of the jobs that were chosen; ``not_chosen`` counts the others. These
    workers have sent ``files_sent`` files and ``bytes_sent`` bytes in ``seconds``, and tried
    ``retries`` times again.
    """

    kind: ClassVar[str] = "finished"
    succeeded: int
    failed: int
    handed_back: int
    left_todo: int
    left_ongoing: int
    in_error: int
    invalid: int
    workers: int = 1
    died: int = 0
    exit_code: int = 0
    stopped: str | None = None
    path: str = ""
    waiting: int = 0
    not_before: str | None = None
    premature: int = 0
    elsewhere: int = 0
    blocked: int = 0
    stuck: int = 0
    site: str | None = None
    paused: int = 0
    not_chosen: int = 0
    files_sent: int = 0
    bytes_sent: int = 0
    retries: int = 0
    seconds: float = 0.0

    def mark(self) -> str:
        """Return the symbol that its line begins with."""
        return "❗" if self.exit_code else "✅"

    def text(self) -> str:
        """Return the sentences; the last says what to do next, if anything."""
        left = [
            f"{count} {what}"
            for count, what in (
                (self._left_now, "todo"),
                (self.waiting, "waiting for files that can't be read yet or for another try"),
                (self.premature, "waiting for steps that come before"),
                (self.blocked, f"after jobs in error{' or missing ones' if self.stuck else ''}"),
                (self.elsewhere, "for workers at other sites"),
                (self.paused, "paused"),
                (self.left_ongoing, "ongoing"),
                (self.in_error, "in error"),
                (self.invalid, "invalid"),
            )
            if count
        ]
        who = "This worker" if self.workers == 1 else f"These {self.workers} workers"
        if self.died:
            who += f" ({self.died} of them died)"
        stopped = f"Stopped early: {self.stopped}. " if self.stopped and self.exit_code else ""
        back = f", {self.handed_back} handed back" if self.handed_back else ""
        return (
            f"{stopped}{who} finished {self.succeeded} job(s), {self.failed} in error{back}. "
            f"{self._whose} {', '.join(left) if left else 'nothing left to do'}."
            f"{self._sent()}{self._next()}"
        )

    def _sent(self) -> str:
        """Return what was sent; nothing for a run whose jobs' lines are still to be seen."""
        if self.seconds < _SHORT_SECONDS or not self.bytes_sent:
            return ""
        files = f"{self.files_sent:,} file{'' if self.files_sent == 1 else 's'}"
        rate = rate_text(self.bytes_sent / self.seconds)
        again = f", {self.retries:,} tries again" if self.retries else ""
        return (
            f"\n  Sent: {files}, {size_text(self.bytes_sent)} in {duration_text(self.seconds)}, "
            f"{rate} on average{again}"
        )

    @property
    def _whose(self) -> str:
        if not self.not_chosen:
            return "The joblist has"
        jobs = "job that wasn't" if self.not_chosen == 1 else "jobs that weren't"
        return f"Left alone: {self.not_chosen} {jobs} chosen. The chosen ones have"

    @property
    def _left_now(self) -> int:
        """How many jobs could be done now."""
        kept = self.waiting + self.premature + self.blocked + self.elsewhere + self.paused
        return max(self.left_todo - kept, 0)

    @property
    def _retry(self) -> str:
        path = shell_word(self.path)
        return f"jobtool retry {path}, then " if self.in_error and not self.left_todo else ""

    def _next(self) -> str:
        path = shell_word(self.path)
        worker = f"transfer-worker -i {path}"
        if self.site is not None:
            worker += f" --site {shell_word(self.site)}"
        if self.exit_code in (3, 5) and self.paused:
            return f"\n  To do the rest: jobtool resume {path}; then {worker}"
        if self.exit_code == 3:
            return f"\n  To do the rest: {worker}"
        if self.exit_code == 5:
            when = f"from {self.not_before} on" if self.not_before else "once these are done"
            return f"\n  To do the rest, {when}: {worker}"
        if self.exit_code in (2, 4):
            return f"\n  Once the cause is fixed: {self._retry}{worker}"
        if self.exit_code == 1:
            return f"\n  To see why: summarise-jobs -i {shell_word(self.path)}"
        return ""
