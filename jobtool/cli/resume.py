"""``jobtool resume``: workers go on after a pause."""

from __future__ import annotations

from jobtool.cli.choosing import choice_options
from jobtool.cli.console import Console
from jobtool.cli.options import command, dry_run_option, input_options, output_options


@command(name="jobtool resume", example="jobtool resume source08")
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
    """End the pause of a joblist and of all its jobs; with --job or --match, of these jobs."""
    from jobtool.api.steer import resume_jobs

    console = Console(verbosity=verbosity, as_json=as_json)
    resume_jobs(joblist_path, jobs=jobs, match=match, dry_run=dry_run, on_event=console.emit)
    return 0
