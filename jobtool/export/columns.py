"""Columns of a query that options name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobtool.errors import UsageError
from jobtool.names import quote
from jobtool.suggest import closest

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_SHOWN = 50


def require_column(schema: pa.Schema, column: str, *, doing: str) -> None:
    """Raise ``UsageError`` unless exactly one column has a name.

    ``doing`` is what it is for, such as ``split by``.
    """
    names = list(schema.names)
    if names.count(column) == 1:
        return
    if column in names:
        raise UsageError(
            f"can't {doing} {quote(column)}: the query has {names.count(column)} columns of that "
            "name. Give each a name of its own with AS."
        )
    shown = ", ".join(map(quote, names[:_MOST_SHOWN])) + (", …" if names[_MOST_SHOWN:] else "")
    raise UsageError(
        f"can't {doing} {quote(column)}: the query has no such column.{_hint(column, names)} "
        f"Its columns are: {shown}"
    )


def _hint(column: str, names: list[str]) -> str:
    by_case = [name for name in names if name.casefold() == column.casefold()]
    found = by_case[0] if by_case else closest(column, names)
    return f" Did you mean {found!r}?" if found else ""
