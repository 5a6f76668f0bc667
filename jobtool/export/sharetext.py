"""The share of an export, as text for people."""

from __future__ import annotations

from jobtool.jobs.exportshare import ExportShare
from jobtool.names import quote


def share_text(share: ExportShare, split_by: str | None) -> str:
    """Return a share as text: ``rows 3/8 of the query (day from 2024-01-01 below 2024-02-01)``."""
    if share.kind == "manifest":
        return "manifest"
    if share.count == 1:
        return "all rows of the query"
    text = f"{quote(split_by or 'column')} {bounds_text(share.lower, share.upper)}".rstrip()
    if share.has_nulls:
        text += ", or NULL"
    return f"rows {share.number}/{share.count} of the query ({text})"


def bounds_text(lower: str | None, upper: str | None) -> str:
    """Return bounds, as job files have them, for people: ``from 5 below 9``; empty for none."""
    words = [("from", lower), ("below", upper)]
    return " ".join(
        f"{word} {bound.partition(' ')[2]}" for word, bound in words if bound is not None
    )
