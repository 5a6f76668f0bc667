"""``jobtool where``: where the copies of items are."""

from __future__ import annotations

import click

from jobtool.cli.catalogoptions import catalog_options, line_of, values_of
from jobtool.cli.console import Console, print_error
from jobtool.cli.lines import CopyLine
from jobtool.cli.options import command, output_options
from jobtool.names import quote


@command(
    name="jobtool where",
    example="jobtool where 2026-02-01/scan_07 --catalog s3://bucket/catalog",
    is_output_result=True,
)
@click.argument("items", nargs=-1, required=True, metavar="ITEM...")
@catalog_options
@output_options
def cli(
    *,
    items: tuple[str, ...],
    catalog: str | None,
    sites: str | None,
    stores: dict[str, dict[str, str]],
    verbosity: int,
    as_json: bool,
) -> int:
    """Say where the copies of items are, by the catalog.

    It shows the newest record of each copy: present, missing, damaged or released. The copies
    themselves aren't looked at. The exit code is 1 if an item isn't in the catalog.
    """
    from jobtool.api.catalog import open_catalog
    from jobtool.staging.lacking import near_names

    console = Console(verbosity=verbosity, as_json=as_json)
    opened = open_catalog(catalog, sites=sites, stores=stores)
    shown: str | None = None
    found = set()
    for copy in opened.copies(items):
        found.add(copy.item)
        if as_json:
            line: CopyLine = {"event": "copy", **values_of(copy)}
            console.print_json(line)
            continue
        if copy.item != shown:
            console.result(quote(copy.item))
            shown = copy.item
        console.result(line_of(copy))
    lacking = [item for item in dict.fromkeys(items) if item not in found]
    meant = near_names(opened, lacking) if lacking else {}
    for item in lacking:
        hint = f" Did you mean {quote(meant[item])}?" if item in meant else ""
        where = quote(opened.url)
        print_error(f"{quote(item)}: no copy is on record in the catalog {where}.{hint}")
    if not found and opened.is_empty():
        print_error(f"{quote(opened.url)} holds no records. Is it the catalog?")
    return 1 if lacking else 0
