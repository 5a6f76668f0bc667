"""The Markdown and CSV forms of a report."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence

from jobtool import __version__
from jobtool.jobs.stamps import stamp_of
from jobtool.report.collect import Report
from jobtool.report.proofs import MEANINGS
from jobtool.report.sections import (
    MOST_CAUSES,
    MOST_SLOWEST,
    fields_to_show,
    lines_of_totals,
    status_counts,
)
from jobtool.report.shown import shown_name, shown_size, shown_text
from jobtool.units import duration_text

#: What Markdown, or HTML in it, gives a meaning. Underscores within a word have none.
_MARKUP = re.compile(r"[\\`*\[\]<>|~#&$]|\b_+|_+\b")

_COLUMNS = (
    *("job", "status", "files_done", "files_total", "bytes_done", "bytes_total", "attempts"),
    *("seconds", "started", "ended", "worker", "note"),
)


def markdown_of(report: Report) -> str:
    """Return the report as Markdown: totals, causes, fields, proofs, the slowest jobs."""
    return "\n".join(_markdown(report)) + "\n"


def csv_of(report: Report) -> str:
    """Return a row for each job, after a line with the columns' names.

    Sizes are in bytes, ``seconds`` are those of all attempts together, times are in UTC. Layout
    fields are columns ``field.NAME``. What isn't known is empty.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    fields = sorted({name for row in report.rows for name in row.fields})
    writer.writerow([*_COLUMNS, *(f"field.{shown_text(name)}" for name in fields)])
    for row in report.rows:
        line = row.line
        writer.writerow(
            [
                *(shown_name(line.job), row.status, line.files_done, line.files_total),
                *(line.bytes_done, line.bytes_total, line.attempts),
                None if row.seconds is None else round(row.seconds),
                *("" if time is None else stamp_of(time) for time in (row.started, row.ended)),
                *(shown_text(row.worker), shown_text(line.note)),
                *(shown_name(row.fields[name]) if name in row.fields else "" for name in fields),
            ]
        )
    return file.getvalue()


def _markdown(report: Report) -> Iterator[str]:
    yield f"# Transfer report: {_plain(shown_name(report.summary.path.rpartition('/')[2]))}"
    yield ""
    if report.source or report.destination:
        yield f"{_name(report.source)} → {_name(report.destination)}"
        yield ""
    yield f"As of {stamp_of(report.made_at)}, by jobtool {__version__}"
    counts = [(f"jobs: {word}", f"{count:,}") for word, count in status_counts(report)]
    totals = [(label, _plain(value)) for label, value in (*lines_of_totals(report), *counts)]
    yield from _section("Totals", ("", ""), totals, "-:")
    causes = [
        (f"{len(cause.jobs):,}", _plain(shown_text(cause.text)), _name(cause.jobs[0]))
        for cause in report.causes[:MOST_CAUSES]
    ]
    yield from _section("Jobs that need attention", ("jobs", "cause", "such as"), causes, ":--")
    yield from _more(len(report.causes), MOST_CAUSES)
    for name, values, left_out in fields_to_show(report):
        cells = [
            (_name(each.value), f"{each.done:,}/{each.jobs:,}", shown_size(each.bytes_done))
            for each in values
        ]
        title = f"Progress by {_plain(shown_text(name))}"
        yield from _section(title, ("value", "jobs done", "size"), cells, "-:")
        yield from _more(len(values) + left_out, len(values))
    proofs = [
        (
            *(_name(line.verified_by), MEANINGS.get(line.verified_by, "")),
            *(_plain(shown_text(line.method)), f"{line.files:,}", shown_size(line.bytes)),
        )
        for line in report.proofs
    ]
    headings = ("proof", "meaning", "moved by", "files", "size")
    yield from _section("How files were proven", headings, proofs, ":--")
    for message in report.unreadable[:3]:
        yield f"\nNot counted: {_plain(shown_text(message))}"
    slowest = [
        (_name(row.line.job), duration_text(row.seconds or 0), shown_size(row.line.bytes_done))
        for row in report.slowest[:MOST_SLOWEST]
    ]
    yield from _section("Jobs that took longest", ("job", "time", "size"), slowest, "-:")


def _section(
    title: str, headings: Sequence[str], rows: Iterable[Sequence[str]], alignment: str
) -> Iterator[str]:
    """Yield the lines of a table under its heading; nothing without rows."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    if lines:
        yield from ("", f"## {title}", "")
        yield f"| {' | '.join(headings)} |"
        yield f"| --- |{f' {alignment} |' * (len(headings) - 1)}"
        yield from lines


def _more(count: int, most: int) -> Iterator[str]:
    if count > most:
        yield f"\n{count - most:,} more are left out."


def _name(name: str) -> str:
    return _plain(shown_name(name)) if name else ""


def _plain(text: str) -> str:
    """Return a text of which Markdown shows every character."""
    return _MARKUP.sub(lambda found: "".join(f"&#{ord(each)};" for each in found.group()), text)
