"""The events of releasing."""

from __future__ import annotations

from typing import ClassVar

from jobtool.events import Event
from jobtool.level import Level
from jobtool.names import quote
from jobtool.units import size_text


class FileReleased(Event, frozen=True, kw_only=True):
    """A file is in the trash or, in a dry run, would go there. ``md5`` is in hex, as read now."""

    kind: ClassVar[str] = "file-released"
    level: ClassVar[Level] = Level.FILE
    job: str
    path: str
    bytes: int
    md5: str
    trashed_to: str
    is_dry_run: bool = False

    def text(self) -> str:
        """Return the sentence."""
        verb = "Would move" if self.is_dry_run else "Moved"
        return f"{verb} to the trash: {quote(self.path)} ({size_text(self.bytes)})"


class FileStays(Event, frozen=True, kw_only=True):
    """A file isn't removed, with the reason. ``path`` is that of a package's tar if it is whole."""

    kind: ClassVar[str] = "file-stays"
    level: ClassVar[Level] = Level.ALWAYS
    symbol: ClassVar[str] = "❗"
    job: str
    path: str
    reason: str

    def text(self) -> str:
        """Return the sentence."""
        return f"Stays: {quote(self.path)}: {self.reason}"


class FileRemoved(Event, frozen=True, kw_only=True):
    """A file was removed from the trash or, in a dry run, would be."""

    kind: ClassVar[str] = "file-removed"
    level: ClassVar[Level] = Level.FILE
    job: str
    path: str
    bytes: int
    trashed_to: str
    is_dry_run: bool = False

    def text(self) -> str:
        """Return the sentence."""
        verb = "Would remove" if self.is_dry_run else "Removed"
        return f"{verb} from the trash: {quote(self.trashed_to)} ({size_text(self.bytes)})"


class TrashWaits(Event, frozen=True, kw_only=True):
    """A folder of the trash isn't emptied yet, with the reason."""

    kind: ClassVar[str] = "trash-waits"
    job: str
    path: str
    reason: str

    def text(self) -> str:
        """Return the sentence."""
        return f"Kept in the trash: {quote(self.path)}: {self.reason}"


class JobReleased(Event, frozen=True, kw_only=True):
    """The end of a job's release. ``files`` and ``bytes`` went or, in a dry run, would go.

    ``stay`` counts the files that don't, ``removed`` and ``removed_bytes`` what was removed from
    the trash.
    """

    kind: ClassVar[str] = "job-released"
    job: str
    files: int = 0
    bytes: int = 0
    stay: int = 0
    removed: int = 0
    removed_bytes: int = 0
    is_dry_run: bool = False

    def text(self) -> str:
        """Return the sentence."""
        would = "would go" if self.is_dry_run else "are in the trash"
        parts = []
        if not (self.files or self.stay or self.removed):
            parts.append("nothing to release")
        if self.files:
            parts.append(f"{self.files} file(s), {size_text(self.bytes)}, {would}")
        if self.stay:
            parts.append(f"{self.stay} stay(s)")
        if self.removed:
            verb = "would be removed" if self.is_dry_run else "removed"
            parts.append(
                f"{self.removed} file(s), {size_text(self.removed_bytes)}, {verb} from the trash"
            )
        return f"{quote(self.job)}: {'; '.join(parts)}"
