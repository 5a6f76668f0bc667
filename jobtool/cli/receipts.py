"""``jobtool receipts``: one verification table of all jobs."""

from __future__ import annotations

import click

from jobtool.cli.console import DONE, Console
from jobtool.cli.lines import ReceiptsLine
from jobtool.cli.options import command, input_options, output_options
from jobtool.names import quote


@command(name="jobtool receipts", example="jobtool receipts source08 -o source08.parquet")
@input_options()
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE",
    help="The table to write; ends in .parquet or .csv.",
)
@output_options
def cli(*, joblist_path: str, output: str, verbosity: int, as_json: bool) -> int:
    """Merge the receipts of all jobs into one table, for the archive.

    `jobtool verify` can check a destination against it years later.
    """
    from jobtool.api.receipts import write_receipts

    console = Console(verbosity=verbosity, as_json=as_json)
    count = write_receipts(joblist_path, output)
    if as_json:
        console.print_json(ReceiptsLine(event="receipts", files=count, output=output))
    console.note(f"Wrote {count} receipt(s) to {quote(output)}.", DONE)
    return 0
