"""What an audit finds: events, and their sum."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import ClassVar, Literal

from jobtool.events import Emit, Event, Level
from jobtool.names import quote
from jobtool.units import size_text

Discrepancy = Literal["missing", "changed", "extra", "unreadable", "unproven"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding(Event):
    """Something that is off at the destination."""

    kind: ClassVar[str] = "finding"
    level: ClassVar[Level] = Level.ALWAYS
    symbol: ClassVar[str] = "❌"
    job: str
    what: Discrepancy
    path: str
    detail: str = ""

    def text(self) -> str:
        """Return the sentence."""
        return f"{self.what}: {quote(self.path)}" + (f" ({self.detail})" if self.detail else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class TimesIgnored(Event):
    """Modification times differ from the receipts' where the bytes don't."""

    kind: ClassVar[str] = "times-ignored"
    symbol: ClassVar[str] = "❗"
    files: int

    def text(self) -> str:
        """Return the sentence."""
        return (
            f"{self.files} files have other modification times than their receipts say, and the "
            "same MD5: times aren't compared any more. Use --deep to read every file."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified(Event):
    """The end: how many files were looked at and what was found.

    ``is_complete`` is False if the audit was cut off, and this is what it found before.
    """

    kind: ClassVar[str] = "verified"
    level: ClassVar[Level] = Level.ALWAYS
    symbol: ClassVar[str] = "💡"
    files: int
    bytes: int
    missing: int
    changed: int
    extra: int
    unreadable: int
    unproven: int
    unfinished_jobs: int
    is_complete: bool = True

    def text(self) -> str:
        """Return the sentence."""
        more = "".join(
            f", {count} {what}"
            for count, what in ((self.unreadable, "unreadable"), (self.unproven, "unproven"))
            if count
        )
        left = f"; {self.unfinished_jobs} job(s) aren't finished" if self.unfinished_jobs else ""
        end = "" if self.is_complete else " The rest was not looked at."
        return (
            f"Verified {self.files} file(s), {size_text(self.bytes)}: {self.missing} missing, "
            f"{self.changed} changed, {self.extra} extra{more}{left}.{end}"
        )

    @property
    def exit_code(self) -> int:
        """1 if anything is off, 3 if there are jobs that aren't finished, else 0."""
        if self.missing or self.changed or self.extra or self.unreadable or self.unproven:
            return 1
        return 3 if self.unfinished_jobs else 0


@dataclass(slots=True)
class _Counts:
    files: int = 0
    bytes: int = 0
    missing: int = 0
    changed: int = 0
    extra: int = 0
    unreadable: int = 0
    unproven: int = 0
    unfinished_jobs: int = 0


class Findings:
    """Tells each finding at once and counts it."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._counts = _Counts()

    def tell(self, job: str, what: Discrepancy, path: str, detail: str = "") -> None:
        """Tell and count one finding."""
        setattr(self._counts, what, getattr(self._counts, what) + 1)
        self._emit(Finding(job=job, what=what, path=path, detail=detail))

    def looked_at(self, *, files: int = 1, size_bytes: int) -> None:
        """Count files that were compared."""
        self._counts.files += files
        self._counts.bytes += size_bytes

    def unfinished_job(self) -> None:
        """Count a job that is not finished, so not audited."""
        self._counts.unfinished_jobs += 1

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to tell of yet."""
        return self._counts == _Counts()

    def end(self, *, is_complete: bool) -> Verified:
        """Tell the sum and return it."""
        verified = Verified(**asdict(self._counts), is_complete=is_complete)
        self._emit(verified)
        return verified
