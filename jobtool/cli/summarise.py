"""``summarise-jobs``: the state of a joblist."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from jobtool.cli.console import DONE, FAILED, INFO, WARNING, Console
from jobtool.cli.options import command, input_options, output_options
from jobtool.cli.utf8 import ensure_utf8
from jobtool.names import quote

if TYPE_CHECKING:
    from rich.table import Table

    from jobtool.report.bystep import StepLine
    from jobtool.report.causes import Cause
    from jobtool.report.jobline import JobLine
from jobtool.report.summary import Summary

#: How many jobs of one cause are named.
_NAMED = 3


@command(
    name="summarise-jobs",
    example="summarise-jobs -i source08 --json | jq .error",
    is_output_result=True,
)
@input_options()
@output_options
def cli(*, joblist_path: str, verbosity: int, as_json: bool) -> int:
    """Read the job files of a joblist and report.

    It groups jobs in error or invalid by cause, and names ongoing jobs that no running worker seems
    to hold; with -v 2 it names every job. It only reads.
    """
    from jobtool.api.places import opened
    from jobtool.api.summarise import summarise_jobs

    console = Console(verbosity=verbosity, as_json=as_json)
    joblist = opened(joblist_path)
    console.note(f"Valid input path: {quote(joblist.path)}")
    console.note("Dry run: disabled")
    console.note(f"Verbosity level: {verbosity}")
    summary = summarise_jobs(joblist)
    if as_json:
        from jobtool.report.causes import causes_of

        causes = [cause.json() for cause in causes_of(summary.needing_attention)]
        console.print_json({**summary.json(), "causes": causes})
    else:
        _print(summary, console)
    return summary.exit_code


def _print(summary: Summary, console: Console) -> None:
    from jobtool.jobs.job import JobStatus
    from jobtool.report.causes import causes_of

    console.note(f"Found {len(summary.jobs)} job file(s).")
    if console.verbosity >= 2:
        if summary.jobs:
            _print_jobs(summary)
    else:
        for cause in causes_of(summary.needing_attention):
            _print_cause(cause, console)
        if summary.abandoned:
            console.result(
                f"{WARNING} {len(summary.abandoned)} ongoing job(s) that no worker seems to hold; "
                "the next worker takes them over:"
            )
            for job in summary.abandoned[:_NAMED]:
                console.result(f"  {quote(job.job)} ({job.note})")
            _print_rest(len(summary.abandoned), console)
    if steps := summary.package_steps:
        _print_steps(steps)
    # At the end, where a person looks first.
    console.result(f"{INFO} Total jobs: {len(summary.jobs)}")
    for symbol, word, status in (
        (INFO, "Todo", JobStatus.TODO),
        (INFO, "Ongoing", JobStatus.ONGOING),
        (DONE, "Success", JobStatus.SUCCESS),
        (FAILED, "Error", JobStatus.ERROR),
    ):
        console.result(f"{symbol} {word} jobs: {summary.count(status)}")
    if summary.rows_done is not None:
        of = "" if summary.rows_total is None else f" of {summary.rows_total:,}"
        console.result(f"{INFO} Rows of finished jobs: {summary.rows_done:,}{of}")
    if summary.waiting:
        files = sum(job.waiting_files for job in summary.waiting)
        console.result(
            f"{INFO} Todo jobs that wait for {files} file(s) that can't be read yet: "
            f"{len(summary.waiting)}, as {quote(summary.waiting[0].job)}: {summary.waiting[0].note}"
        )
    if summary.count(None):
        console.result(f"{WARNING} Invalid jobs: {summary.count(None)}")
    if summary.needing_newer:
        why = summary.needing_newer[0]
        console.result(
            f"{WARNING} Jobs that need a newer version: {len(summary.needing_newer)}, as "
            f"{quote(why.job)}: {why.note}"
        )
    if summary.count(JobStatus.ERROR):
        again = f"jobtool retry {shlex.quote(summary.path)}"
        console.result(f"{INFO} To try them again once that is fixed: {again}")


def _print_cause(cause: Cause, console: Console) -> None:
    symbol = FAILED if cause.status == "error" else WARNING
    what = "invalid: " if cause.status == "invalid" else ""
    if cause.requires_intervention:
        what += "requires intervention: "
    if len(cause.jobs) == 1:
        console.result(f"{symbol} {quote(cause.jobs[0])}: {what}{cause.text}")
        return
    console.result(f"{symbol} {len(cause.jobs)} jobs: {what}{cause.text}")
    for job in cause.jobs[:_NAMED]:
        console.result(f"  {quote(job)}")
    _print_rest(len(cause.jobs), console)


def _print_rest(count: int, console: Console) -> None:
    if count > _NAMED:
        console.result(f"  and {count - _NAMED} more (-v 2 shows all)")


def _print_jobs(summary: Summary) -> None:
    from rich.text import Text

    rows = ("rows",) if summary.is_export else ()
    routes = ("route",) if any(job.package for job in summary.jobs) else ()
    headings = ("job", "status", "files", *rows, *routes, "note")
    table = _table_of(headings, folding=("job", "note"))
    for job in summary.jobs:
        files = "" if job.files_total is None else f"{job.files_done}/{job.files_total}"
        note = f"requires intervention: {job.note}" if job.requires_intervention else job.note
        counted = (_rows_text(job),) if summary.is_export else ()
        route = job.package.route if job.package is not None else None
        taken = (quote(route) if route else "",) if routes else ()
        row = (quote(job.job), job.status or "invalid", files, *counted, *taken, note)
        table.add_row(*(Text(cell) for cell in row))
    _print_table(table)


def _table_of(headings: tuple[str, ...], *, folding: tuple[str, ...]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(heading, no_wrap=heading not in folding, overflow="fold")
    return table


def _print_table(table: Table) -> None:
    from rich.console import Console as RichConsole

    console = RichConsole(highlight=False)
    if not console.is_terminal:
        console.width = 10_000  # no wrapping for grep
    console.print(table)


def _print_steps(steps: list[StepLine]) -> None:
    from rich.text import Text

    from jobtool.units import size_text

    headings = ("step", "route", "done", "bytes", "ongoing", "error", "waiting", "for other sites")
    table = _table_of(headings, folding=("route",))
    for line in steps:
        counts = (line.ongoing, line.error, line.waiting, line.elsewhere)
        done = (f"{line.done}/{line.jobs}", size_text(line.bytes_done) if line.bytes_done else "")
        cells = (line.step, quote(line.route) if line.route else "", *done)
        table.add_row(*map(Text, (*cells, *(str(count or "") for count in counts))))
    _print_table(table)


def _rows_text(job: JobLine) -> str:
    if job.rows_done is None:
        return "" if job.rows_total is None else f"0/{job.rows_total:,}"
    total = "?" if job.rows_total is None else f"{job.rows_total:,}"
    return f"{job.rows_done:,}/{total}"


def main() -> None:
    """Run the command."""
    ensure_utf8()
    cli()
