"""``jobtool retry``: jobs in error become ``todo`` again."""

from __future__ import annotations

import click

from jobtool.cli.console import Console
from jobtool.cli.options import (
    comma_separated,
    command,
    input_options,
    job_option,
    output_options,
)
from jobtool.errors import UsageError


@command(name="jobtool retry", example="jobtool retry source08 --match 'Permission denied'")
@input_options()
@click.option("--only-errors", is_flag=True, help="Every job in error. This is the default.")
@job_option
@click.option("--match", metavar="TEXT", help="Jobs in error whose reason contains TEXT.")
@click.option(
    "--step",
    "steps",
    metavar="STEPS",
    callback=comma_separated,
    help="Only jobs at one of these steps, such as unpack,archive.",
)
@output_options
def cli(
    *,
    joblist_path: str,
    only_errors: bool,
    jobs: tuple[str, ...],
    match: str | None,
    steps: tuple[str, ...] | None,
    verbosity: int,
    as_json: bool,
) -> int:
    """Put jobs back to todo, and print which.

    By default, all jobs in error. A job named by --job is put back whatever its status, unless a
    worker holds it. With --step, only the jobs of these steps of packages, or whose chain of steps
    failed at one of them; the steps before aren't done again. Receipts stay: what is proven isn't
    sent again. The exit code is 1 if a job
    file can't be read.
    """
    from jobtool.api.retry import retry_jobs

    if (only_errors or match) and jobs:
        raise UsageError("expected either --job NAME or a choice among jobs in error; found both")
    console = Console(verbosity=verbosity, as_json=as_json)
    retried = retry_jobs(
        joblist_path, jobs=jobs, match=match, steps=steps or (), on_event=console.emit
    )
    console.note(f"Put back {len(retried.put_back)} job(s).")
    return retried.exit_code
