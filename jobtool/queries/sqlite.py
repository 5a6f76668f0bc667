"""SQLite by its ADBC driver. ``sqlite:///FILE``; a file is opened for reading only.

SQLite's values have types, not its columns. The driver takes the type of a column from the first
rows that are fetched together, whole numbers and others mixed there as doubles, whole numbers and
texts as texts. A value that doesn't fit fails the query: CAST the column, and all of its values
have one type. Dates, times and truth values are what the program that wrote them made of them,
texts or numbers.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from jobtool.errors import (
    JobtoolError,
    QueryFailedError,
    QueryInterruptedError,
    QueryRefusedError,
)
from jobtool.queries.adbc import AdbcKind, AdbcSource, AdbcStream, load
from jobtool.queries.adbcerrors import Phase, made, message_of
from jobtool.queries.dialect import Dialect
from jobtool.queries.source import QuerySource, QuerySourceType, RowStream
from jobtool.queries.url import ConnectionUrl

#: SQLite's own parameters of a file's URI (https://www.sqlite.org/uri.html).
_PARAMETERS = frozenset({"cache", "immutable", "nolock", "psow", "vfs"})

_MISMATCH = re.compile(r"Type mismatch in column (\d+): (.*)")
_MAY_PASS = ("database is locked", "database table is locked", "interrupted", "disk I/O error")
_REFUSED = ("readonly database", "not a database", "unable to open", "malformed", "not authorized")


#: The driver rounds whole numbers above 2⁵³ in columns of doubles, and writes doubles in columns of
#: texts with seven digits. Such values may as well be the database's own: SQLite is asked.
_MOST_EXACT = 2**53
_ROUNDED = r"^-?[0-9]\.[0-9]{6}e[-+][0-9]+$"


class SqliteStream(AdbcStream):
    """The rows of a query."""

    def __init__(self, source: AdbcSource, query: str, rows: int) -> None:
        super().__init__(source, query, rows)
        self._exact: set[str] = set()

    def __iter__(self) -> Iterator[Any]:
        """Yield the rows as batches."""
        try:
            for batch in super().__iter__():
                for field, column in zip(batch.schema, batch.columns, strict=True):
                    self._require_exact(field.name, column)
                yield batch
        except QueryFailedError as error:
            found = _MISMATCH.search(str(error))
            if found is None:
                raise
            name = self.schema.field(int(found[1])).name
            raise QueryFailedError(
                f"column {name!r}: {found[2]}, the type of its first rows. Write CAST(column AS "
                "TEXT), or AS another type, in the query."
            ) from None

    def _require_exact(self, name: str, column: Any) -> None:
        """Raise ``QueryFailedError`` if the driver may have changed values of a column."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if name in self._exact:
            return
        quoted = self._source.dialect.name(name)
        if pa.types.is_floating(column.type):
            has_odd = pc.any(pc.greater_equal(pc.abs(column), float(_MOST_EXACT))).as_py()
            where = f"typeof({quoted}) = 'integer' AND {quoted} NOT BETWEEN -{_MOST_EXACT} AND "
            where += str(_MOST_EXACT)
        elif pa.types.is_string(column.type) or pa.types.is_binary(column.type):
            has_odd = pc.any(pc.match_substring_regex(column, _ROUNDED)).as_py()
            where = f"typeof({quoted}) = 'real'"
        else:
            return
        if not has_odd:
            return
        rows = self._source.dialect.rows_of(self._query, "1 AS found")
        if self._source.ask(f"{rows} WHERE {where} LIMIT 1").num_rows:
            raise QueryFailedError(
                f"column {name!r}: expected values of one type; found numbers that {column.type}, "
                "the type by its first rows, doesn't hold exactly. Write CAST(column AS TEXT), or "
                "AS another type, in the query."
            )
        self._exact.add(name)


class SqliteSource(AdbcSource):
    """A connection to a file, or to a database in memory."""

    def stream(self, query: str, *, rows: int) -> RowStream:
        """Run a query."""
        return SqliteStream(self, query, rows)

    def describe(self, query: str) -> Any:
        """Return the columns of a query, as its first rows have them."""
        stream = SqliteStream(self, query, 1024)
        try:
            return stream.schema
        finally:
            stream.close()


def _options_for(rows: int) -> Mapping[str, str]:
    return {"adbc.sqlite.query.batch_rows": str(rows)}


def _translate(database: str, error: Exception, phase: Phase) -> JobtoolError:
    said = message_of(error)
    if any(part in said for part in _MAY_PASS):
        return made(QueryInterruptedError, database, error)
    if phase in ("connect", "prepare") or any(part in said for part in _REFUSED):
        return made(QueryRefusedError, database, error)
    return made(QueryFailedError, database, error)


KIND = AdbcKind(
    name="SQLite",
    dialect=Dialect(date_prefix="", timestamp_prefix="", zoned_prefix=""),
    options_for=_options_for,
    needs_rows=True,
    translate=_translate,
)


def _open(url: ConnectionUrl, password: str | None) -> QuerySource:
    driver = load("sqlite", url.scheme)
    path = url.database
    if not path or path == ":memory:":
        return SqliteSource(KIND, lambda: driver.connect(":memory:"))
    if not os.path.isfile(path):
        raise QueryRefusedError(f"connection: expected a database file; found none at {path!r}")
    parameters = "".join(f"&{key}={quote(value)}" for key, value in url.options.items())
    return SqliteSource(
        KIND, lambda: driver.connect(f"file:{quote(os.fsencode(path))}?mode=ro{parameters}")
    )


SOURCE_TYPE = QuerySourceType(open=_open, options=_PARAMETERS, has_host=False)
