"""``jobtool verify``: checks that the destination still holds what was sent."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator

import click

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
    name="jobtool verify", example="jobtool verify source08 --deep --repair", is_output_result=True
)
@input_options(
    name="path",
    metavar="JOBLIST|TABLE.parquet",
    help_text="The joblist, or a table that jobtool receipts wrote.",
)
@job_option
@click.option(
    "--deep",
    is_flag=True,
    help="Read every file again and compare its MD5, or its checksum if its receipt has no MD5.",
)
@click.option(
    "--repair",
    is_flag=True,
    help="Put jobs with findings to todo, so that a worker sends what is missing or changed.",
)
@click.option(
    "--threads", type=click.IntRange(1, 256), default=16, show_default=True, help="Reads at a time."
)
@click.option(
    "--sample",
    metavar="N%|N",
    help="Only a random part of the files, such as 1%, or a number of them.",
)
@click.option(
    "--seed", metavar="TEXT", help="Draw the sample by this, to draw it again. [today's date, UTC]"
)
@trust_option
@output_options
def cli(
    *,
    path: str,
    jobs: tuple[str, ...],
    deep: bool,
    repair: bool,
    threads: int,
    sample: str | None,
    seed: str | None,
    trust: bool,
    verbosity: int,
    as_json: bool,
) -> int:
    """Compare the destination with the receipts: what is missing, changed or extra.

    Without --deep it compares the destination's listing: presence, size, ETag. A table that
    `jobtool receipts` wrote needs neither the joblist nor the source. With --sample it looks at
    other files each day, one by one, and doesn't find extra ones; with --deep as well it reads
    single members of packages. The exit code is 1 if there is any finding, 3 if there is none but
    some jobs aren't finished.
    """
    from jobtool.api.places import existing_path
    from jobtool.api.verify import audit

    console = Console(verbosity=verbosity, as_json=as_json)
    found = existing_path(path)
    is_table = os.path.isfile(found)
    place = found if is_table else open_trusted(found, trust=trust, warn=console.note)
    with _watching(console) as watch:
        return audit(
            place,
            console.emit,
            jobs=jobs,
            deep=deep,
            repair=repair,
            threads=threads,
            sample=sample,
            seed=seed,
            watch=watch,
        ).exit_code


@contextlib.contextmanager
def _watching(console: Console) -> Iterator[Callable[[int], None] | None]:
    """Show on a terminal how many files were read."""
    if console.as_json or console.verbosity == 0 or not sys.stdout.isatty():
        yield None
        return
    from jobtool.cli.display import CountDisplay

    with CountDisplay("files read") as display:
        console.write = display.write
        try:
            yield display.show
        finally:
            console.write = None
