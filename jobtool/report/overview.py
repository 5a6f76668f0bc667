"""What people are shown of a joblist: everything but its single jobs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from jobtool.jobs.job import JobStatus
from jobtool.jobs.workerstates import SeenState
from jobtool.report.bystep import StepLine, by_step
from jobtool.report.causes import Cause, causes_of
from jobtool.report.estimate import Estimate
from jobtool.report.fields import FieldValue
from jobtool.report.hints import hint_for
from jobtool.report.jobline import JobLine
from jobtool.report.live import LiveJoblist
from jobtool.report.pauses import Pauses
from jobtool.report.since import Since, since
from jobtool.report.summary import rows_done, rows_total


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """A joblist as it was at ``looked_at``.

    ``counts`` are the numbers of jobs by status, ``None`` for invalid ones. ``unread`` jobs haven't
    been read yet, and count nowhere. ``trouble`` says why the joblist can't be listed now; all else
    is as it was before. ``field`` is the name of a layout field and ``values`` are the jobs by its
    values. ``excluded`` is what filters left out of the jobs that are done. ``jobs`` are those that
    are named one by one, None if none is asked for.
    """

    path: str
    looked_at: datetime
    unread: int
    trouble: str
    counts: Mapping[JobStatus | None, int]
    estimate: Estimate
    workers: tuple[SeenState, ...]
    causes: tuple[Cause, ...]
    abandoned: tuple[JobLine, ...]
    waiting: tuple[JobLine, ...]
    needing_newer: tuple[JobLine, ...]
    steps: tuple[StepLine, ...]
    field: str | None
    values: tuple[FieldValue, ...]
    since: Since | None
    pauses: Pauses
    rows_done: int | None
    rows_total: int | None
    excluded: int = 0
    jobs: tuple[JobLine, ...] | None = None

    @property
    def total(self) -> int:
        """The number of jobs that have been read."""
        return sum(self.counts.values())

    @property
    def exit_code(self) -> int:
        """1 if a job is in error or invalid, else 0."""
        return 1 if self.counts[JobStatus.ERROR] or self.counts[None] else 0

    def json(self) -> dict[str, Any]:
        """Return what a summary doesn't have, as plain values."""
        return {
            "causes": [
                {**cause.json(), "hint": hint_for(cause, self.path)} for cause in self.causes
            ],
            "field": self.field,
            "by_field": [value.json() for value in self.values],
            "since": None if self.since is None else self.since.json(),
        }


def overview_of(
    live: LiveJoblist, *, by: str | None = None, since_time: datetime | None = None
) -> Overview:
    """Return what the last look has shown.

    ``by`` is the field of the table, None for the first that has a few values, empty for no table.
    Raises ``KeyError`` with the names of all fields if no job has that one.
    """
    table = None if by == "" else live.field_table(by)
    lines = live.lines.values()
    has_packages = live.joblist.settings.packages is not None
    is_export = live.joblist.settings.export is not None
    return Overview(
        path=live.joblist.path,
        looked_at=live.looked_at,
        unread=live.unread,
        trouble=live.trouble,
        counts={status: live.count(status) for status in (*JobStatus, None)},
        estimate=live.estimate(),
        workers=tuple(live.states),
        causes=tuple(causes_of(live.of_status(JobStatus.ERROR, None))),
        abandoned=tuple(line for line in live.of_status(JobStatus.ONGOING) if line.is_abandoned),
        waiting=tuple(line for line in lines if line.waiting_files),
        needing_newer=tuple(line for line in lines if line.needs_newer),
        steps=tuple(by_step(lines) if has_packages or any(line.package for line in lines) else ()),
        field=None if table is None else table.name,
        values=() if table is None else tuple(map(msgspec.structs.replace, table.values)),
        since=None if since_time is None else since(lines, since_time),
        pauses=live.pauses,
        rows_done=rows_done(lines) if is_export else None,
        rows_total=rows_total(lines) if is_export else None,
        excluded=sum(line.excluded for line in lines),
    )
