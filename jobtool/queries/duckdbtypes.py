"""Columns of DuckDB's that don't become Arrow columns by themselves, or not with all their values.

DuckDB passes UHUGEINT on as a decimal that is negative above 2¹²⁷, TIMETZ without its zone, and
BIT, BIGNUM and VARIANT as the bytes that it has in memory. HUGEINT becomes a decimal of 38 digits,
also for the few numbers that have 39.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobtool.errors import QueryFailedError, QueryRefusedError
from jobtool.queries.finite import may_be_infinite, require_finite

if TYPE_CHECKING:
    import pyarrow as pa

#: What to write instead, by the ids of DuckDB's types.
_REFUSED = {
    "bignum": "VARCHAR",
    "bit": "VARCHAR",
    "time with time zone": "VARCHAR",
    "uhugeint": "VARCHAR",
    "variant": "JSON",
}


def require_types(relation: Any) -> None:
    """Raise ``QueryRefusedError`` for a column that Arrow can't hold."""
    for name, kind in zip(relation.columns, relation.types, strict=True):
        for found in _ids(kind):
            if found in _REFUSED:
                raise QueryRefusedError(
                    f"column {name!r} has DuckDB's type {kind}, for which Arrow has none. Write "
                    f"CAST(column AS {_REFUSED[found]}) in the query."
                )


class ValueCheck:
    """Looks for values that DuckDB passes on as others."""

    def __init__(self, relation: Any, schema: pa.Schema) -> None:
        self._times = [
            (place, field.name) for place, field in enumerate(schema) if may_be_infinite(field.type)
        ]
        self._integers = [
            (place, name)
            for place, (name, kind) in enumerate(zip(relation.columns, relation.types, strict=True))
            if "hugeint" in _ids(kind)
        ]

    def require(self, batch: pa.RecordBatch) -> None:
        """Raise ``QueryFailedError`` if a column has such a value."""
        import pyarrow as pa

        for place, name in self._times:
            require_finite(batch.column(place), name)
        for place, name in self._integers:
            try:
                batch.column(place).validate(full=True)
            except pa.ArrowInvalid:
                raise QueryFailedError(
                    f"column {name!r}: expected whole numbers of up to 38 digits, as Arrow has "
                    "them; found one of 39. Write CAST(column AS VARCHAR) in the query."
                ) from None


def _ids(kind: Any) -> set[str]:
    """Return the ids of a type and of the types within it."""
    found = {str(kind.id)}
    if kind.id in ("list", "array", "struct", "map", "union"):
        for name, child in kind.children:
            if not (kind.id == "array" and name == "size"):
                found |= _ids(child)
    return found
