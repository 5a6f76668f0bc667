"""The events about one job."""

from __future__ import annotations

from typing import Any, ClassVar

from jobtool.events import Event
from jobtool.jobs.job import Job
from jobtool.jobs.settings import Settings
from jobtool.level import Level
from jobtool.names import quote
from jobtool.transfer.progress import FileUnderWay
from jobtool.units import duration_text, rate_text, size_text
from jobtool.worker.jobtext import What, source_text, started_text, what_of

_MEGABYTE = 1_000_000


class JobClaimed(Event, frozen=True, kw_only=True):
    """The worker has claimed a job."""

    kind: ClassVar[str] = "claimed"
    job: str
    stem: str
    status: str
    attempt: int

    def text(self) -> str:
        """Return the sentence."""
        return f"Found '{self.status}' job: {quote(self.stem)}.txt"


class JobStarted(Event, frozen=True, kw_only=True):
    """The job's files are about to be listed and copied, or its rows to be exported.

    ``what`` the job brings: ``files``, ``rows`` of a query, or the ``manifest`` of an export;
    ``source`` then says which rows. For a step of a package it is the step, or ``brought``;
    ``route`` is that of its leg.
    """

    kind: ClassVar[str] = "started"
    job: str
    source: str
    destination: str
    what: What = "files"
    route: str | None = None

    @classmethod
    def of(cls, job: Job, settings: Settings) -> JobStarted:
        """Return the event for a job."""
        return cls(
            job=job.name,
            source=source_text(job, settings),
            destination=job.target,
            what=what_of(job),
            route=None if job.package is None else job.package.route,
        )

    def text(self) -> str:
        """Return the sentence."""
        return started_text(self.what, self.source, self.destination)


class JobListed(Event, frozen=True, kw_only=True):
    """The files of a job were listed.

    ``files`` and ``bytes`` count all of them, ``files_done`` and ``bytes_done`` those that have
    receipts already.
    """

    kind: ClassVar[str] = "listed"
    level: ClassVar[Level] = Level.DETAIL
    job: str
    files: int
    bytes: int
    files_done: int
    bytes_done: int

    def text(self) -> str:
        """Return the sentence."""
        done = f", {self.files_done} with receipts already" if self.files_done else ""
        return f"{quote(self.job)}: {self.files} files, {size_text(self.bytes)}{done}"


class JobPhase(Event, frozen=True, kw_only=True):
    """The job has entered another phase: listing, comparing or syncing."""

    kind: ClassVar[str] = "phase"
    level: ClassVar[Level] = Level.DETAIL
    job: str
    phase: str

    def text(self) -> str:
        """Return the sentence."""
        return f"{quote(self.job)}: {self.phase}..."


class JobProgress(Event, frozen=True, kw_only=True):
    """The progress of the job.

    ``files_sent`` and ``bytes_sent`` count what this attempt has sent. ``files_proven`` and
    ``bytes_proven`` count the files that got a receipt since it began, those included that were
    there already, that helpers sent or that other programs moved. ``rate_mb_s`` is in units of
    10**6 bytes a second.

    For an export the files are its chunks, and the totals of files and bytes are those of the
    chunks made so far. ``rows_done`` are the rows that the query has given in this attempt,
    including those of chunks that have arrived before. ``rows_total`` and ``seconds_left`` are None
    as long as the number of rows isn't known. ``under_way`` are the largest of the large files
    under way, each with ``path``, ``bytes_done`` and ``bytes_total``.
    """

    kind: ClassVar[str] = "progress"
    job: str
    files_done: int
    files_total: int
    bytes_done: int
    bytes_total: int
    files_sent: int
    bytes_sent: int
    rate_mb_s: float
    phase: str = "copying"
    rows_done: int | None = None
    rows_total: int | None = None
    rows_per_second: float | None = None
    seconds_left: float | None = None
    files_proven: int = 0
    bytes_proven: int = 0
    under_way: tuple[FileUnderWay, ...] = ()

    def json(self) -> dict[str, Any]:
        """Return plain values."""
        files = [
            {
                "path": quote(each.path),
                "bytes_done": each.bytes_done,
                "bytes_total": each.bytes_total,
            }
            for each in self.under_way
        ]
        return {**super().json(), "under_way": files}

    def text(self) -> str:
        """Return the sentence."""
        if self.rows_done is not None:
            return self._rows_text(self.rows_done)
        return (
            f"{quote(self.job)}: {self.files_done}/{self.files_total} files, "
            f"{size_text(self.bytes_done)} of {size_text(self.bytes_total)}, "
            f"{rate_text(self.rate_mb_s * _MEGABYTE)}, {self.phase}"
        )

    def _rows_text(self, rows: int) -> str:
        of = "" if self.rows_total is None else f" of {self.rows_total:,}"
        told = [
            f"{rows:,}{of} rows",
            f"{self.files_done} chunks",
            size_text(self.bytes_done),
            rate_text(self.rate_mb_s * _MEGABYTE),
        ]
        if self.rows_per_second is not None:
            told.append(f"{self.rows_per_second:,.0f} rows/s")
        if self.seconds_left is not None:
            told.append(f"{duration_text(self.seconds_left)} left")
        return f"{quote(self.job)}: {', '.join(told)}, {self.phase}"


