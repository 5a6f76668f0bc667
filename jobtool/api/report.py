"""``write_report`` and ``show_job``: a report for people, and all about one job."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal, get_args

from jobtool.api.places import Place, local_path, opened
from jobtool.errors import UsageError, reason_of
from jobtool.names import quote

if TYPE_CHECKING:
    from jobtool.jobs.joblist import JobList
    from jobtool.report.show import ShownJob

#: The forms of a report.
Form = Literal["html", "markdown", "csv"]

_ENDINGS: dict[str, Form] = {".html": "html", ".htm": "html", ".md": "markdown", ".csv": "csv"}


def report_text(joblist: Place | JobList, form: Form) -> tuple[str, int]:
    """Return a report as text, and how many jobs it is about; ``write_report`` has the errors."""
    from jobtool.report.collect import collect

    if form == "html":
        from jobtool.report.charts import require_matplotlib
        from jobtool.report.page import html_of as text_of

        require_matplotlib()  # before a long reading
    elif form == "markdown":
        from jobtool.report.texts import markdown_of as text_of
    else:
        from jobtool.report.texts import csv_of as text_of
    report = collect(opened(joblist))
    return text_of(report), len(report.rows)


def write_report(joblist: Place | JobList, output: Place, *, form: Form | None = None) -> int:
    """Write a report about a joblist to a file, atomically; return how many jobs it is about.

    The HTML page is one file that loads nothing from elsewhere. Its charts need matplotlib, the
    extra ``report``. Nothing else is written.

    Args:
        joblist: The folder, or an open joblist.
        output: The file; its name ends in ``.html``, ``.htm``, ``.md`` or ``.csv``.
        form: ``html``, ``markdown`` or ``csv``; by default, by the ending.

    Raises:
        UsageError: The output has another ending or can't be written, matplotlib isn't installed,
            or there is no joblist.
        JoblistError: The folder isn't a joblist, or its joblist.toml can't be used.
        JoblistUnavailableError: The joblist can't be read any more.

    Examples:
        >>> jobtool.write_report("joblist", "report.md")
        2
    """
    from jobtool.jobs.atomic_write import replace_file
    from jobtool.jobs.outputfile import require_folder

    path = local_path(output)
    ending = os.path.splitext(path)[1].lower()
    found = _ENDINGS.get(ending)
    if form is not None and form not in get_args(Form):
        raise UsageError(f"form: expected html, markdown or csv; found {form!r}")
    if found is None or (form or found) != found:
        endings = [each for each, kind in _ENDINGS.items() if form in (None, kind)]
        raise UsageError(
            f"expected an output that ends in {' or '.join(endings)}; found {quote(path)}"
        )
    require_folder(path)
    text, jobs = report_text(joblist, found)
    try:
        replace_file(path, text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise UsageError(f"can't write {quote(path)}: {reason_of(error)}") from None
    return jobs


def show_job(joblist: Place | JobList, name: str) -> ShownJob:
    """Read all that a joblist knows of one job. Writes nothing.

    Args:
        joblist: The folder, or an open joblist.
        name: The job's name.

    Returns:
        Its header, the attempts at it, its log, what its receipts say, the likely cause of its
        error, and what to do. ``json()`` has all of it as plain values.

    Raises:
        UsageError: There is no such job, or nothing at the path.
        JoblistError: The folder isn't a joblist, or its joblist.toml can't be used.
        JoblistUnavailableError: The joblist can't be read any more.

    Examples:
        >>> jobtool.show_job("joblist", jobtool.JobList.open("joblist").job_ids()[0]).line.status
        <JobStatus.SUCCESS: 'success'>
    """
    from jobtool.report.show import show

    return show(opened(joblist), name)
