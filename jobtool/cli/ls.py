"""``jobtool ls``: the members of a package."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import click

from jobtool.cli.console import DONE, Console
from jobtool.cli.lines import MemberLine, ReindexedLine
from jobtool.cli.options import command, output_options
from jobtool.cli.packageoptions import (
    members_argument,
    package_argument,
    stores_option,
    warn,
    warn_of,
)
from jobtool.names import quote

if TYPE_CHECKING:
    from jobtool.packages.index import IndexRow


@command(
    name="jobtool ls",
    example="jobtool ls -l s3://bucket/plates-0001.tar 'plate7.zarr/**/zarr.json'",
    is_output_result=True,
)
@package_argument
@members_argument
@click.option("-l", "--long", "is_long", is_flag=True, help="Mode, size, time and MD5 of each.")
@click.option(
    "--reindex",
    "is_reindexed",
    is_flag=True,
    help="Read the whole tar first, and write its index beside it.",
)
@stores_option
@output_options
def cli(
    *,
    package: str,
    members: tuple[str, ...],
    is_long: bool,
    is_reindexed: bool,
    stores: dict[str, dict[str, str]],
    verbosity: int,
    as_json: bool,
) -> int:
    """List the members of a package, a tar with an index, without fetching it.

    PACKAGE is the path or URL of the tar. MEMBER is a path, a folder, or a pattern of *, ?, [...]
    and ** (any number of folders). A tar without an index is read for its headers.
    """
    from jobtool.api.packages import list_members, package_at, reindex_package

    console = Console(verbosity=verbosity, as_json=as_json)
    opened = package_at(package, stores=stores, has_index=not is_reindexed)
    if is_reindexed:
        count = reindex_package(opened, stores=stores, on_event=warn)
        if as_json:
            line = ReindexedLine(event="reindexed", package=opened.url, members=count)
            console.print_json(line)
        console.note(f"Wrote the index of {quote(opened.url)}: {count} members.", DONE)
        if not members and not is_long:
            return 0
        opened = package_at(package, stores=stores)
    for row in list_members(opened, members, on_event=warn):
        if as_json:
            console.print_json(_values(row))
        else:
            console.result(_line(row) if is_long else quote(row.path))
    if opened.index_entry is None and verbosity:
        warn_of(f"{quote(opened.url)} has no index. jobtool ls --reindex makes one.")
    return 0


def _values(row: IndexRow) -> MemberLine:
    return {
        "event": "member",
        "member": quote(row.path),
        "offset": row.offset,
        "size": row.size,
        "md5": row.md5 or None,
        "mtime_ns": row.mtime_ns,
        "mode": row.mode,
    }


def _line(row: IndexRow) -> str:
    from datetime import UTC, datetime, timedelta

    try:
        time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=row.mtime_ns // 10**9)
        when = f"{time:%Y-%m-%dT%H:%M:%SZ}"
    except OverflowError:
        when = str(row.mtime_ns)
    mode = stat.filemode(stat.S_IFREG | row.mode)
    return f"{mode} {row.size:>12} {when} {row.md5 or '-' * 32} {quote(row.path)}"
