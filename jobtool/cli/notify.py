"""``jobtool notify``: tells people what is due of a joblist; for cron."""

from __future__ import annotations

import click

from jobtool.cli.console import Console
from jobtool.cli.options import (
    command,
    dry_run_option,
    input_options,
    open_trusted,
    output_options,
    trust_option,
)


@command(name="jobtool notify", example="jobtool notify source08 --test")
@input_options()
@click.option("--test", is_flag=True, help="Send a test message now, and say whether that worked.")
@trust_option
@dry_run_option
@output_options
def cli(
    *, joblist_path: str, test: bool, trust: bool, dry_run: bool, verbosity: int, as_json: bool
) -> int:
    """Tell people what is due by [notify] of joblist.toml and wasn't told yet.

    Workers tell by themselves. This command is for cron: it also tells that no worker is left
    though work is, and what a killed worker couldn't tell. The exit code is 4 if a message couldn't
    be sent.
    """
    from jobtool.api.notify import send_notices

    console = Console(verbosity=verbosity, as_json=as_json)
    joblist = open_trusted(joblist_path, trust=trust, warn=console.note)
    told = send_notices(joblist, test=test, dry_run=dry_run, on_event=console.emit)
    for notice in told.due:
        console.emit(notice)
    if not (told.sent or told.failed or told.due):
        console.note("Nothing is due.")
    return told.exit_code
