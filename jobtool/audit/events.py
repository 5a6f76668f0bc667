"""The events that the audit commands emit."""

from __future__ import annotations

from typing import ClassVar, Literal

from jobtool.events import Event
from jobtool.level import Level
from jobtool.names import quote
from jobtool.units import size_text

Discrepancy = Literal["missing", "changed", "extra", "unreadable", "unproven"]


class Finding(Event, frozen=True, kw_only=True):
    """A file at the destination differs from its receipt."""

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


class TimesIgnored(Event, frozen=True, kw_only=True):
    """Modification times differ from the receipts', though the bytes don't."""

    kind: ClassVar[str] = "times-ignored"
    symbol: ClassVar[str] = "❗"
    files: int

    def text(self) -> str:
        """Return the sentence."""
        return (
            f"{self.files} files differ from their receipts in modification time but not in MD5: "
            "times aren't compared any more. Use --deep to read every file."
        )


class Verified(Event, frozen=True, kw_only=True):
    """The audit has ended. The counts are of compared files, and of findings of each kind.

    ``is_complete`` is False if an error has ended it early. ``by_checksum`` and ``by_source`` count
    the files that were read and whose receipts have no MD5, by what they were compared with.

    For a sample, ``of_files`` is the number of files that it was drawn from by ``seed``; both are
    None for all files. ``members`` of the ``of_members`` of packages were read in place of tars.
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
    by_checksum: int = 0
    by_source: int = 0
    of_files: int | None = None
    seed: str | None = None
    members: int = 0
    of_members: int = 0

    def text(self) -> str:
        """Return the sentence."""
        more = "".join(
            f", {count} {what}"
            for count, what in ((self.unreadable, "unreadable"), (self.unproven, "unproven"))
            if count
        )
        left = f"; {self.unfinished_jobs} job(s) aren't finished" if self.unfinished_jobs else ""
        end = "" if self.is_complete else " The rest was not compared."
        for count, what in ((self.by_checksum, "their checksums"), (self.by_source, "the source")):
            if count:
                end = f" {count} file(s) without MD5 were compared with {what}.{end}"
        files = f"{self.files} file(s)"
        if self.of_files is not None:
            files = f"a sample of {self.files} of {self.of_files} file(s) (seed {self.seed})"
        if self.of_members:
            files += f" and {self.members} of {self.of_members} member(s) of packages"
        return (
            f"Verified {files}, {size_text(self.bytes)}: {self.missing} missing, "
            f"{self.changed} changed, {self.extra} extra{more}{left}.{end}"
        )

    @property
    def exit_code(self) -> int:
        """1 if there is any finding, 3 if some jobs aren't finished, else 0."""
        if self.missing or self.changed or self.extra or self.unreadable or self.unproven:
            return 1
        return 3 if self.unfinished_jobs else 0


class PutBack(Event, frozen=True, kw_only=True):
    """A job was put back to ``todo``. ``was`` is its status before."""

    kind: ClassVar[str] = "put-back"
    job: str
    was: str

    def text(self) -> str:
        """Return the sentence."""
        return f"{quote(self.job)}: {self.was} -> todo"


class LeftAlone(Event, frozen=True, kw_only=True):
    """A job that the command was to change was left unchanged.

    ``exit_code`` is 0 if that is expected, such as for a job that a worker holds. Otherwise it is
    the exit code of the command, which couldn't read the job.
    """

    kind: ClassVar[str] = "left-alone"
    symbol: ClassVar[str] = "❗"
    job: str
    reason: str
    exit_code: int = 0

    def text(self) -> str:
        """Return the sentence."""
        return f"{quote(self.job)}: left as it is: {self.reason}"


class Leftover(Event, frozen=True, kw_only=True):
    """Something unfinished that a worker of this joblist left behind."""

    kind: ClassVar[str] = "leftover"
    job: str
    what: str
    path: str
    removed: bool

    def text(self) -> str:
        """Return the sentence."""
        verb = "Removed" if self.removed else "Would remove"
        return f"{verb} {self.what} of {quote(self.job)}: {quote(self.path)}"
