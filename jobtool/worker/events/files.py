"""The events about one file of a job."""

from __future__ import annotations

from typing import ClassVar

from jobtool.events import Amount, Event
from jobtool.level import Level
from jobtool.names import quote
from jobtool.transfer.methoduse import MethodUse
from jobtool.transfer.notes import Unkept
from jobtool.units import duration_text


class FileTransferred(Event, frozen=True, kw_only=True):
    """A file was transferred. ``size`` is in bytes.

    ``md5`` is None if nobody has read the file; then ``checksum`` is that of both sides.
    """

    kind: ClassVar[str] = "file"
    level: ClassVar[Level] = Level.FILE
    symbol: ClassVar[str] = "  "
    job: str
    source: str
    destination: str
    size: int
    md5: str | None
    verified_by: str
    checksum: str | None = None

    def text(self) -> str:
        """Return the sentence."""
        digest = self.md5 or self.checksum
        return f"{quote(self.source)} -> {quote(self.destination)} {digest} {self.verified_by}"


class TriedAgain(Event, frozen=True, kw_only=True):
    """A file failed with a temporary error and is tried again."""

    kind: ClassVar[str] = "retry"
    level: ClassVar[Level] = Level.DETAIL
    symbol: ClassVar[str] = "❗"
    job: str
    reason: str

    def text(self) -> str:
        """Return the sentence."""
        return f"{quote(self.job)}: trying again: {self.reason}"

    def amount(self) -> Amount:
        """Return one retry."""
        return Amount(retries=1)


class MethodUsed(Event, frozen=True, kw_only=True):
    """The result of a method before ``stream`` in one attempt at a job.

    ``files`` are those of its claims that were proven, ``seconds`` is how long it ran; ``reason``
    says why it wasn't used, or why it is no longer used.
    """

    kind: ClassVar[str] = "method"
    level: ClassVar[Level] = Level.DETAIL
    job: str
    name: str
    files: int
    seconds: float
    reason: str | None = None

    @classmethod
    def of(cls, use: MethodUse, *, job: str) -> MethodUsed:
        """Return the event for the result of a method."""
        return cls(job=job, name=use.name, files=use.files, seconds=use.seconds, reason=use.reason)

    def text(self) -> str:
        """Return the sentence."""
        text = f"{quote(self.job)}: {self.files} files by method {self.name}"
        text += f" in {duration_text(self.seconds)}" if self.seconds else ""
        return text + (f"; {self.reason}" if self.reason else "")


class AttributesUnkept(Event, frozen=True, kw_only=True):
    """An attribute could not be kept for some files or folders of a job.

    ``count`` is their number; ``first`` names the first of them.
    """

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
        """Return the event for an attribute that a transfer could not keep."""
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
