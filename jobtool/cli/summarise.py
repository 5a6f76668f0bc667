"""``summarise-jobs``: what a joblist says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobtool.cli.console import DONE, FAILED, INFO, WARNING, Console
from jobtool.cli.options import command, existing_path, joblist_option, output_options
from jobtool.names import quote

if TYPE_CHECKING:
    from jobtool.report.summary import JobLine, Summary


@command(
    name="summarise-jobs",
    example="summarise-jobs -i source08 --json | jq .error",
    is_output_result=True,
)
@joblist_option
@output_options
def cli(*, joblist_path: str, verbosity: int, as_json: bool) -> int:
    """Read the job files of a joblist and report.

    Names every job that is in error or invalid, with the reason; with -v 2 every job. Only reads.
    """
    from jobtool.jobs.joblist import JobList
    from jobtool.report.summary import summarise

    console = Console(verbosity=verbosity, as_json=as_json)
    joblist = JobList.open(existing_path(joblist_path))
    console.note(f"Valid input path: {quote(joblist.path)}")
    console.note("Dry run: disabled")
    console.note(f"Verbosity level: {verbosity}")
    summary = summarise(joblist)
    if as_json:
        console.print_json(summary.json())
    else:
        _print(summary, console)
    return summary.exit_code


def _print(summary: Summary, console: Console) -> None:
    from jobtool.jobs.job import JobStatus

    console.note(f"Found {len(summary.jobs)} job file(s).")
    console.result(f"{INFO} Total jobs: {len(summary.jobs)}")
    for symbol, word, status in (
        (INFO, "Todo", JobStatus.TODO),
        (INFO, "Ongoing", JobStatus.ONGOING),
        (DONE, "Success", JobStatus.SUCCESS),
        (FAILED, "Error", JobStatus.ERROR),
    ):
        console.result(f"{symbol} {word} jobs: {summary.count(status)}")
    if summary.count(None):
        console.result(f"{WARNING} Invalid jobs: {summary.count(None)}")
    listed = summary.jobs if console.verbosity >= 2 else summary.needing_attention
    if listed:
        _print_jobs(listed)


def _print_jobs(jobs: tuple[JobLine, ...]) -> None:
    from rich.console import Console as RichConsole
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("job", "status", "files", "note"):
        table.add_column(heading, no_wrap=heading in ("status", "files"), overflow="fold")
    for job in jobs:
        files = "" if job.files_total is None else f"{job.files_done}/{job.files_total}"
        note = f"requires intervention: {job.note}" if job.requires_intervention else job.note
        row = (quote(job.job), job.status or "invalid", files, note)
        table.add_row(*(Text(cell) for cell in row))
    console = RichConsole(highlight=False)
    if not console.is_terminal:
        console.width = 10_000  # no wrapping for grep
    console.print(table)


def main() -> None:
    """Run the command."""
    cli()
