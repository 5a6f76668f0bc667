"""The records of a catalog's files as sorted sources for ``merge``."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import islice
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from jobtool.catalog.folder import CatalogFolder
from jobtool.catalog.merge import is_sorted, merged, newest, slices
from jobtool.catalog.recordfile import (
    ROWS_PER_GROUP,
    open_records,
    read_groups,
    schema,
    unreadable,
)
from jobtool.packages.storefile import buffered
from jobtool.stores.store import Entry

if TYPE_CHECKING:
    import pyarrow as pa

#: Files up to this size are read whole, several at a time; larger ones by groups of rows.
SMALL_BYTES = 1 << 20

#: So many rows of small files are held in memory; more become sorted files in a temporary folder.
ROWS_IN_MEMORY = 200_000

_THREADS = 8
_BUFFER_BYTES = 256 * 1024


def records_of(
    folder: CatalogFolder,
    entries: Sequence[Entry],
    *,
    items: Sequence[str] | None = None,
    above: str | None = None,
) -> Iterator[pa.Table]:
    """Yield the records of files that count, sorted by item and URL, in bounded memory.

    All copies of an item are in one table. ``items`` are the only ones wanted, and only those after
    ``above`` are; both are quoted as in the files. Raises ``CatalogError`` for a file that isn't
    one of a catalog, ``NotFoundError`` for one that was removed, and the errors of reading.
    """
    selection = _Selection(items, above)
    with ExitStack() as stack:
        small = [entry for entry in entries if entry.size <= SMALL_BYTES]
        sources = list(_runs(_small(folder, small, selection), stack))
        for entry in entries:
            if entry.size > SMALL_BYTES:
                file = buffered(folder.records, entry, folder.retry, buffer_bytes=_BUFFER_BYTES)
                name = folder.records.url_of(entry.path)
                opened = stack.enter_context(open_records(file, name=name))
                sources.append(_groups(opened, name, selection))
        yield from merged(sources)


class _Selection:
    """The items that are wanted."""

    def __init__(self, items: Sequence[str] | None, above: str | None) -> None:
        self._items = None if items is None else sorted(set(items))
        self._above = above

    def of(self, table: pa.Table) -> pa.Table:
        """Return the rows that are wanted."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if self._items is not None:
            wanted = pa.array(self._items, pa.string())
            table = table.filter(pc.is_in(table["item"], value_set=wanted))
        if self._above is not None:
            table = table.filter(pc.greater(table["item"], self._above))
        return table

    def may_be_in(self, found: Any, group: int) -> bool:
        """Return False if a group of rows holds none, by its statistics."""
        column = found.metadata.row_group(group).column(found.schema_arrow.names.index("item"))
        statistics = column.statistics
        if statistics is None or not statistics.has_min_max:
            return True
        first, last = statistics.min, statistics.max
        if self._above is not None and last <= self._above:
            return False
        return self._items is None or any(first <= item <= last for item in self._items)


def _small(
    folder: CatalogFolder, entries: Sequence[Entry], selection: _Selection
) -> Iterator[pa.Table]:
    import pyarrow as pa

    def read(entry: Entry) -> pa.Table:
        name = folder.records.url_of(entry.path)
        with open_records(pa.BufferReader(folder.read(entry)), name=name) as found:
            groups = range(found.num_row_groups)
            return selection.of(read_groups(found, groups, name=name))

    if len(entries) < 2:
        yield from map(read, entries)
        return
    with ThreadPoolExecutor(_THREADS) as threads:
        rest = iter(entries)
        while some := list(islice(rest, 4 * _THREADS)):
            yield from threads.map(read, some)


def _runs(tables: Iterator[pa.Table], stack: ExitStack) -> Iterator[Iterator[pa.Table]]:
    """Yield sorted sources of the rows of small files; all but the last are files."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    held: list[pa.Table] = []
    rows = number = 0
    folder = ""
    for table in tables:
        held.append(table)
        rows += table.num_rows
        if rows < ROWS_IN_MEMORY:
            continue
        whole = newest(pa.concat_tables(held))
        held, rows = [whole], whole.num_rows
        if rows > ROWS_IN_MEMORY // 2:
            folder = folder or stack.enter_context(TemporaryDirectory(prefix="jobtool-catalog-"))
            path = os.path.join(folder, f"{number}.parquet")
            pq.write_table(whole, path, row_group_size=ROWS_PER_GROUP, compression="lz4")
            number += 1
            held, rows = [], 0
            opened = stack.enter_context(open_records(path, name=path))
            yield _groups(opened, path, _Selection(None, None))
    if held:
        yield slices(newest(pa.concat_tables(held)), ROWS_PER_GROUP)


def _groups(found: Any, name: str, selection: _Selection) -> Iterator[pa.Table]:
    """Yield the wanted groups of rows of a sorted file."""
    last = ""
    for group in range(found.num_row_groups):
        if not selection.may_be_in(found, group):
            continue
        table = read_groups(found, [group], name=name)
        if not table.num_rows:
            continue
        first = table["item"][0].as_py()
        if first < last or not is_sorted(table):
            raise unreadable(name, "its rows aren't sorted by item")
        last = table["item"][table.num_rows - 1].as_py()
        wanted = selection.of(table)
        if wanted.num_rows:
            yield wanted.cast(schema())
