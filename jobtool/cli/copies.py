"""``jobtool copies``: how many copies items have."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from jobtool.cli.catalogoptions import catalog_options, line_of, values_of
from jobtool.cli.console import Console
from jobtool.cli.lines import ItemLine
from jobtool.cli.options import as_seconds, command, output_options
from jobtool.names import quote

if TYPE_CHECKING:
    from jobtool.catalog.copy import State
    from jobtool.catalog.counting import By


@command(
    name="jobtool copies",
    example="jobtool copies --less-than 2 --catalog s3://bucket/catalog",
    is_output_result=True,
)
@click.option(
    "--less-than",
    type=click.IntRange(1),
    metavar="N",
    help="Items with fewer present copies. Several in one location count once.",
)
@click.option(
    "--by",
    type=click.Choice(["location", "site"]),
    default="location",
    show_default=True,
    help="What --less-than counts: distinct locations, or distinct sites.",
)
@click.option("--site", metavar="SITE", help="Count and show only copies at this site.")
@click.option(
    "--state",
    type=click.Choice(["present", "missing", "damaged", "released"]),
    help="Items with a copy in this state.",
)
@click.option(
    "--older-than",
    metavar="AGE",
    callback=as_seconds,
    help="Items with a present copy that was last verified so long ago, such as 90d.",
)
@catalog_options
@output_options
def cli(
    *,
    less_than: int | None,
    by: By,
    site: str | None,
    state: State | None,
    older_than: float | None,
    catalog: str | None,
    sites: str | None,
    stores: dict[str, dict[str, str]],
    verbosity: int,
    as_json: bool,
) -> int:
    """Count the copies of items, by the catalog.

    Only present copies count. Each item has the number of distinct locations and sites that hold
    one. Items must fit all options. The copies themselves aren't looked at.
    """
    from jobtool.api.catalog import open_catalog, require_site
    from jobtool.catalog.counting import count_copies

    console = Console(verbosity=verbosity, as_json=as_json)
    opened = open_catalog(catalog, sites=sites, stores=stores)
    if site is not None:
        require_site(site, sites=sites)
    before = None if older_than is None else datetime.now(UTC) - timedelta(seconds=older_than)
    count = 0
    for item in count_copies(
        opened, less_than=less_than, by=by, site=site, state=state, verified_before=before
    ):
        count += 1
        if as_json:
            line = ItemLine(
                event="item",
                item=quote(item.item),
                locations=item.locations,
                sites=item.sites,
                copies=[values_of(copy) for copy in item.copies],
            )
            console.print_json(line)
            continue
        console.result(f"{quote(item.item)}  {item.locations} location(s), {item.sites} site(s)")
        for copy in item.copies if verbosity >= 2 else ():
            console.result(line_of(copy))
    if not count and opened.is_empty():
        console.note(f"{quote(opened.url)} holds no records. Is it the catalog?")
    else:
        console.note(f"{count} item(s).")
    return 0
