"""``jobtool report``: a joblist as one page, as Markdown or as CSV."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from jobtool.cli.console import DONE, Console
from jobtool.cli.lines import ReportLine
from jobtool.cli.options import command, input_options, output_options
from jobtool.errors import UsageError
from jobtool.names import quote

if TYPE_CHECKING:
    from jobtool.api.report import Form


@command(
    name="jobtool report",
    example="jobtool report source08 -o report.html",
    is_output_result=True,
    reads_tables=True,
)
@input_options()
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="The file to write; ends in .html, .md or .csv, which says what it is.",
)
@click.option("--markdown", is_flag=True, help="Markdown; without -o on standard output.")
@click.option(
    "--csv", "as_csv", is_flag=True, help="A row for each job; without -o on standard output."
)
@output_options
def cli(
    *,
    joblist_path: str,
    output: str | None,
    markdown: bool,
    as_csv: bool,
    verbosity: int,
    as_json: bool,
) -> int:
    """Write a report about a joblist, to be sent to other people.

    The HTML page is one file: totals, throughput, progress by field, causes of errors, how files
    were proven, when workers were at work, and a table of jobs. It needs the extra `report`. The
    joblist is only read. The exit code is 0 whatever the jobs' status.
    """
    from jobtool.api.report import report_text, write_report

    if markdown and as_csv:
        raise UsageError("expected --markdown or --csv; found both")
    form: Form | None = "markdown" if markdown else "csv" if as_csv else None
    console = Console(verbosity=verbosity, as_json=as_json)
    if output is None:
        if form is None:
            raise UsageError("expected -o report.html, --markdown or --csv; found none of them")
        if as_json:
            raise UsageError(f"expected -o FILE with --json; found --{form} alone")
        console.result(report_text(joblist_path, form)[0].removesuffix("\n"))
        return 0
    jobs = write_report(joblist_path, output, form=form)
    if as_json:
        console.print_json(ReportLine(event="report", jobs=jobs, output=quote(output)))
    console.note(f"Wrote a report about {jobs} job(s) to {quote(output)}.", DONE)
    return 0
