"""What a worker tells."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import ClassVar

from jobtool.events import Event, Level
from jobtool.names import quote
from jobtool.stores.location import scheme_of
from jobtool.transfer.notes import Unkept
from jobtool.units import duration_text, rate_text, size_text

#: How many of the files that hang are named.
_STALLED_NAMED = 3

_MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsFound(Event):
    """The joblist was listed."""

    kind: ClassVar[str] = "jobs-found"
    count: int
    path: str

    def text(self) -> str:
        """Return the sentence."""
        return f"Found {self.count} job file(s) in '{quote(self.path)}'."


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimsChosen(Event):
    """How this worker claims jobs, and why that way."""

    kind: ClassVar[str] = "claims"
    claims: str
    reason: str

    def text(self) -> str:
        """Return the sentence."""
        return f"Claims by {self.claims}: {self.reason}."


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanning(Event):
    """The worker looks for a job that it could take."""

    kind: ClassVar[str] = "scanning"

    def text(self) -> str:
        """Return the sentence."""
        return "Scanning for 'todo' status..."


@dataclass(frozen=True, slots=True, kw_only=True)
class JobClaimed(Event):
    """The worker has taken a job."""

    kind: ClassVar[str] = "claimed"
    job: str
    stem: str
    status: str
    attempt: int

    def text(self) -> str:
        """Return the sentence."""
        return f"Found '{self.status}' job: {quote(self.stem)}.txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStarted(Event):
    """The job's files are about to be listed and copied."""

    kind: ClassVar[str] = "started"
    job: str
    source: str
    destination: str

    def text(self) -> str:
        """Return the sentence."""
        if scheme_of(self.destination) == "s3":
            return f"Uploading files from '{quote(self.source)}' to S3..."
        return f"Copying files from '{quote(self.source)}' to '{quote(self.destination)}'..."


