"""What a job of an export does, as text for people."""

from __future__ import annotations

from typing import Literal

from jobtool.jobs.exportshare import ExportShare
from jobtool.jobs.job import Job
from jobtool.jobs.settings import Settings
from jobtool.names import quote


def what_of(job: Job) -> Literal["files", "rows", "manifest"]:
    """Return what a job brings to its destination."""
    return "files" if job.export is None else job.export.kind


def source_text(job: Job, settings: Settings) -> str:
    """Return the source to show for a job: its own, or its share of the query."""
    if job.export is None:
        return job.origin
    return share_text(job.export, None if settings.export is None else settings.export.split_by)


def share_text(share: ExportShare, split_by: str | None) -> str:
    """Return a share as text: ``rows 3/8 of the query (day from 2024-01-01 below 2024-02-01)``."""
    if share.kind == "manifest":
        return "manifest"
    if share.count == 1:
        return "all rows of the query"
    bounds = [f"from {_value(share.lower)}"] * (share.lower is not None)
    bounds += [f"below {_value(share.upper)}"] * (share.upper is not None)
    text = " ".join([quote(split_by or "column"), *bounds])
    if share.has_nulls:
        text += ", or NULL"
    return f"rows {share.number}/{share.count} of the query ({text})"


def _value(bound: str | None) -> str:
    """Return the value of a bound without its type."""
    return (bound or "").partition(" ")[2]
