"""The HTML page of a report: one file that loads nothing.

Its content security policy allows no network, and only the one script, by its digest. All text is
escaped here.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files

from jobtool import __version__
from jobtool.jobs.job import JobStatus
from jobtool.jobs.stamps import stamp_of
from jobtool.report.charts import (
    MOST_WORKERS,
    require_matplotlib,
    sizes_chart,
    throughput_chart,
    workers_chart,
)
from jobtool.report.collect import JobRow, Report
from jobtool.report.proofs import MEANINGS
from jobtool.report.sections import (
    MOST_CAUSES,
    MOST_SLOWEST,
    cells_of_job,
    fields_to_show,
    lines_of_totals,
    status_counts,
)
from jobtool.report.shown import shown_name, shown_size, shown_text
from jobtool.units import duration_text

#: The jobs in the page's table take at most this many bytes; the others are left out.
MOST_TABLE_BYTES = 3_500_000

#: How many jobs are in the table without the script.
_PLAIN_ROWS = 200

_HEADINGS = ("Job", "Status", "Files", "Size", "Time", "Attempts", "Note")


def html_of(report: Report) -> str:
    """Return the page; raises ``UsageError`` if matplotlib isn't installed."""
    require_matplotlib()
    style, script = _asset("page.css"), _asset("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    name = shown_name(report.summary.path.rpartition("/")[2])
    return "\n".join(
        (
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(name)}: transfer report</title>",
            f"<style>{style}</style></head><body>",
            *_sections(report, name),
            f"<script>{script}</script>",
            "</body></html>\n",
        )
    )


def _asset(name: str) -> str:
    return files("jobtool.report").joinpath(name).read_text(encoding="utf-8")


def _sections(report: Report, name: str) -> Iterable[str]:
    yield f"<header><h1>{escape(name)}</h1>"
    if report.source or report.destination:
        yield f'<p class="name">{_code(report.source)} → {_code(report.destination)}</p>'
    made = f"As of {stamp_of(report.made_at)}, by jobtool {__version__}"
    yield f'<p class="muted">{made}</p></header>'
    tiles = (
        f'<div class="tile"><b>{escape(value)}</b><span>{escape(label)}</span></div>'
        for label, value in lines_of_totals(report)
    )
    yield f'<section class="tiles">{"".join(tiles)}</section>'
    yield from _statuses(report)
    yield from _causes(report)
    charts = (
        _chart("Throughput", throughput_chart(report), "Proven bytes by time, in UTC."),
        _chart("Sizes of files", sizes_chart(report.sizes), "Of proven files."),
    )
    yield f'<div class="charts">{"".join(charts)}</div>'
    yield from _fields(report)
    yield from _proofs(report)
    yield from _workers(report)
    yield from _slowest(report)
    yield from _jobs(report)


def _statuses(report: Report) -> Iterable[str]:
    counts = status_counts(report)
    yield "<section><h2>Jobs</h2>"
    yield _bar(counts, len(report.rows))
    items = (f'<li><i class="{word}"></i>{count:,} {word}</li>' for word, count in counts)
    yield f'<ul class="legend">{"".join(items)}</ul></section>'


def _bar(counts: Sequence[tuple[str, int]], total: int, kind: str = "") -> str:
    parts = (
        f'<i class="{word}" style="width:{100 * count / total:.3f}%"></i>'
        for word, count in counts
        if count
    )
    return f'<div class="bar {kind}">{"".join(parts)}</div>'


def _causes(report: Report) -> Iterable[str]:
    if not report.causes:
        return
    yield "<section><h2>Jobs that need attention, by cause</h2>"
    rows = [
        (
            f"{len(cause.jobs):,}",
            _text(cause.text) + (" <b>No attempts are left.</b>" * cause.requires_intervention),
            "<br>".join(_code(job) for job in cause.jobs[:3]),
        )
        for cause in report.causes[:MOST_CAUSES]
    ]
    yield _table(("Jobs", "Cause", "Such as"), rows, numbers={0})
    yield _left_out(len(report.causes), MOST_CAUSES, "causes")
    if report.summary.count(JobStatus.ERROR):
        yield "<p>Once the cause is mended: <code>jobtool retry JOBLIST</code></p>"
    yield "</section>"


def _chart(title: str, svg: str, note: str) -> str:
    if not svg:
        return ""
    return (
        f'<section><h2>{title}</h2><figure>{svg}<figcaption class="muted">{note}</figcaption>'
        "</figure></section>"
    )


def _fields(report: Report) -> Iterable[str]:
    for name, values, left_out in fields_to_show(report):
        yield f"<section><h2>Progress by {escape(shown_text(name))}</h2>"
        rows = []
        for value in values:
            open_jobs = value.jobs - value.done - value.error
            counts = (("success", value.done), ("error", value.error), ("todo", open_jobs))
            done = f"{value.done:,}/{value.jobs:,}"
            bar = _bar(counts, value.jobs, "small")
            rows.append((_code(value.value), bar, done, shown_size(value.bytes_done)))
        headings = (escape(shown_text(name)), "", "Jobs done", "Size")
        yield _table(headings, rows, numbers={2, 3})
        yield _left_out(left_out + len(values), len(values), "values")
        yield "</section>"


