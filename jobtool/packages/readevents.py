"""The events of reading packages."""

from __future__ import annotations

from typing import ClassVar, Literal

from jobtool.events import Event
from jobtool.level import Level
from jobtool.names import quote
from jobtool.units import size_text


class MemberUnpacked(Event, frozen=True, kw_only=True):
    """A member is at the destination, proven: it was written, or was there already."""

    kind: ClassVar[str] = "member"
    level: ClassVar[Level] = Level.FILE
    symbol: ClassVar[str] = "✅"
    member: str
    size: int
    md5: str
    outcome: Literal["written", "kept"]

    def text(self) -> str:
        """Return the sentence."""
        how = "" if self.outcome == "written" else ", was there already"
        return f"{quote(self.member)} ({size_text(self.size)}{how})"


class MemberFailed(Event, frozen=True, kw_only=True):
    """A member couldn't be unpacked."""

    kind: ClassVar[str] = "member-failed"
    level: ClassVar[Level] = Level.ALWAYS
    symbol: ClassVar[str] = "❌"
    member: str
    error: str

    def text(self) -> str:
        """Return the sentence."""
        return self.error


class LinkLeftOut(Event, frozen=True, kw_only=True):
    """A link of a tar is left out, since packages hold files."""

    kind: ClassVar[str] = "link-left-out"
    symbol: ClassVar[str] = "❗"
    link: str
    target: str

    def text(self) -> str:
        """Return the sentence."""
        return (
            f"{quote(self.link)} is a link to {quote(self.target)}. Packages hold files: it is "
            "left out."
        )


class Unpacked(Event, frozen=True, kw_only=True):
    """The unpacking has ended.

    ``members`` and ``bytes`` were written, ``kept`` members were there already, ``failed`` ones
    are not there, and ``waiting`` ones of metadata weren't written since data failed.
    """

    kind: ClassVar[str] = "unpacked"
    level: ClassVar[Level] = Level.ALWAYS
    members: int
    bytes: int
    kept: int
    failed: int
    waiting: int

    @property
    def exit_code(self) -> int:
        """The exit code of a command: 1 if anything failed."""
        return 1 if self.failed else 0

    def mark(self) -> str:
        """Return the symbol."""
        return "❌" if self.failed else "✅"

    def text(self) -> str:
        """Return the sentence."""
        parts = [f"{self.members} members unpacked ({size_text(self.bytes)})"]
        if self.kept:
            parts.append(f"{self.kept} were there already")
        if self.failed:
            parts.append(f"{self.failed} failed")
        if self.waiting:
            parts.append(f"{self.waiting} of metadata wait until all data is there")
        return ", ".join(parts) + "."
