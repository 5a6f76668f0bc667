"""``jobtool refs``: a reference file by which zarr opens packages."""

from __future__ import annotations

import click

from jobtool.cli.console import DONE, Console
from jobtool.cli.lines import ReferencesLine
from jobtool.cli.options import command, output_options
from jobtool.cli.packageoptions import stores_option
from jobtool.names import quote


@command(
    name="jobtool refs",
    example="jobtool refs s3://bucket/plates-0001.tar -o refs.json --below plate7.zarr",
)
@click.argument("packages", nargs=-1, required=True, metavar="PACKAGE...")
@click.option("-o", "--output", required=True, metavar="FILE", help="The file to write, of JSON.")
@click.option(
    "--below",
    default="",
    metavar="FOLDER",
    help="Only the members below this folder, by their paths below it.",
)
@stores_option
@output_options
def cli(
    *,
    packages: tuple[str, ...],
    output: str,
    below: str,
    stores: dict[str, dict[str, str]],
    verbosity: int,
    as_json: bool,
) -> int:
    """Write a reference file, by which fsspec and zarr read packages without unpacking them.

    PACKAGE is the path or URL of a tar. The file has kerchunk's format, version 1: the URL, offset
    and size of each member.
    """
    from jobtool.api.packages import package_at, refer_to

    console = Console(verbosity=verbosity, as_json=as_json)
    opened = [package_at(package, stores=stores) for package in packages]
    count = refer_to(opened, output, below=below)
    if as_json:
        line = ReferencesLine(event="references", members=count, output=output)
        console.print_json(line)
    console.note(f"Wrote references to {count} members to {quote(output)}.", DONE)
    return 0