@dataclass(frozen=True, slots=True, kw_only=True)
class JobListed(Event):
    """The files of a job were listed: how many there are, and how many have receipts."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPhase(Event):
    """What takes the time of a job from now on: listing, comparing, syncing."""

    kind: ClassVar[str] = "phase"
    level: ClassVar[Level] = Level.DETAIL
    job: str
    phase: str

    def text(self) -> str:
        """Return the sentence."""
        return f"{quote(self.job)}: {self.phase}..."


@dataclass(frozen=True, slots=True, kw_only=True)
class JobProgress(Event):
    """How far the job is; ``files_sent`` and ``bytes_sent`` by this attempt, ``phase`` just now."""

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

    def text(self) -> str:
        """Return the sentence."""
        return (
            f"{quote(self.job)}: {self.files_done}/{self.files_total} files, "
            f"{size_text(self.bytes_done)} of {size_text(self.bytes_total)}, "
            f"{rate_text(self.rate_mb_s * _MEGABYTE)}, {self.phase}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CrewProgress(Event):
    """How far all ranks of a run are together; ``workers`` of them are still there."""

    kind: ClassVar[str] = "run-progress"
    workers: int
    jobs_done: int
    jobs_total: int
    files_sent: int
    bytes_sent: int
    rate_mb_s: float

    def text(self) -> str:
        """Return the sentence."""
        return (
            f"{self.jobs_done}/{self.jobs_total} jobs by {self.workers} worker(s), "
            f"{self.files_sent} files, {size_text(self.bytes_sent)}, "
            f"{rate_text(self.rate_mb_s * _MEGABYTE)}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTransferred(Event):
    """A file has arrived."""

    kind: ClassVar[str] = "file"
    level: ClassVar[Level] = Level.FILE
    symbol: ClassVar[str] = "  "
    job: str
    source: str
    destination: str
    size: int
    md5: str
    verified_by: str

    def text(self) -> str:
        """Return the sentence."""
        return f"{quote(self.source)} -> {quote(self.destination)} {self.md5} {self.verified_by}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedAgain(Event):
    """A file failed in a way that may pass."""

    kind: ClassVar[str] = "retry"
    level: ClassVar[Level] = Level.DETAIL
    symbol: ClassVar[str] = "❗"
    job: str
    reason: str

    def text(self) -> str:
        """Return the sentence."""
        return f"{quote(self.job)}: trying again: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting(Event):
    """A store doesn't answer; the worker waits for it to come back."""

    kind: ClassVar[str] = "waiting"
    symbol: ClassVar[str] = "❗"
    job: str
    reason: str

    def text(self) -> str:
        """Return the sentence."""
        return f"{quote(self.job)}: waiting: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialsTooShort(Event):
    """At the rate so far the job takes longer than credentials last that nobody can renew."""

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
            "far, and "
            f"its credentials ({self.provider}) end at {self.expires} and can't be renewed; it "
            "will be handed back then"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialsMissing(Event):
    """A provider gave no credentials; the worker waits and tries with the next job."""

    kind: ClassVar[str] = "no-credentials"
    level: ClassVar[Level] = Level.DETAIL
    symbol: ClassVar[str] = "❗"
    reason: str
    failures: int

    def text(self) -> str:
        """Return the sentence."""
        return f"No credentials ({self.failures} in a row): {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSucceeded(Event):
    """Every file of the job is proven."""

    kind: ClassVar[str] = "success"
    symbol: ClassVar[str] = "✅"
    job: str
    files: int
    bytes: int
    seconds: float

    def text(self) -> str:
        """Return the sentence."""
        return (
            f"{quote(self.job)}: {self.files} files, {size_text(self.bytes)} in "
            f"{duration_text(self.seconds)}, all verified"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFailed(Event):
    """The job ended in error; the log in its file has all reasons."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class JobInvalid(Event):
    """A job file that can't be read as one; it is left as it is."""

    kind: ClassVar[str] = "invalid"
    level: ClassVar[Level] = Level.ALWAYS
    symbol: ClassVar[str] = "❌"
    stem: str
    reason: str

    def text(self) -> str:
        """Return the sentence."""
        return f"Invalid job file {quote(self.stem)}.txt: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobHandedBack(Event):
    """The job is ``todo`` again; what has arrived has its receipts.

    ``parts_bytes`` are of files that aren't done: they are in parts that need not be sent again.
    Counts are 0 where the job wasn't listed.
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

    def text(self) -> str:
        """Return the sentence."""
        kept = f"; kept: {self.files_done} of {self.files_total} files" if self.files_total else ""
        if self.parts_bytes:
            kept += f", {size_text(self.parts_bytes)} of parts"
        return f"{quote(self.job)}: handed back: {self.reason}{kept}"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLost(Event):
    """The claim was lost: nothing more is written about the job by this worker."""

    kind: ClassVar[str] = "lost"
    level: ClassVar[Level] = Level.ALWAYS
    symbol: ClassVar[str] = "❗"
    job: str
    reason: str

    def text(self) -> str:
        """Return the sentence."""
        return f"{quote(self.job)}: left to others: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stalled(Event):
    """No thread of the worker has moved for a long time: something hangs in the kernel.

    ``works_on`` is what they were at; ``left`` says that its jobs are left to others.
    """

    kind: ClassVar[str] = "stalled"
    level: ClassVar[Level] = Level.ALWAYS
    symbol: ClassVar[str] = "❗"
    seconds: float
    works_on: list[str]
    left: bool

    def text(self) -> str:
        """Return the sentence."""
        places = ", ".join(quote(place) for place in self.works_on[:_STALLED_NAMED])
        more = len(self.works_on) - _STALLED_NAMED
        if more > 0:
            places += f" and {more} more"
        what_now = (
            "Its jobs are left to others."
            if self.left
            else "Its claims are locks, which end with the process: end it to have others go on."
        )
        return (
            f"Nothing has moved for {self.seconds:.0f} s (stall_seconds) at {places or 'no file'}: "
            f"its file server may be gone. {what_now}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributesUnkept(Event):
    """An attribute that some files or folders of a job arrived without; ``first`` are the first."""

    kind: ClassVar[str] = "attributes"
    level: ClassVar[Level] = Level.DETAIL
    symbol: ClassVar[str] = "❗"
    job: str
    attribute: str
    reason: str
    count: int
    first: tuple[str, ...]

    @classmethod
    def of(cls, unkept: Unkept, *, job: str) -> AttributesUnkept:
        """Return the event for what a transfer has counted."""
        return cls(
            job=job,
            attribute=unkept.attribute,
            reason=unkept.reason,
            count=unkept.count,
            first=unkept.paths,
        )

    def text(self) -> str:
        """Return the sentence."""
        shown = ", ".join(map(quote, self.first))
        more = ", ..." if self.count > len(self.first) else ""
        return (
            f"{quote(self.job)}: {self.attribute} of {self.count} not kept: {self.reason} "
            f"({shown}{more})"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Helped(Event):
    """A block of a job that another worker holds is done."""

    kind: ClassVar[str] = "helped"
    level: ClassVar[Level] = Level.DETAIL
    stem: str
    block: int
    bytes: int

    def text(self) -> str:
        """Return the sentence."""
        return f"Helped with {quote(self.stem)}.txt: block {self.block}, {size_text(self.bytes)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoTimeLeft(Event):
    """Each job so far took longer than the time that is left, so no other is begun."""

    kind: ClassVar[str] = "no-time-left"
    symbol: ClassVar[str] = "❗"
    seconds_left: float
    job_seconds: float

    def text(self) -> str:
        """Return the sentence."""
        return (
            f"{duration_text(self.seconds_left)} are left, and the shortest job so far took "
            f"{duration_text(self.job_seconds)}: taking no more."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStopped(Event):
    """A worker of several ended early; the others go on."""

    kind: ClassVar[str] = "stopped"
    level: ClassVar[Level] = Level.ALWAYS
    symbol: ClassVar[str] = "❌"
    reason: str

    def text(self) -> str:
        """Return the sentence."""
        return self.reason


@dataclass(frozen=True, slots=True, kw_only=True)
class WouldTransfer(Event):
    """What a dry run would do."""

    kind: ClassVar[str] = "would-transfer"
    job: str
    source: str
    destination: str

    def text(self) -> str:
        """Return the sentence."""
        return (
            f"Would transfer {quote(self.job)}: {quote(self.source)} -> {quote(self.destination)}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerFinished(Event):
    """The end of the work: what this worker, or all of its run, did; what the joblist holds now.

    ``exit_code`` is that of the work, ``stopped`` why it ended before all was done, None if it
    didn't, ``path`` the joblist's.
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

    def mark(self) -> str:
        """Return the symbol that its line begins with."""
        return "❗" if self.exit_code else "✅"

    def text(self) -> str:
        """Return the sentences; the last says what to do next, if anything."""
        left = [
            f"{count} {what}"
            for count, what in (
                (self.left_todo, "todo"),
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
            f"The joblist has {', '.join(left) if left else 'nothing left to do'}."
            f"{self._next()}"
        )

    def _retry(self, path: str) -> str:
        return f"jobtool retry {path}, then " if self.in_error and not self.left_todo else ""

    def _next(self) -> str:
        path = shlex.quote(self.path)
        if self.exit_code == 3:
            return f"\n  To do the rest: transfer-worker -i {path}"
        if self.exit_code == 4:
            return f"\n  Once the cause is mended: {self._retry(path)}transfer-worker -i {path}"
        if self.exit_code == 1:
            return f"\n  To see why: summarise-jobs -i {path}"
        return ""
