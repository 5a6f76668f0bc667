"""``jobtool stop``: workers end, or some jobs are given up."""

from __future__ import annotations

from jobtool.cli.choosing import choice_options
from jobtool.cli.console import Console
from jobtool.cli.options import command, dry_run_option, input_options, output_options


@command(name="jobtool stop", example="jobtool stop source08")
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
    """Have the workers of a joblist that are running now end, or stop some of its jobs for good.

    Workers notice within seconds, also in the middle of a large file: they finish the parts in
    progress, hand their jobs back and end with exit code 3. Workers that start later aren't
    concerned. With --job or --match these jobs become error, until jobtool retry, and workers go on
    with others. Nothing that has arrived is sent again.
    """
    from jobtool.api.steer import stop_jobs

    console = Console(verbosity=verbosity, as_json=as_json)
    stop_jobs(joblist_path, jobs=jobs, match=match, dry_run=dry_run, on_event=console.emit)
    return 0
