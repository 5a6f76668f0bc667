"""``jobtool get``: members of a package as files."""

from __future__ import annotations

import click

from jobtool.cli.console import Console
from jobtool.cli.options import command, output_options
from jobtool.cli.packageoptions import (
    members_argument,
    package_argument,
    stores_option,
    warn_of,
)
from jobtool.errors import UsageError
from jobtool.names import quote
from jobtool.packages.unpacking import DEFAULT_THREADS


@command(
    name="jobtool get",
    example="jobtool get s3://bucket/plates-0001.tar 'plate7.zarr' -d results",
)
@package_argument
@members_argument
@click.option("--all", "is_all", is_flag=True, help="All members.")
@click.option(
    "-d",
    "--destination",
    required=True,
    metavar="FOLDER",
    help="The folder, or the URL, to unpack into. Members keep their paths below it.",
)
@click.option(
    "--no-replace",
    is_flag=True,
    help="A file that is there with other bytes is an error. By default it is replaced.",
)
@click.option("--bag", "as_bag", is_flag=True, help="Make FOLDER a BagIt bag, with data/.")
@click.option(
    "--threads",
    type=click.IntRange(1, 256),
    default=DEFAULT_THREADS,
    show_default=True,
    help="Members that are written at a time.",
)
@stores_option
@output_options
def cli(
    *,
    package: str,
    members: tuple[str, ...],
    is_all: bool,
    destination: str,
    no_replace: bool,
    as_bag: bool,
    threads: int,
    stores: dict[str, dict[str, str]],
    verbosity: int,
    as_json: bool,
) -> int:
    """Unpack members of a package, each proven against the index before it has its name.

    PACKAGE is the path or URL of a tar. MEMBER is a path, a folder, or a pattern of *, ?, [...] and
    ** (any number of folders). Run it again after a kill: members that are there are compared by
    MD5. Metadata of zarr comes last, once all data is there.
    """
    from jobtool.api.packages import get_members, package_at

    if is_all == bool(members):
        found = "both" if is_all else "neither"
        raise UsageError(f"expected either MEMBER or --all; found {found}. Try --help.")
    console = Console(verbosity=verbosity, as_json=as_json)
    opened = package_at(package, stores=stores)
    if opened.index_entry is None and verbosity:
        warn_of(
            f"{quote(opened.url)} has no index: its members are proven against what is read of "
            "them only. jobtool ls --reindex makes one."
        )
    done = get_members(
        opened,
        destination,
        members,
        stores=stores,
        threads=threads,
        may_replace=not no_replace,
        as_bag=as_bag,
        on_event=console.emit,
    )
    console.emit(done)
    return done.exit_code
