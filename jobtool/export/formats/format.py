"""The protocol of a format: what an export asks of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from jobtool.errors import UsageError
from jobtool.names import quote
from jobtool.queries.dialect import Dialect

if TYPE_CHECKING:
    import pyarrow as pa


class ChunkWriter(Protocol):
    """A file that rows are written to. One thread uses it.

    ``write`` and ``close`` raise ``OSError`` as the filesystem gives it, such as for a full disk,
    and ``QueryFailedError`` for a value that the format can't hold. After an error call ``abort``.
    """

    def write(self, block: pa.RecordBatch) -> None:
        """Add rows, with the schema that the file was opened with."""

    def close(self) -> None:
        """Write what is held back, and close the file. A second call does nothing.

        The file isn't synced to disk. If this raises, nothing is left open, and the file stays.
        """

    def abort(self) -> None:
        """Close the file without its end, and remove it; after ``close``, do nothing.

        Raises nothing.
        """


class Format(Protocol):
    """A format of files with rows. It holds its settings and no state."""

    @property
    def suffix(self) -> str:
        """The end of the files' names, such as ``.parquet``."""

    def check(self, schema: pa.Schema) -> None:
        """Raise ``UsageError`` if files can't hold these columns.

        The error names each column that they can't hold, its type, and what to write instead in the
        query.
        """

    def open(self, path: str, schema: pa.Schema) -> ChunkWriter:
        """Make a file, or replace it, for rows with a schema that passes ``check``.

        The same blocks of rows, settings and version of pyarrow give the same bytes. Without rows
        the file has the columns only. Raises ``OSError``.
        """


def in_sql(name: str) -> str:
    """Return a column's name as it may stand in a query."""
    return name if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) else Dialect().name(name)


def cast_to(name: str, kind: str) -> str:
    """Return SQL that gives a column another type under its own name."""
    return f"CAST({in_sql(name)} AS {kind}) AS {in_sql(name)}"


def call_of(function: str, name: str) -> str:
    """Return SQL that passes a column through a function, under its own name."""
    return f"{function}({in_sql(name)}) AS {in_sql(name)}"


def require_names(schema: pa.Schema) -> None:
    """Raise ``UsageError`` unless there is a column, and each has a name of its own."""
    if not len(schema):
        raise UsageError("the query: expected at least one column; found none. Select some.")
    twice = [name for name, count in Counter(schema.names).items() if count > 1]
    if twice:
        raise UsageError(
            "the query: expected a name of its own for each column; found more than one column "
            f"named {', '.join(map(repr, twice))}. Give them names with AS, such as "
            f"{in_sql(twice[0] or 'column')} AS {in_sql((twice[0] or 'column') + '_2')}."
        )


def refuse(format_name: str, misfits: Iterable[tuple[pa.Field, str]]) -> None:
    """Raise ``UsageError`` for columns that a format can't hold, each with SQL that it can."""
    lines = [
        f"column {field.name!r} has the type {quote(str(field.type))}; write {instead} in the query"
        for field, instead in misfits
    ]
    if lines:
        raise UsageError(f"{format_name} can't hold these columns:\n  " + "\n  ".join(lines))
