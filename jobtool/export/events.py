"""The events of making the joblist of an export."""

from __future__ import annotations

from typing import ClassVar

from jobtool.events import Event
from jobtool.export.sharetext import bounds_text
from jobtool.level import Level
from jobtool.names import quote


class QueryAccepted(Event, frozen=True, kw_only=True):
    """The database accepts the query. ``columns`` are their names and types."""

    kind: ClassVar[str] = "query"
    columns: tuple[tuple[str, str], ...]

    def text(self) -> str:
        """Return the sentence."""
        shown = ", ".join(f"{quote(name)} {quote(kind)}" for name, kind in self.columns)
        return f"The query has {len(self.columns)} column(s): {shown}"


class Splitting(Event, frozen=True, kw_only=True):
    """The database is asked for the bounds of the ranges, which takes as long as sorting."""

    kind: ClassVar[str] = "splitting"
    column: str

    def text(self) -> str:
        """Return the sentence."""
        return f"Asking for the bounds of ranges of {quote(self.column)}."


class Counting(Event, frozen=True, kw_only=True):
    """The database counts the rows."""

    kind: ClassVar[str] = "counting"

    def text(self) -> str:
        """Return the sentence."""
        return "Counting the rows."


class DestinationUnseen(Event, frozen=True, kw_only=True):
    """The destination can't be listed from here, so it isn't known whether it holds other data."""

    kind: ClassVar[str] = "destination-unseen"
    symbol: ClassVar[str] = "❗"
    destination: str
    reason: str

    def text(self) -> str:
        """Return the sentence."""
        return (
            f"Can't look for other data in {quote(self.destination)} from here, which readers "
            f"would mix with the rows: {self.reason}"
        )


class RangePlanned(Event, frozen=True, kw_only=True):
    """A job was planned. ``rows`` is None if they weren't counted."""

    kind: ClassVar[str] = "range"
    level: ClassVar[Level] = Level.DETAIL
    job: str
    lower: str | None
    upper: str | None
    rows: int | None

    def text(self) -> str:
        """Return the sentence."""
        counted = "" if self.rows is None else f", {self.rows:,} rows"
        return f"{quote(self.job)}: {bounds_text(self.lower, self.upper) or 'all rows'}{counted}"


class ExportGenerated(Event, frozen=True, kw_only=True):
    """The result: how many jobs were written or existed before; the rows, if they were counted."""

    kind: ClassVar[str] = "generated"
    created: int
    existing: int
    rows: int | None
    dry_run: bool

    def text(self) -> str:
        """Return the sentence."""
        if self.existing:
            return f"The joblist is there already, with {self.existing} job(s). It stays as it is."
        verb = "Would create" if self.dry_run else "Created"
        counted = "" if self.rows is None else f" for {self.rows:,} rows"
        return f"{verb} {self.created} job(s){counted}."
