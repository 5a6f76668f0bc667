"""Merging tables of records in bounded memory: of each copy the record that counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

#: The order in which the first row of a copy is the one that counts; see ``copy.order_of``.
_ORDER = [
    ("item", "ascending"),
    ("url", "ascending"),
    ("verified_at", "descending"),
    ("is_present", "ascending"),
    ("state", "descending"),
    ("recorded_at", "descending"),
    ("writer", "descending"),
    *((name, "descending") for name in ("package", "site", "location", "form")),
    *((name, "descending") for name in ("size", "files", "digest")),
]


def newest(table: pa.Table) -> pa.Table:
    """Return the rows that count, one for each copy, sorted by item and URL."""
    import pyarrow as pa
    import pyarrow.compute as pc

    table = table.combine_chunks()
    if table.num_rows < 2:
        return table
    is_present = pc.equal(table["state"], "present").cast(pa.int8())
    ordered = table.append_column("is_present", is_present)
    table = table.take(pc.sort_indices(ordered, sort_keys=_ORDER)).combine_chunks()
    differs = pc.or_(*(_differs(table[name]) for name in ("item", "url")))
    return table.filter(pa.concat_arrays([pa.array([True]), differs]))


def merged(sources: Iterable[Iterator[pa.Table]]) -> Iterator[pa.Table]:
    """Yield the rows that count of sorted sources, sorted, all copies of an item in one table.

    Each source yields tables that follow each other in the order of items. One table of each is
    held, or as many as hold the copies of one item.
    """
    import pyarrow as pa

    cursors = [_Cursor(source) for source in sources]
    while cursors := [cursor for cursor in cursors if cursor.fill()]:
        open_ends = [cursor for cursor in cursors if cursor.has_more]
        if not open_ends:
            yield newest(pa.concat_tables([cursor.held for cursor in cursors]))
            return
        first = min(open_ends, key=lambda cursor: cursor.last)
        pieces = [piece for cursor in cursors if (piece := cursor.before(first.last)).num_rows]
        if pieces:
            yield newest(pa.concat_tables(pieces))
        first.extend()


class _Cursor:
    """A source with the table that is held of it."""

    def __init__(self, source: Iterator[pa.Table]) -> None:
        self._source = source
        self._next: pa.Table | None = None
        self.held: Any = self._take()  # None at the end
        self._next = self._take()
        self.last = ""
        self._measure()

    @property
    def has_more(self) -> bool:
        return self._next is not None

    def fill(self) -> bool:
        """Hold at least one row; return False at the end."""
        while self.held is not None and not self.held.num_rows:
            self.extend()
        return self.held is not None

    def extend(self) -> None:
        """Hold the next table as well."""
        import pyarrow as pa

        found, self._next = self._next, self._take()
        if found is None:
            if not self.held.num_rows:
                self.held = None
        else:
            self.held = pa.concat_tables([self.held, found]).combine_chunks()
        self._measure()

    def before(self, end: str) -> pa.Table:
        """Take the rows of items before ``end``."""
        import pyarrow.compute as pc

        count = pc.sum(pc.less(self.held["item"], end)).as_py() or 0
        found, self.held = self.held.slice(0, count), self.held.slice(count)
        return found

    def _take(self) -> pa.Table | None:
        return next(self._source, None)

    def _measure(self) -> None:
        held = self.held
        self.last = (
            held["item"][held.num_rows - 1].as_py() if held is not None and len(held) else ""
        )


def is_sorted(table: pa.Table) -> bool:
    """Return True if the rows are in the order of their items."""
    import pyarrow.compute as pc

    items = table["item"].combine_chunks()
    return not pc.any(pc.greater(items.slice(0, max(len(items) - 1, 0)), items.slice(1))).as_py()


def slices(table: pa.Table, rows: int) -> Iterator[pa.Table]:
    """Yield a table in pieces."""
    for start in range(0, table.num_rows, rows):
        yield table.slice(start, rows)


def _differs(column: Any) -> Any:
    """Return for each row but the first whether its value differs from the one before."""
    import pyarrow.compute as pc

    values = column.combine_chunks()
    return pc.not_equal(values.slice(1), values.slice(0, len(values) - 1))
