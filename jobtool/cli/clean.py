"""``jobtool clean``: what workers left unfinished."""

from __future__ import annotations

import click

from jobtool.cli.console import Console
from jobtool.cli.options import (
    command,
    input_options,
    open_trusted,
    output_options,
    trust_option,
)


@command(name="jobtool clean", example="jobtool clean source08 --yes", is_output_result=True)
@input_options()
@click.option("--yes", is_flag=True, help="Remove what is found instead of listing it.")
@trust_option
@output_options
def cli(*, joblist_path: str, yes: bool, trust: bool, verbosity: int, as_json: bool) -> int:
    """List unfinished uploads and temporary files of this joblist; with --yes remove them.

    It touches only what belongs to this joblist, and no job that a worker holds. What is removed is
    sent again when its job is taken up. What can't be looked at is named; the exit code is then 1,
    or 4 if it is a whole store.
    """
    from jobtool.api.clean import clean_jobs

    console = Console(verbosity=verbosity, as_json=as_json)
    joblist = open_trusted(joblist_path, trust=trust, warn=console.note)
    cleaned = clean_jobs(joblist, remove=yes, on_event=console.emit)
    count = len(cleaned.leftovers)
    hint = " Remove them with --yes." if count and not yes else ""
    console.note(f"{'Removed' if yes else 'Found'} {count} leftover(s).{hint}")
    return cleaned.exit_code
