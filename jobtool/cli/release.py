"""``jobtool release``: frees the sources of what has been moved."""

from __future__ import annotations

import click

from jobtool.cli.console import Console
from jobtool.cli.options import (
    NumberRange,
    command,
    dry_run_option,
    input_options,
    job_option,
    open_trusted,
    output_options,
    trust_option,
)
from jobtool.errors import UsageError


@command(name="jobtool release", example="jobtool release source08 --yes", is_output_result=True)
@input_options()
@job_option
@click.option("--yes", is_flag=True, help="Do it. Without it, nothing is changed.")
@dry_run_option
@click.option(
    "--empty-trash",
    is_flag=True,
    help="Only remove what has been in the trash for as long as it was to be kept.",
)
@click.option(
    "--keep-days",
    type=NumberRange(0, 36500),
    default=30,
    show_default=True,
    help="How long the files of this release stay in the trash.",
)
@click.option(
    "--trash",
    metavar="FOLDER",
    help="The trash, on the filesystem or in the bucket of the source. By default .jobtool-trash "
    "beside the source.",
)
@click.option(
    "--deep", is_flag=True, help="Read every destination again, even if its store has digests."
)
@click.option(
    "--threads", type=click.IntRange(1, 256), default=8, show_default=True, help="Reads at a time."
)
@trust_option
@output_options
def cli(
    *,
    joblist_path: str,
    jobs: tuple[str, ...],
    yes: bool,
    dry_run: bool,
    empty_trash: bool,
    keep_days: float,
    trash: str | None,
    deep: bool,
    threads: int,
    trust: bool,
    verbosity: int,
    as_json: bool,
) -> int:
    """List the source files of finished jobs that may be removed; with --yes remove them.

    Each file is read again and compared with its receipt, and its copy at each destination is
    looked at now. What is unchanged and proven goes to a trash folder; later calls remove it from
    there, after the same proof, once --keep-days have passed. All else stays, with the reason; the
    exit code is then 1. Every deletion is recorded in the joblist, in deletions/. A joblist that
    others could have written needs --trust.
    """
    from jobtool.api.release import release_jobs

    if yes and dry_run:
        raise UsageError("expected either --yes or --dry-run; found both. Try --help.")
    console = Console(verbosity=verbosity, as_json=as_json)
    joblist = open_trusted(joblist_path, trust=trust, warn=console.note)
    released = release_jobs(
        joblist,
        jobs=jobs,
        remove=yes,
        only_trash=empty_trash,
        keep_days=keep_days,
        trash=trash,
        deep=deep,
        threads=threads,
        trust=trust,
        on_event=console.emit,
    )
    if not yes and (released.files or released.removed):
        is_of_packages = joblist.settings.packages is not None and not released.removed
        how = "Workers do it, once what comes before is done" if is_of_packages else None
        console.note(f"Nothing was changed. {how or 'Do it with --yes'}.")
    elif not (released.jobs or released.stays or released.waits):
        console.note("There is nothing to release.")
    return released.exit_code
