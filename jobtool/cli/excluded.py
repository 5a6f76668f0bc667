"""``jobtool excluded``: what a joblist's filters leave out."""

from __future__ import annotations

from jobtool.cli.console import Console
from jobtool.cli.options import (
    command,
    input_options,
    job_option,
    open_trusted,
    output_options,
    trust_option,
)


@command(
    name="jobtool excluded", example="jobtool excluded source08 --job a", is_output_result=True
)
@input_options()
@job_option
@trust_option
@output_options
def cli(
    *, joblist_path: str, jobs: tuple[str, ...], trust: bool, verbosity: int, as_json: bool
) -> int:
    """List what the joblist's filters leave out of its source, with the rule that decides.

    The source is listed again, since job files only count what is left out: so this tells what is
    there now. A folder that is left out isn't opened, and is one line. With -v 0 only the counts by
    rule are printed. The exit code is 1 if a folder couldn't be looked into.
    """
    from jobtool.api.excluded import find_excluded

    console = Console(verbosity=verbosity, as_json=as_json)
    joblist = open_trusted(joblist_path, trust=trust, warn=console.note)
    return find_excluded(joblist, jobs=jobs, on_event=console.emit).exit_code
