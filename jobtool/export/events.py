"""The events of making the joblist of an export."""

from __future__ import annotations

from typing import ClassVar

from jobtool.events import Event
from jobtool.names import quote


class QueryAccepted(Event, frozen=True, kw_only=True):
    """The database accepts the query. ``columns`` are their names and types."""

    kind: ClassVar[str] = "query"
    columns: tuple[tuple[str, str], ...]

    def text(self) -> str:
        """Return the sentence."""
        shown = ", ".join(f"{quote(name)} {kind}" for name, kind in self.columns)
        return f"The query has {len(self.columns)} column(s): {shown}"


class Splitting(Event, frozen=True, kw_only=True):
    """The database is asked for the bounds of the ranges, which takes as long as sorting."""

    kind: ClassVar[str] = "splitting"
    column: str

    def text(self) -> str:
        """Return the sentence."""
        return f"Asking for the bounds of ranges of {quote(self.column)}."


class RangePlanned(Event, frozen=True, kw_only=True):
    """A job was planned. ``rows`` is None if they weren't counted."""

    kind: ClassVar[str] = "range"
    job: str
    lower: str | None
    upper: str | None
    rows: int | None

    def text(self) -> str:
        """Return the sentence."""
        bounds = [f"from {self.lower}"] * (self.lower is not None)
        bounds += [f"below {self.upper}"] * (self.upper is not None)
        counted = "" if self.rows is None else f", {self.rows:,} rows"
        return f"{quote(self.job)}: {', '.join(bounds) or 'all rows'}{counted}"


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
