"""DuckDB: an embedded database, and queries over Parquet, CSV and other files without a server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from jobtool.errors import (
    JobtoolError,
    QueryFailedError,
    QueryInterruptedError,
    QueryRefusedError,
    UsageError,
)
from jobtool.names import in_one_line
from jobtool.queries.dialect import Dialect, stripped
from jobtool.queries.source import QuerySource, QuerySourceType, RowStream
from jobtool.queries.url import ConnectionUrl


class DuckDbStream:
    """The rows of a query that runs in this process."""

    def __init__(self, connection: Any, query: str, rows: int) -> None:
        self._connection = connection
        with _translated():
            self._reader = connection.sql(query).to_arrow_reader(rows)
        self.schema = self._reader.schema

    def __iter__(self) -> Iterator[Any]:
        """Yield the rows as batches."""
        while True:
            with _translated():
                try:
                    batch = self._reader.read_next_batch()
                except StopIteration:
                    return
            yield batch

    def cancel(self) -> None:
        """Interrupt the query."""
        with contextlib.suppress(Exception):
            self._connection.interrupt()

    def close(self) -> None:
        """Free what the query holds."""
        with contextlib.suppress(Exception):
            self._reader.close()


class DuckDbSource:
    """A connection to a database file, opened for reading only, or to one in memory."""

    dialect = Dialect()

    def __init__(self, url: ConnectionUrl) -> None:
        try:
            import duckdb
        except ImportError:
            raise UsageError(
                "duckdb:// needs the package duckdb: pip install 'jobtool[export]'"
            ) from None
        with _translated():
            self._connection = duckdb.connect(
                url.database or ":memory:", read_only=bool(url.database), config=dict(url.options)
            )

    def describe(self, query: str) -> Any:
        """Return the columns of a query."""
        with _translated():
            return (
                self._connection.sql(f"SELECT * FROM (\n{stripped(query)}\n) LIMIT 0")
                .to_arrow_table()
                .schema
            )

    def ask(self, query: str) -> Any:
        """Return the result of a query."""
        with _translated():
            return self._connection.sql(query).to_arrow_table()

    def stream(self, query: str, *, rows: int) -> RowStream:
        """Run a query."""
        return DuckDbStream(self._connection, query, rows)

    def snapshot(self) -> str | None:
        """Return None: the file can't change while it is open for reading."""
        return None

    def close(self) -> None:
        """Close the database. A query that runs in another thread is interrupted."""
        with contextlib.suppress(Exception):
            self._connection.interrupt()
            self._connection.close()


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except JobtoolError:
        raise
    except Exception as error:
        import duckdb

        said = in_one_line(str(error))
        if isinstance(error, (duckdb.InterruptException, duckdb.OutOfMemoryException)):
            raise QueryInterruptedError(f"DuckDB ended the query: {said}") from None
        refused = (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException)
        if isinstance(error, (*refused, duckdb.IOException, duckdb.PermissionException)):
            raise QueryRefusedError(f"DuckDB refuses the query: {said}") from None
        raise QueryFailedError(f"DuckDB: {said}") from None


def _open(url: ConnectionUrl, password: str | None) -> QuerySource:
    return DuckDbSource(url)


SOURCE_TYPE = QuerySourceType(open=_open)
