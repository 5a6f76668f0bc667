"""``jobtool retry``: jobs in error become ``todo`` again."""

from __future__ import annotations

import click

from jobtool.cli.console import Console
from jobtool.cli.options import (
    command,
    existing_path,
    input_options,
    job_option,
    output_options,
)
from jobtool.errors import UsageError


@command(name="jobtool retry", example="jobtool retry source08 --match 'Permission denied'")
@input_options()
@click.option("--only-errors", is_flag=True, help="Every job in error; what happens by default.")
@job_option
@click.option("--match", metavar="TEXT", help="Jobs in error whose reason contains this.")
@output_options
def cli(
    *,
    joblist_path: str,
    only_errors: bool,
    jobs: tuple[str, ...],
    match: str | None,
    verbosity: int,
    as_json: bool,
) -> int:
    """Put jobs back to todo, and say which.

    By default those in error. A job named by --job is put back whatever its status, if no worker is
    on it. Receipts stay: what is proven isn't sent again. The exit code is 1 if a job's file
    can't be read.
    """
    from jobtool.audit.events import PutBack
    from jobtool.audit.retry import Selection, retry_jobs
    from jobtool.jobs.joblist import JobList

    if (only_errors or match) and jobs:
        raise UsageError("expected either --job NAME or a choice among jobs in error; found both")
    console = Console(verbosity=verbosity, as_json=as_json)
    joblist = JobList.open(existing_path(joblist_path))
    selection = Selection(names=frozenset(jobs), match=match)
    put_back: set[str] = set()
    count = exit_code = 0
    for event in retry_jobs(joblist, selection):
        console.emit(event)
        if isinstance(event, PutBack):
            count += 1
        else:
            exit_code = max(exit_code, event.exit_code)
        put_back.add(event.job)
    missing = set(jobs) - put_back
    if missing:
        raise UsageError(
            f"job {min(missing)} was not put back: {joblist_path} has no such job, or it is "
            "todo already"
        )
    console.note(f"Put back {count} job(s).")
    return exit_code