def _proofs(report: Report) -> Iterable[str]:
    yield "<section><h2>How files were proven</h2>"
    rows = [
        (
            _code(line.verified_by),
            escape(MEANINGS.get(line.verified_by, "")),
            _text(line.method),
            f"{line.files:,}",
            shown_size(line.bytes),
        )
        for line in report.proofs
    ]
    if rows:
        headings = ("Proof", "Meaning", "Moved by", "Files", "Size")
        yield _table(headings, rows, numbers={3, 4})
    else:
        yield "<p>There are no receipts yet.</p>"
    for message in report.unreadable[:3]:
        yield f'<p class="name">Not counted: {_text(message)}</p>'
    yield _left_out(len(report.unreadable), 3, "jobs whose receipts can't be read")
    yield "</section>"


def _workers(report: Report) -> Iterable[str]:
    svg = workers_chart(report)
    if not svg:
        return
    yield f"<section><h2>Workers</h2><figure>{svg}</figure>"
    words = ("success", "error", "handed-back", "unfinished")
    items = "".join(f'<li><i class="{word}"></i>{word.replace("-", " ")}</li>' for word in words)
    yield f'<ul class="legend">{items}</ul>'
    yield '<p class="muted">Attempts at jobs, by how they ended. Times are in UTC.</p>'
    yield _left_out(len(report.workers), MOST_WORKERS, "workers")
    yield "</section>"


def _slowest(report: Report) -> Iterable[str]:
    rows = [
        (
            _code(row.line.job),
            row.status,
            shown_size(row.line.bytes_done),
            duration_text(row.seconds or 0),
            str(row.line.attempts),
        )
        for row in report.slowest[:MOST_SLOWEST]
    ]
    if rows:
        yield "<section><h2>Jobs that took longest</h2>"
        yield _table(("Job", "Status", "Size", "Time", "Attempts"), rows, numbers={2, 3, 4})
        yield "</section>"


def _jobs(report: Report) -> Iterable[str]:
    ordered = sorted(report.rows, key=lambda row: row.line.status not in (JobStatus.ERROR, None))
    encoded, shown = [], 0
    for row in ordered:
        # A script's text ends at "</script"; without "<" there is none, and no comment either.
        text = json.dumps(_values(row), ensure_ascii=False, separators=(",", ":"))
        text = text.replace("<", "\\u003c")
        shown += len(text.encode("utf-8", "backslashreplace")) + 1
        if shown > MOST_TABLE_BYTES:
            break
        encoded.append(text)
    options = "".join(f"<option>{word}</option>" for word, count in status_counts(report) if count)
    yield '<section id="jobs"><h2>All jobs</h2>'
    yield (
        '<div id="tools" class="tools no-print" hidden>'
        '<input id="text" type="search" placeholder="Name or note" aria-label="Name or note">'
        f'<select id="status" aria-label="Status"><option value="">any status</option>{options}'
        '</select><span id="count" class="muted" role="status"></span></div>'
    )
    heads = "".join(
        f'<th scope="col"{_number(at in range(2, 6))}><button type="button">{word}</button></th>'
        for at, word in enumerate(_HEADINGS)
    )
    plain = (_job_row(row) for row in ordered[:_PLAIN_ROWS])
    yield '<div class="scroll"><table>'
    yield f"<thead><tr>{heads}</tr></thead><tbody>{''.join(plain)}</tbody></table></div>"
    yield '<p class="no-print"><button id="more" type="button" hidden>Show more</button></p>'
    yield _left_out(len(ordered), len(encoded), "jobs")
    yield "</section>"
    data = f"[{','.join(encoded)}]"
    yield f'<script type="application/json" id="rows">{data}</script>'


def _values(row: JobRow) -> list[object]:
    cells = cells_of_job(row)
    line = row.line
    numbers = (line.files_done, line.bytes_done, row.seconds)
    name, status, file_count, size, lasted, attempts, note = cells
    return [
        *(name, status, file_count, numbers[0], size, numbers[1], lasted),
        *(None if numbers[2] is None else round(numbers[2]), int(attempts), note),
    ]


def _job_row(row: JobRow) -> str:
    cells = [escape(cell) for cell in cells_of_job(row)]
    cells[1] = f'<i class="dot {row.status}"></i>{cells[1]}'
    kinds = {0: ' class="name"', 6: ' class="name"'}
    tds = (
        f"<td{kinds.get(at) or _number(at in range(2, 6))}>{cell}</td>"
        for at, cell in enumerate(cells)
    )
    return f"<tr>{''.join(tds)}</tr>"


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: set[int]) -> str:
    """Return a table of cells that are HTML; ``numbers`` are the columns to align right."""
    heads = "".join(
        f'<th scope="col"{_number(at in numbers)}>{head}</th>' for at, head in enumerate(headings)
    )
    body = (
        "".join(f"<td{_number(at in numbers)}>{cell}</td>" for at, cell in enumerate(row))
        for row in rows
    )
    lines = "".join(f"<tr>{cells}</tr>" for cells in body)
    return (
        f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table>'
        "</div>"
    )


def _number(is_number: bool) -> str:
    return ' class="number"' if is_number else ""


def _code(name: str) -> str:
    return f"<code>{escape(shown_name(name))}</code>" if name else ""


def _text(text: str) -> str:
    return f'<span class="name">{escape(shown_text(text))}</span>'


def _left_out(count: int, most: int, what: str) -> str:
    if count <= most:
        return ""
    return f'<p class="muted">{count - most:,} more {what} are left out of this page.</p>'