class JobSucceeded(Event, frozen=True, kw_only=True):
    """Every file of the job is verified. ``seconds`` is how long this attempt took.

    ``rows`` are those of an export, whose ``files`` are chunks; None for a job that copies files.
    ``excluded`` counts what the joblist's filters leave out. ``what`` is as in ``JobStarted``.
    """

    kind: ClassVar[str] = "success"
    symbol: ClassVar[str] = "✅"
    job: str
    files: int
    bytes: int
    seconds: float
    rows: int | None = None
    excluded: int = 0
    what: What = "files"

    def text(self) -> str:
        """Return the sentence."""
        if self.what == "brought":
            return f"{quote(self.job)}: nothing to send"
        what = "files" if self.rows is None else f"chunks, {self.rows:,} rows"
        end = "all freed" if self.what == "release" else "all verified"
        excluded = f", {self.excluded} excluded" if self.excluded else ""
        return (
            f"{quote(self.job)}: {self.files} {what}, {size_text(self.bytes)} in "
            f"{duration_text(self.seconds)}, {end}{excluded}"
        )


class JobFailed(Event, frozen=True, kw_only=True):
    """The job failed. ``reason`` is the first; the log in the job file has all of them."""

    kind: ClassVar[str] = "error"
    level: ClassVar[Level] = Level.ALWAYS
    symbol: ClassVar[str] = "❌"
    job: str
    reason: str
    failed_files: int
    will_be_tried_again: bool

    def text(self) -> str:
        """Return the sentence."""
        more = f" (and {self.failed_files - 1} more files)" if self.failed_files > 1 else ""
        again = "; it will be tried again" if self.will_be_tried_again else ""
        return f"{quote(self.job)}: {self.reason}{more}{again}"


class JobInvalid(Event, frozen=True, kw_only=True):
    """A job file is invalid. It is left unchanged. ``stem`` is the job ID."""

    kind: ClassVar[str] = "invalid"
    level: ClassVar[Level] = Level.ALWAYS
    symbol: ClassVar[str] = "❌"
    stem: str
    reason: str

    def text(self) -> str:
        """Return the sentence."""
        return f"Invalid job file {quote(self.stem)}.txt: {self.reason}"


class JobUnsuitable(Event, frozen=True, kw_only=True):
    """The job requires what this worker lacks. It is left unchanged. ``stem`` is the job ID."""

    kind: ClassVar[str] = "unsuitable"
    symbol: ClassVar[str] = "❗"
    stem: str
    reason: str

    def text(self) -> str:
        """Return the sentence."""
        return f"Left {quote(self.stem)}.txt as it is: {self.reason}"


class JobHandedBack(Event, frozen=True, kw_only=True):
    """The job is ``todo`` again. The files that have arrived keep their receipts.

    ``parts_bytes`` counts the bytes of unfinished files that needn't be sent again. All counts are
    0 if the job wasn't listed yet. ``waiting_files`` counts the files that can't be read yet. If
    there are any, no worker takes the job up before ``not_before``, in UTC. ``rows_done`` is as in
    ``JobProgress``: the files of an export are its chunks.
    """

    kind: ClassVar[str] = "handed-back"
    symbol: ClassVar[str] = "❗"
    job: str
    reason: str
    files_done: int = 0
    files_total: int = 0
    bytes_done: int = 0
    bytes_total: int = 0
    parts_bytes: int = 0
    waiting_files: int = 0
    not_before: str | None = None
    rows_done: int | None = None

    def text(self) -> str:
        """Return the sentence."""
        kept = f"; kept: {self.files_done} of {self.files_total} files" if self.files_total else ""
        if self.rows_done is not None:
            kept = f"; kept: {self.files_done} chunks" if self.files_done else ""
        if self.parts_bytes:
            kept += f", {size_text(self.parts_bytes)} of parts"
        until = f" until {self.not_before}" if self.not_before else ""
        return f"{quote(self.job)}: handed back{until}: {self.reason}{kept}"


class JobLost(Event, frozen=True, kw_only=True):
    """The claim was lost. This worker writes nothing more about the job."""

    kind: ClassVar[str] = "lost"
    level: ClassVar[Level] = Level.ALWAYS
    symbol: ClassVar[str] = "❗"
    job: str
    reason: str

    def text(self) -> str:
        """Return the sentence."""
        return f"{quote(self.job)}: left to others: {self.reason}"


class Waiting(Event, frozen=True, kw_only=True):
    """A store doesn't answer. The worker waits for it and tries again."""

    kind: ClassVar[str] = "waiting"
    symbol: ClassVar[str] = "❗"
    job: str
    reason: str

    def text(self) -> str:
        """Return the sentence."""
        return f"{quote(self.job)}: waiting: {self.reason}"


class RowsChanged(Event, frozen=True, kw_only=True):
    """The query gave other rows than before. Its chunks are removed and made anew."""

    kind: ClassVar[str] = "rows-changed"
    level: ClassVar[Level] = Level.ALWAYS
    symbol: ClassVar[str] = "❗"
    job: str
    reason: str

    def text(self) -> str:
        """Return the sentence."""
        return f"{quote(self.job)}: starts over: {self.reason}"


class CredentialsTooShort(Event, frozen=True, kw_only=True):
    """At the rate so far, the job outlasts its credentials, which can't be renewed.

    ``seconds_left`` is how much longer the job will take; ``expires`` is when the credentials end.
    """

    kind: ClassVar[str] = "credentials-too-short"
    symbol: ClassVar[str] = "❗"
    job: str
    provider: str
    expires: str
    seconds_left: float

    def text(self) -> str:
        """Return the sentence."""
        return (
            f"{quote(self.job)}: takes another {duration_text(self.seconds_left)} at the rate so "
            f"far, and its credentials ({self.provider}) end at {self.expires} and can't be "
            "renewed; it will be handed back then"
        )
