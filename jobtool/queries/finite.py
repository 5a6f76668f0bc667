"""Dates and times that Arrow can't hold: infinite ones, and those past the end of its range."""

from __future__ import annotations

from typing import Any

from jobtool.errors import QueryFailedError

#: DuckDB gives ``infinity`` as the largest number. The ADBC driver of PostgreSQL adds the days from
#: 1970 to 2000 to PostgreSQL's number without looking at overflow, so that ``infinity`` and times
#: after the year 294246 come out just above the least number. No real date is as far in the past.
_LEAST_TIME, _MOST_TIME = -9_200_000_000_000_000_000, 2**63 - 2
_LEAST_DATE, _MOST_DATE = -2_147_000_000, 2**31 - 2


def require_finite(array: Any, column: str) -> None:
    """Raise ``QueryFailedError`` if a column, or what is in it, has an infinite date or time."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = array.type
    if pa.types.is_timestamp(kind):
        numbers, least, most = array.view(pa.int64()), _LEAST_TIME, _MOST_TIME
    elif pa.types.is_date32(kind):
        numbers, least, most = array.view(pa.int32()), _LEAST_DATE, _MOST_DATE
    else:
        if pa.types.is_struct(kind):
            for position in range(kind.num_fields):
                require_finite(array.field(position), column)
        elif pa.types.is_nested(kind) and hasattr(array, "flatten"):
            require_finite(array.flatten(), column)
        return
    found = pc.min_max(numbers)
    if found["min"].is_valid and not (
        least <= found["min"].as_py() and found["max"].as_py() <= most
    ):
        raise QueryFailedError(
            f"column {column!r}: expected dates and times; found infinity, or one outside of "
            "Arrow's range. Write NULLIF(column, 'infinity'), or CAST it to text, in the query."
        )


def may_be_infinite(kind: Any) -> bool:
    """Return True if a type is or holds one of dates or times."""
    import pyarrow as pa

    if pa.types.is_nested(kind):
        return any(may_be_infinite(kind.field(number).type) for number in range(kind.num_fields))
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date32(kind))
