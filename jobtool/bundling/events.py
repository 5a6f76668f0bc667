"""The events that making packages emits."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import ClassVar

from jobtool.events import Event
from jobtool.level import Level
from jobtool.names import quote
from jobtool.units import size_text


class Walking(Event, frozen=True, kw_only=True):
    """The source is being listed. Counts are of what was found so far; ``members`` are files."""

    kind: ClassVar[str] = "walking"
    items: int
    members: int
    bytes: int

    def text(self) -> str:
        """Return the sentence."""
        return f"Listing: {self.items} item(s), {self.members} file(s), {size_text(self.bytes)}"


class LeftOut(Event, frozen=True, kw_only=True):
    """What isn't a file, and so isn't in a package: counts by kind, and the first items with it."""

    kind: ClassVar[str] = "left-out"
    level: ClassVar[Level] = Level.ALWAYS
    symbol: ClassVar[str] = "❗"
    counts: Mapping[str, int]
    items: tuple[str, ...]

    def text(self) -> str:
        """Return the sentence."""
        counted = ", ".join(f"{count} {what}(s)" for what, count in self.counts.items())
        shown = ", ".join(map(quote, self.items))
        return f"Left out, since a package holds files only: {counted}, such as in {shown}."


class ItemChanged(Event, frozen=True, kw_only=True):
    """An item in a package has changed since. The package is left as it is."""

    kind: ClassVar[str] = "item-changed"
    level: ClassVar[Level] = Level.ALWAYS
    symbol: ClassVar[str] = "❌"
    item: str
    package: str
    change: str

    def text(self) -> str:
        """Return the sentence."""
        return (
            f"Item {quote(self.item)} has changed since it was put into package "
            f"{quote(self.package)} ({self.change}). The package is left as it is. To pack the "
            "item as it is now, give it another name in the source."
        )


class JobsCompleted(Event, frozen=True, kw_only=True):
    """An earlier run was killed while it wrote the jobs of a package. They are complete now."""

    kind: ClassVar[str] = "jobs-completed"
    package: str
    jobs: int

    def text(self) -> str:
        """Return the sentence."""
        return f"Package {quote(self.package)}: {self.jobs} job(s) that an earlier run didn't write"


class PackagePlanned(Event, frozen=True, kw_only=True):
    """A package that was written, or would be. ``bytes`` is the size of its files."""

    kind: ClassVar[str] = "package"
    level: ClassVar[Level] = Level.DETAIL
    package: str
    items: int
    members: int
    bytes: int
    jobs: tuple[str, ...]

    def text(self) -> str:
        """Return the sentence."""
        return (
            f"Package {quote(self.package)}: {self.items} item(s), {self.members} file(s), "
            f"{size_text(self.bytes)}, {len(self.jobs)} job(s)"
        )


class DestinationUnseen(Event, frozen=True, kw_only=True):
    """A destination can't be looked at from here for packages of the same names."""

    kind: ClassVar[str] = "destination-unseen"
    symbol: ClassVar[str] = "❗"
    destination: str
    reason: str

    def text(self) -> str:
        """Return the sentence."""
        return (
            f"Can't look for packages of the same names in {quote(self.destination)} from here: "
            f"{self.reason}. The copy looks again."
        )


class Waiting(Event, frozen=True, kw_only=True):
    """Items that wait for full packages. ``until`` is when the first is made anyway."""

    kind: ClassVar[str] = "waiting"
    items: int
    bytes: int
    until: str

    def text(self) -> str:
        """Return the sentence."""
        return (
            f"{self.items} item(s) of {size_text(self.bytes)} wait for full packages. The first is "
            f"made from {self.until} on: run this again then, or with --close."
        )


class PackagesGenerated(Event, frozen=True, kw_only=True):
    """The result.

    ``packages`` were made of ``items`` of ``members`` files and ``bytes``; the largest has
    ``largest_bytes``. ``jobs`` were written, those of an earlier run among them. ``existing`` items
    were in packages before; ``changed`` of them have changed since. ``waiting`` items wait.
    ``empty`` items hold no file. ``unreadable`` items and folders couldn't be listed. ``excluded``
    files and folders are left out by the filters.
    """

    kind: ClassVar[str] = "generated"
    packages: int
    items: int
    members: int
    bytes: int
    largest_bytes: int
    jobs: int
    existing: int
    changed: int
    waiting: int
    empty: int
    unreadable: int
    dry_run: bool
    excluded: int = 0

    def text(self) -> str:
        """Return the sentence."""
        verb = "Would create" if self.dry_run else "Created"
        made = f"{verb} {self.packages} package(s)"
        if self.packages:
            made += (
                f" of {self.items} item(s), {self.members} file(s), {size_text(self.bytes)}; the "
                f"largest has {size_text(self.largest_bytes)}"
            )
        notes = [
            f"{count} {what}"
            for count, what in (
                (self.jobs, "job(s)"),
                (self.existing, "item(s) packed before"),
                (self.changed, "of them changed since"),
                (self.waiting, "item(s) waiting"),
                (self.empty, "item(s) without files"),
                (self.unreadable, "unreadable"),
                (self.excluded, "excluded"),
            )
            if count
        ]
        return ". ".join([made, *([", ".join(notes)] if notes else [])]) + "."

    @property
    def exit_code(self) -> int:
        """0, or 1 if something needs a person's attention."""
        return 1 if self.changed or self.unreadable else 0


def stamp(seconds: float) -> str:
    """Return a time in seconds since 1970 as text, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
