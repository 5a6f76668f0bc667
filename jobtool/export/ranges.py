"""Ranges of a query's rows, by the values of one column.

A column is split at values that it has, at about equal numbers of rows. Only the database compares
values: texts have the order of its collation. The first range has no lower bound and the last has
no upper one, so that each row is in exactly one range, also if rows arrive after the split.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from jobtool.errors import UsageError
from jobtool.export.asking import ask
from jobtool.export.bounds import SPLITTABLE, has_bounds, values_of
from jobtool.export.columns import require_column
from jobtool.names import quote
from jobtool.queries.dialect import Dialect, Value
from jobtool.queries.source import QuerySource
from jobtool.stop import Stop

if TYPE_CHECKING:
    import pyarrow as pa

MOST_RANGES = 10_000

#: Between how many values per range the bounds are chosen. A range has at most 1 + 1/16 shares more
#: than the most frequent value in it.
_CANDIDATES = 16


class Range(msgspec.Struct, frozen=True, kw_only=True):
    """One of ``count`` ranges, by ``number`` from 1.

    Its rows have a value of at least ``lower`` and below ``upper``; None is no bound. With
    ``has_nulls`` the rows whose value is NULL belong to it, which come last. ``rows`` is about how
    many rows it had when the query was split; None if that is unknown.
    """

    number: int
    count: int
    lower: Value | None = None
    upper: Value | None = None
    has_nulls: bool = False
    rows: int | None = None


class _Candidate(NamedTuple):
    """A value that may bound a range, and the number of rows below it."""

    value: Value
    below: int


def plan_ranges(
    source: QuerySource, query: str, column: str, count: int, *, stop: Stop | None = None
) -> tuple[Range, ...]:
    """Split a query's rows into at most ``count`` ranges of about as many rows each.

    The database sorts the column once, and returns 16 of its values per range. There are fewer
    ranges if there are fewer distinct values, and one if there are no rows. Rows with equal values
    are in the same range. Each range's query runs ``query`` again, so it must choose the same rows
    each time: one with LIMIT needs an ORDER BY that leaves no choice.

    Raises ``UsageError`` for a column that isn't in the query or can't be split by and a ``count``
    that isn't 1 to 10,000, ``StoppedError`` if a stop is requested, and what ``source`` raises.
    """
    if not 1 <= count <= MOST_RANGES:
        raise UsageError(f"expected 1 to {MOST_RANGES:,} ranges; found {count:,}")
    _require_column(source.describe(query), column)
    asked = ask(source, _query_of_candidates(source.dialect, query, column, count), stop)
    if not asked.num_rows:
        return (Range(number=1, count=1, has_nulls=True, rows=0),)
    rows = int(asked.column(3)[0].as_py())
    candidates = _candidates(
        values_of(asked.column(1), source.dialect), [int(n) for n in asked.column(2).to_pylist()]
    )
    bounds = _chosen(candidates, rows, count)
    edges = [0, *(bound.below for bound in bounds), rows]
    values = [None, *(bound.value for bound in bounds), None]
    return tuple(
        Range(
            number=place + 1,
            count=len(edges) - 1,
            lower=values[place],
            upper=values[place + 1],
            has_nulls=place == len(edges) - 2,
            rows=edges[place + 1] - edges[place],
        )
        for place in range(len(edges) - 1)
    )


def query_of(
    rows: Range, query: str, column: str, dialect: Dialect, *, order_by: Sequence[str] = ()
) -> str:
    """Return the query for one range's rows, in the order of the column, NULLs last.

    ``order_by`` names columns that order the rows whose values are equal. Raises ``ValueError`` for
    a bound that the dialect can't write.
    """
    name = dialect.name(column)
    by = [name, *(dialect.name(further) for further in order_by if further != column)]
    order = ", ".join([_nulls_last(name), *by] if rows.has_nulls else by)
    condition = _condition(rows, name, dialect)
    where = f"\nWHERE {condition}" if condition else ""
    return f"{dialect.rows_of(query)}{where}\nORDER BY {order}"


def _condition(rows: Range, name: str, dialect: Dialect) -> str:
    parts = []
    if isinstance(rows.lower, float):
        # NaN is above all numbers, or no comparison with it is true: then, too, the last range
        # has it, and only that.
        parts.append(f"NOT ({name} < {dialect.value(rows.lower)})")
    elif rows.lower is not None:
        parts.append(f"{name} >= {dialect.value(rows.lower)}")
    if rows.upper is not None:
        parts.append(f"{name} < {dialect.value(rows.upper)}")
    between = " AND ".join(parts)
    if not rows.has_nulls:
        return between or f"{name} IS NOT NULL"
    return f"({between}) OR {name} IS NULL" if between else ""


def _nulls_last(name: str) -> str:
    """Return what sorts NULLs behind values. Not all databases know ``NULLS LAST``."""
    return f"CASE WHEN {name} IS NULL THEN 1 ELSE 0 END"


def _query_of_candidates(dialect: Dialect, query: str, column: str, count: int) -> str:
    """Return the query for values at equal distances in the sorted column.

    Its columns are the row's place, its value, the number of rows below that, and the number of all
    rows. The window functions share one sort. By ``RANK`` the database says which values are equal.
    """
    name, wanted = dialect.name(column), count * _CANDIDATES
    value, place, below, rows, numbered = (
        dialect.name(f"jobtool_{word}") for word in ("value", "place", "below", "count", "numbered")
    )
    order = f"{_nulls_last(name)}, {name}"
    columns = (
        f"{name} AS {value}, ROW_NUMBER() OVER (ORDER BY {order}) - 1 AS {place}, "
        f"RANK() OVER (ORDER BY {order}) - 1 AS {below}, COUNT(*) OVER () AS {rows}"
    )
    return (
        f"SELECT {place}, {value}, {below}, {rows} FROM (\n"
        f"{dialect.rows_of(query, columns)}\n) AS {numbered}\n"
        f"WHERE ({place} * {wanted}) % {rows} < {wanted}\nORDER BY {place}"
    )


def _candidates(values: list[Value | None], below: list[int]) -> list[_Candidate]:
    """Return the candidates above the least value.

    Values can differ in the database and be equal here: their nanoseconds are cut.
    """
    found: list[_Candidate] = []
    last = values[0]
    for value, rows in zip(values, below, strict=True):
        if value is not None and rows > 0 and value != last:
            found.append(_Candidate(value, rows))
            last = value
    return found


def _chosen(candidates: list[_Candidate], rows: int, count: int) -> list[_Candidate]:
    """Return the candidates nearest to equal numbers of rows, each once."""
    chosen: list[_Candidate] = []
    for number in range(1, count):
        place = bisect.bisect_left(candidates, number * rows, key=lambda one: one.below * count)
        near = candidates[max(place - 1, 0) : place + 1]
        if near:
            best = min(near, key=lambda one: abs(one.below * count - number * rows))
            if not chosen or chosen[-1].below < best.below:
                chosen.append(best)
    return chosen


def _require_column(schema: pa.Schema, column: str) -> None:
    require_column(schema, column, doing="split by")
    found = schema.field(column).type
    if not has_bounds(found):
        raise UsageError(
            f"can't split by {quote(column)}: expected {SPLITTABLE}; found a column of the type "
            f"{quote(str(found))}. Split by another column, or CAST this one in the query."
        )
