"""``jobtool cat``: the bytes of members of a package."""

from __future__ import annotations

import sys

import click

from jobtool.cli import streams
from jobtool.cli.options import command
from jobtool.cli.packageoptions import package_argument, stores_option, warn_of
from jobtool.cli.version import version_option
from jobtool.names import quote


@command(
    name="jobtool cat",
    example="jobtool cat s3://bucket/plates-0001.tar plate7.zarr/zarr.json",
    is_output_result=True,
)
@package_argument
@click.argument("members", nargs=-1, required=True, metavar="MEMBER...")
@stores_option
@version_option
def cli(*, package: str, members: tuple[str, ...], stores: dict[str, dict[str, str]]) -> int:
    """Write members of a package to standard output, by reading just their bytes.

    PACKAGE is the path or URL of a tar. MEMBER is a path, a folder, or a pattern of *, ?, [...] and
    ** (any number of folders). Each member is compared with the index once all of it was written:
    exit code 1 says that the output isn't right.
    """
    from jobtool.api.packages import package_at, read_members

    opened = package_at(package, stores=stores)
    for data in read_members(opened, members):
        sys.stdout.buffer.write(data)
        if streams.why_lost() is not None:
            break  # nobody reads it
    sys.stdout.flush()
    if opened.index_entry is None:
        warn_of(f"{quote(opened.url)} has no index: what was written isn't proven.")
    return 0
