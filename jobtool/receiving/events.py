"""The events that ``jobtool receive`` emits."""

from __future__ import annotations

from typing import ClassVar

from jobtool.events import Event
from jobtool.level import Level
from jobtool.names import quote
from jobtool.units import size_text


class PackageReceived(Event, frozen=True, kw_only=True):
    """A package has arrived, and has ``jobs`` that this run has made or, in a dry run, would make.

    ``bytes`` is the size of its ``members``, in ``items`` items.
    """

    kind: ClassVar[str] = "package-received"
    symbol: ClassVar[str] = "✅"
    package: str
    url: str
    items: int
    members: int
    bytes: int
    jobs: tuple[str, ...]

    def text(self) -> str:
        """Return the sentence."""
        return (
            f"{quote(self.package)}: {self.items} item(s), {self.members} file(s), "
            f"{size_text(self.bytes)}; {len(self.jobs)} job(s)"
        )


class PackageIncomplete(Event, frozen=True, kw_only=True):
    """A package hasn't arrived as a whole. It gets no jobs in this run."""

    kind: ClassVar[str] = "package-incomplete"
    package: str
    url: str
    reason: str

    def text(self) -> str:
        """Return the sentence."""
        return f"{quote(self.package)}: not complete yet: {self.reason}"


class PackageRefused(Event, frozen=True, kw_only=True):
    """A package is left out, since something about it is wrong. It gets no jobs."""

    kind: ClassVar[str] = "package-refused"
    level: ClassVar[Level] = Level.ALWAYS
    symbol: ClassVar[str] = "❌"
    package: str
    url: str
    reason: str

    def text(self) -> str:
        """Return the sentence."""
        return f"{quote(self.package)}: {self.reason}"


class Received(Event, frozen=True, kw_only=True):
    """The sum of a run.

    ``new`` packages have got jobs, ``known`` ones had theirs already, ``incomplete`` ones haven't
    arrived as a whole, ``refused`` ones were left out. ``jobs`` were made, and ``bytes`` is the
    size of the members of new packages.
    """

    kind: ClassVar[str] = "received"
    level: ClassVar[Level] = Level.ALWAYS
    new: int = 0
    known: int = 0
    incomplete: int = 0
    refused: int = 0
    jobs: int = 0
    bytes: int = 0
    dry_run: bool = False

    def text(self) -> str:
        """Return the sentence."""
        start = "Would receive" if self.dry_run else "Received"
        rest = "".join(
            f", {count} {what}"
            for count, what in (
                (self.known, "known already"),
                (self.incomplete, "not complete yet"),
                (self.refused, "left out"),
            )
            if count
        )
        return f"{start} {self.new} package(s), {size_text(self.bytes)}, {self.jobs} job(s){rest}."

    @property
    def exit_code(self) -> int:
        """1 if a package was left out, else 0."""
        return 1 if self.refused else 0
