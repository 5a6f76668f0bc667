"""The events of a second look at a source."""

from __future__ import annotations

from typing import ClassVar

from jobtool.events import Event
from jobtool.level import Level
from jobtool.names import quote
from jobtool.units import size_text


class SourceLooked(Event, frozen=True, kw_only=True):
    """The look goes on: how many jobs and files it has looked at so far."""

    kind: ClassVar[str] = "source-looked"
    jobs: int
    of_jobs: int
    files: int

    def text(self) -> str:
        """Return the sentence."""
        return f"Looked at {self.files:,} file(s), {self.jobs} of {self.of_jobs} job(s)"


class SourceChanged(Event, frozen=True, kw_only=True):
    """The source of a finished job isn't as it was: counts of files, and some of their paths.

    Paths are relative to the job's source. ``is_put_back`` is True if the job is ``todo`` now or,
    in a dry run, would be. Files that are ``gone`` stay at the destination.
    """

    kind: ClassVar[str] = "source-changed"
    job: str
    new: int = 0
    changed: int = 0
    gone: int = 0
    new_examples: tuple[str, ...] = ()
    changed_examples: tuple[str, ...] = ()
    gone_examples: tuple[str, ...] = ()
    is_put_back: bool = False
    is_dry_run: bool = False

    def text(self) -> str:
        """Return the sentence."""
        found = [
            f"{count} {word} ({_some(examples, count)})"
            for count, word, examples in (
                (self.new, "new", self.new_examples),
                (self.changed, "changed", self.changed_examples),
                (self.gone, "gone", self.gone_examples),
            )
            if count
        ]
        end = ""
        if self.is_put_back:
            end = "; it would be todo again" if self.is_dry_run else "; it is todo again"
        return f"{quote(self.job)}: {', '.join(found)}{end}"


class SourceUnreadable(Event, frozen=True, kw_only=True):
    """A part of a job's source can't be read: what is there isn't known, so nothing is gone."""

    kind: ClassVar[str] = "source-unreadable"
    level: ClassVar[Level] = Level.ALWAYS
    symbol: ClassVar[str] = "❌"
    job: str
    reason: str

    def text(self) -> str:
        """Return the sentence."""
        return f"{quote(self.job)}: {self.reason}"


class ExtraFile(Event, frozen=True, kw_only=True):
    """A file that this joblist has brought and that isn't at the source any more.

    ``path`` is where it lies at the destination, ``bytes`` its size there.
    """

    kind: ClassVar[str] = "extra-file"
    job: str
    path: str
    bytes: int

    def text(self) -> str:
        """Return the sentence."""
        return f"Extra: {quote(self.path)} ({size_text(self.bytes)})"


class DeletionRefused(Event, frozen=True, kw_only=True):
    """Extra files stay, with the reason. ``job`` is empty if it is about all jobs."""

    kind: ClassVar[str] = "deletion-refused"
    level: ClassVar[Level] = Level.ALWAYS
    symbol: ClassVar[str] = "❗"
    job: str = ""
    files: int
    reason: str

    def text(self) -> str:
        """Return the sentence."""
        where = f"{quote(self.job)}: " if self.job else ""
        return f"{where}{self.files} extra file(s) stay: {self.reason}"


class Updated(Event, frozen=True, kw_only=True):
    """The result of a second look.

    ``changed`` finished jobs have new or changed files, and are ``todo`` again; ``unchanged`` ones
    have none. ``unreadable`` are those of which a part of the source could not be read. Other jobs
    are left as they are: ``todo``, ``ongoing``, ``error``, ``invalid``, and ``others`` that copy no
    files of a source. ``left_alone`` could not be put back. ``new_files``, ``changed_files``,
    ``gone_files`` and ``released_files`` count files; the last were removed from the source by
    ``jobtool release``. ``uncompared`` files have no MD5 to compare. ``extra`` files could be
    deleted at the destination, ``deleted`` ones are in the trash, and ``refused`` ones stay for a
    reason that was told. ``awaits_yes`` is True if extra files were only listed.
    """

    kind: ClassVar[str] = "updated"
    changed: int
    unchanged: int
    unreadable: int
    todo: int
    ongoing: int
    error: int
    invalid: int
    others: int
    left_alone: int
    new_files: int
    changed_files: int
    gone_files: int
    released_files: int
    uncompared: int
    extra: int
    extra_bytes: int
    deleted: int
    refused: int
    awaits_yes: bool
    is_dry_run: bool

    def text(self) -> str:
        """Return the sentences."""
        looked = self.changed + self.unchanged + self.unreadable
        verb = "would be todo again" if self.is_dry_run else "todo again"
        parts = [f"{self.changed} changed ({verb})" if self.changed else ""]
        parts += [f"{self.unchanged} unchanged" if self.unchanged else ""]
        parts += [f"{self.unreadable} not readable as a whole" if self.unreadable else ""]
        shown = ", ".join(filter(None, parts))
        lines = [f"Looked at {looked} finished job(s)" + (f": {shown}." if shown else ".")]
        left = [
            f"{count} {word}"
            for count, word in (
                (self.todo, "todo"),
                (self.ongoing, "ongoing"),
                (self.error, "in error"),
                (self.invalid, "invalid"),
                (self.left_alone, "held by workers"),
                (self.others, "without a source to compare"),
            )
            if count
        ]
        if left:
            lines.append(f"Left as they are: {', '.join(left)}.")
        if self.released_files:
            lines.append(f"{self.released_files} file(s) were removed by jobtool release.")
        if self.uncompared:
            lines.append(f"{self.uncompared} file(s) have no MD5 to compare.")
        if self.gone_files and not (self.extra or self.refused or self.deleted):
            lines.append(
                f"{self.gone_files} file(s) are gone from the source and stay at the destination."
            )
        if self.deleted:
            lines.append(f"{self.deleted} extra file(s) are in the trash.")
        elif self.extra:
            lines.append(
                f"{self.extra} extra file(s), {size_text(self.extra_bytes)}, at the destination."
            )
        return " ".join(lines)

    @property
    def exit_code(self) -> int:
        """1 if a source or a job file can't be read, or extra files stay for a reason; else 0."""
        return 1 if self.unreadable or self.invalid or self.refused else 0


def _some(examples: tuple[str, ...], count: int) -> str:
    shown = ", ".join(map(quote, examples))
    return shown + (", …" if count > len(examples) else "")
