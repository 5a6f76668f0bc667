"""``jobtool receipts``: the receipts of all jobs, as a table or for other programs to check."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from jobtool.cli.console import DONE, Console
from jobtool.cli.lines import ReceiptsLine
from jobtool.cli.options import (
    command,
    input_options,
    job_option,
    open_trusted,
    output_options,
    trust_option,
)
from jobtool.errors import UsageError
from jobtool.names import quote

if TYPE_CHECKING:
    from jobtool.api.places import Place
    from jobtool.api.receipts import ReceiptFormat
    from jobtool.jobs.joblist import JobList


@command(name="jobtool receipts", example="jobtool receipts source08 -o source08.parquet")
@input_options()
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE",
    help="The file to write; a table's name ends in .parquet or .csv. With --format bagit, the "
    "folder of the bag.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "md5sum", "sha256sum", "bagit"]),
    default="table",
    show_default=True,
    help="A table of all receipts; lines for md5sum -c or sha256sum -c; or the files that make a "
    "folder a BagIt bag.",
)
@job_option
@click.option(
    "--relative-to",
    metavar="URL",
    help="The folder that names in these lines or the bag are relative to. "
    "[default: the joblist's destination, or that of the one --job]",
)
@click.option(
    "--read",
    "is_read",
    is_flag=True,
    help="Read each file at the destination whose receipt lacks the digest, as all do for "
    "sha256sum. Its MD5 must be that of its receipt.",
)
@trust_option
@output_options
def cli(
    *,
    joblist_path: str,
    output: str,
    form: ReceiptFormat,
    jobs: tuple[str, ...],
    relative_to: str | None,
    is_read: bool,
    trust: bool,
    verbosity: int,
    as_json: bool,
) -> int:
    """Write the receipts of all jobs, for the archive or for other programs.

    `jobtool verify` can check a destination against the table years later. `md5sum -c`, in the
    folder that names are relative to, checks it without jobtool.
    """
    from jobtool.api.receipts import write_checksums, write_receipts

    console = Console(verbosity=verbosity, as_json=as_json)
    if form == "table":
        if jobs or relative_to is not None or is_read:
            raise UsageError(
                "--job, --relative-to and --read: expected --format md5sum, sha256sum or bagit; "
                "found a table, which has all receipts with whole paths"
            )
        count = write_receipts(joblist_path, output)
    else:
        # Without reading, no store is opened and no command is run.
        joblist: Place | JobList = joblist_path
        if is_read:
            joblist = open_trusted(joblist_path, trust=trust, warn=console.note)
        count = write_checksums(
            joblist, output, format=form, jobs=jobs, relative_to=relative_to, read=is_read
        )
    if as_json:
        console.print_json(ReceiptsLine(event="receipts", files=count, output=output, format=form))
    console.note(f"Wrote {count} receipt(s) to {quote(output)}.", DONE)
    return 0
