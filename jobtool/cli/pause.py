"""``jobtool pause``: workers wait, or leave some jobs alone."""

from __future__ import annotations

from jobtool.cli.choosing import choice_options
from jobtool.cli.console import Console
from jobtool.cli.options import command, dry_run_option, input_options, output_options


@command(name="jobtool pause", example="jobtool pause source08 --match 'plate1*'")
@input_options()
@choice_options
@dry_run_option
@output_options
def cli(
    *,
    joblist_path: str,
    jobs: tuple[str, ...] | None,
    match: tuple[str, ...] | None,
    dry_run: bool,
    verbosity: int,
    as_json: bool,
) -> int:
    """Have the workers of a joblist wait until jobtool resume, or leave some of its jobs alone.

    Workers that are running notice within seconds, also in the middle of a large file: they finish
    the parts in progress, hand their jobs back and wait, until they are resumed or stopped, or
    until their time is up. Workers that start later wait, too. With --job or --match only these
    jobs are handed back and left alone, and workers go on with others. Nothing that has arrived is
    sent again.
    """
    from jobtool.api.steer import pause_jobs

    console = Console(verbosity=verbosity, as_json=as_json)
    pause_jobs(joblist_path, jobs=jobs, match=match, dry_run=dry_run, on_event=console.emit)
    return 0
