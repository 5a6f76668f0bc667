"""How many copies items have, and which items have too few."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Literal

import msgspec

from jobtool.catalog.catalog import Catalog
from jobtool.catalog.copy import Copy, State
from jobtool.catalog.recordfile import copies_of
from jobtool.names import quote

if TYPE_CHECKING:
    import pyarrow as pa

By = Literal["location", "site"]


class ItemCopies(msgspec.Struct, frozen=True, kw_only=True):
    """An item, its copies in any state, and where present ones are.

    ``locations`` and ``sites`` count the distinct locations, and the distinct sites, of copies that
    are present: two in one location count once.
    """

    item: str
    copies: tuple[Copy, ...]
    locations: int
    sites: int


def count_copies(
    catalog: Catalog,
    *,
    less_than: int | None = None,
    by: By = "location",
    site: str | None = None,
    state: State | None = None,
    verified_before: datetime | None = None,
) -> Iterator[ItemCopies]:
    """Yield the items of a catalog with their copies, sorted: those that fit all that is asked.

    - ``less_than``: it has fewer present copies, counted by distinct locations or sites.
    - ``site``: only copies at this site count and are looked at, also 0 of them.
    - ``state``: some copy is in this state.
    - ``verified_before``: some present copy was last verified before this time.

    Bounded memory. Raises the errors of ``Catalog.copies``.
    """
    for table in catalog.tables():
        groups = _counted(table, site)
        fits = _fits(table, groups, less_than, by, site, state, verified_before)
        groups = groups.filter(fits)
        copies = copies_of(_rows(table, groups))
        held = next(copies, None)
        counts = (groups[name].to_pylist() for name in ("item", "locations", "sites"))
        for item, locations, sites in zip(*counts, strict=True):
            found: list[Copy] = []
            while held is not None and quote(held.item) == item:
                found.append(held)
                held = next(copies, None)
            yield ItemCopies(
                item=found[0].item,
                copies=tuple(each for each in found if site in (None, each.site)),
                locations=locations,
                sites=sites,
            )


def _counted(table: pa.Table, site: str | None) -> pa.Table:
    """Return the items with their numbers of distinct locations and sites."""
    import pyarrow as pa
    import pyarrow.compute as pc

    counts = pc.equal(table["state"], "present")
    if site is not None:
        counts = pc.and_(counts, pc.equal(table["site"], quote(site)))
    nothing = pa.scalar(None, pa.string())
    place = pc.binary_join_element_wise(table["site"], table["location"], "\0")
    columns = {
        "item": table["item"],
        "locations": pc.if_else(counts, place, nothing),
        "sites": pc.if_else(counts, table["site"], nothing),
    }
    wanted = [(name, "count_distinct") for name in ("locations", "sites")]
    # Groups come in nearly the order of the rows, even without threads.
    found = pa.table(columns).group_by("item").aggregate(wanted).sort_by("item")
    names = [f"{name}_{how}" for name, how in wanted]
    return found.select(["item", *names]).rename_columns(["item", "locations", "sites"])


def _fits(
    table: pa.Table,
    groups: pa.Table,
    less_than: int | None,
    by: By,
    site: str | None,
    state: State | None,
    verified_before: datetime | None,
) -> pa.ChunkedArray:
    """Return for each item whether it is asked for."""
    import pyarrow as pa
    import pyarrow.compute as pc

    fits = pa.chunked_array([pa.array([True] * groups.num_rows, pa.bool_())])
    if less_than is not None:
        fits = pc.and_(fits, pc.less(groups[f"{by}s"], less_than))
    some = []
    if state is not None:
        some.append(pc.equal(table["state"], state))
    if verified_before is not None:
        limit = pa.scalar(verified_before, pa.timestamp("us", tz="UTC"))
        is_old = pc.less(table["verified_at"], limit)
        some.append(pc.and_(is_old, pc.equal(table["state"], "present")))
    if site is not None and (some or less_than is None):
        some = [pc.and_(each, pc.equal(table["site"], quote(site))) for each in some or [True]]
    for each in some:
        found = pc.unique(table["item"].filter(each))
        fits = pc.and_(fits, pc.is_in(groups["item"], value_set=found))
    return fits


def _rows(table: pa.Table, groups: pa.Table) -> pa.Table:
    import pyarrow.compute as pc

    if groups.num_rows == table.num_rows:
        return table
    return table.filter(pc.is_in(table["item"], value_set=groups["item"].combine_chunks()))
