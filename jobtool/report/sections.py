"""What pages, Markdown and CSV have in common: totals, counts, the values to show of fields."""

from __future__ import annotations

from collections.abc import Iterator

from jobtool.jobs.job import JobStatus
from jobtool.report.collect import JobRow, Report
from jobtool.report.fields import FieldValue
from jobtool.report.shown import shown_files, shown_name, shown_size, shown_text
from jobtool.units import count_text, duration_text, rate_text, size_text

MOST_CAUSES = 50
MOST_SLOWEST = 10

#: How many values of a field are shown.
MOST_VALUES = 40

#: A layout has a few fields. A person may have written more.
_MOST_FIELDS = 20

#: A field that has another value for each of more jobs than this isn't shown.
_MOST_UNIQUE = 10


def status_counts(report: Report) -> list[tuple[str, int]]:
    """Return how many jobs have which status; ``invalid`` only if there are any."""
    shown = (JobStatus.SUCCESS, JobStatus.ONGOING, JobStatus.TODO, JobStatus.ERROR)
    counts = [(status.value, report.summary.count(status)) for status in shown]
    invalid = report.summary.count(None)
    return [*counts, ("invalid", invalid)] if invalid else counts


def lines_of_totals(report: Report) -> list[tuple[str, str]]:
    """Return labels and values of the totals."""
    done = report.summary.count(JobStatus.SUCCESS)
    lines = [
        ("jobs done", f"{done:,} of {len(report.rows):,}"),
        ("files proven", f"{report.files_done:,}"),
        ("proven", size_text(report.bytes_done)),
    ]
    if report.summary.rows_done is not None:
        lines.append(("rows exported", count_text(report.summary.rows_done)))
    if report.started is not None and report.ended is not None:
        seconds = max((report.ended - report.started).total_seconds(), 0)
        lines.append(("from first to last line of a log", duration_text(seconds)))
        if seconds:
            lines.append(("mean rate over that time", rate_text(report.bytes_done / seconds)))
    if report.workers:
        lines.append(("workers", f"{len(report.workers):,}"))
    return lines


def fields_to_show(report: Report) -> Iterator[tuple[str, list[FieldValue], int]]:
    """Yield the name of each field, values of it, and how many more there are.

    A field with another value for each of many jobs is left out. If there are too many values,
    those with unfinished jobs come first.
    """
    for name, values in list(report.fields.items())[:_MOST_FIELDS]:
        jobs = sum(value.jobs for value in values)
        if len(values) == jobs and jobs > _MOST_UNIQUE:
            continue
        chosen = values
        if len(values) > MOST_VALUES:
            chosen = sorted(values, key=lambda value: value.done == value.jobs)[:MOST_VALUES]
        yield name, chosen, len(values) - len(chosen)


def cells_of_job(row: JobRow) -> tuple[str, str, str, str, str, str, str]:
    """Return name, status, files, size, time, attempts and note of a job, as plain text."""
    line = row.line
    return (
        shown_name(line.job),
        row.status,
        shown_files(line.files_done, line.files_total),
        shown_size(line.bytes_done),
        "" if row.seconds is None else duration_text(row.seconds),
        str(line.attempts),
        shown_text(line.note),
    )
