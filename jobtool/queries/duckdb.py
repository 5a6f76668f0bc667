"""DuckDB: an embedded database, and queries over Parquet, CSV and other files without a server.

Options of the URL are DuckDB's own settings (https://duckdb.org/docs/stable/configuration), such as
``duckdb:///file.db?memory_limit=1GB&threads=4``. Without them a connection is small, since a worker
for each core of a node may have one: see ``jobtool.queries.duckdbsettings``.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from jobtool.errors import (
    JobtoolError,
    QueryFailedError,
    QueryInterruptedError,
    QueryRefusedError,
    UnreachableError,
    UsageError,
)
from jobtool.names import in_one_line
from jobtool.queries.dialect import Dialect, stripped
from jobtool.queries.duckdbsettings import Settings
from jobtool.queries.duckdbtypes import ValueCheck, require_types
from jobtool.queries.scratch import ScratchFolder
from jobtool.queries.source import QuerySource, QuerySourceType, RowStream
from jobtool.queries.url import ConnectionUrl

# DuckDB's errors begin with their kinds, also where Arrow passes them on as another class.
_REFUSED = (
    *("Parser", "Syntax", "Binder", "Catalog", "Permission", "Missing Extension", "Autoload"),
    *("Not implemented", "Dependency", "An error occurred while trying to automatically"),
)
_REFUSED_AT_START = ("IO", "HTTP", "Connection", "Invalid Input", "Invalid Configuration")
_INTERRUPTED = ("INTERRUPT", "IO", "HTTP", "Connection")


class DuckDbStream:
    """The rows of a query that runs in this process. It starts when the first row is asked for."""

    def __init__(self, connection: Any, query: str, rows: int) -> None:
        self._connection = connection
        self._rows = rows
        self._reader: Any = None
        self._is_cancelled = False
        with _translated(at_start=True):
            self._relation = _relation(connection, query)
            self.schema = _schema_of(self._relation)

    def __iter__(self) -> Iterator[Any]:
        """Yield the rows as batches."""
        check = ValueCheck(self._relation, self.schema)
        with _translated():
            # 1.4 has only the older name. A relation streams, the result of execute() doesn't.
            opened = getattr(self._relation, "to_arrow_reader", None)
            if self._is_cancelled:
                raise QueryInterruptedError("DuckDB: the query was cancelled")
            self._reader = (opened or self._relation.fetch_arrow_reader)(self._rows)
        while not self._is_cancelled:
            with _translated():
                try:
                    batch = self._reader.read_next_batch()
                except StopIteration:
                    return
            check.require(batch)
            yield batch
        raise QueryInterruptedError("DuckDB: the query was cancelled")

    def cancel(self) -> None:
        """Interrupt the query."""
        self._is_cancelled = True
        with contextlib.suppress(Exception):
            self._connection.interrupt()

    def close(self) -> None:
        """Free what the query holds."""
        with contextlib.suppress(Exception):
            if self._reader is not None:
                self._reader.close()
        self._reader = self._relation = None


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
        path = url.database
        if path and path != ":memory:" and not os.path.isfile(path):
            raise QueryRefusedError(f"connection: expected a database file; found none at {path!r}")
        is_file = bool(path) and path != ":memory:"
        settings = Settings(url.options)
        config = settings.of_database
        self._scratch = None if settings.has_scratch else ScratchFolder()
        if self._scratch is not None:
            config["temp_directory"] = self._scratch.path
        try:
            with _opening(path, settings):
                self._connection = duckdb.connect(
                    path or ":memory:", read_only=is_file, config=config
                )
                settings.set_in(self._connection)
        except BaseException:
            self._remove_scratch()
            raise

    def describe(self, query: str) -> Any:
        """Return the columns of a query."""
        with _translated(at_start=True):
            return _schema_of(_relation(self._connection, query))

    def ask(self, query: str) -> Any:
        """Return the result of a query."""
        import pyarrow as pa

        stream = DuckDbStream(self._connection, query, 10_000)
        with contextlib.closing(stream):
            return pa.Table.from_batches(list(stream), schema=stream.schema)

    def stream(self, query: str, *, rows: int) -> RowStream:
        """Run a query."""
        return DuckDbStream(self._connection, query, rows)

    def snapshot(self) -> str | None:
        """Return None: a file can't change while it is open for reading, and has no version."""
        return None

    def close(self) -> None:
        """Close the database. A query that runs in another thread is interrupted."""
        with contextlib.suppress(Exception):
            self._connection.interrupt()
            self._connection.close()
        self._remove_scratch()

    def _remove_scratch(self) -> None:
        if self._scratch is not None:
            self._scratch.close()


def _relation(connection: Any, query: str) -> Any:
    """Bind a query. Nothing of it runs."""
    import duckdb

    statements = connection.extract_statements(query)
    kinds = [statement.type for statement in statements]
    if kinds != [duckdb.StatementType.SELECT]:
        found = ", ".join(kind.name for kind in kinds) or "no statement"
        raise QueryRefusedError(f"DuckDB: expected one query that only reads; found {found}")
    return connection.sql(stripped(query))


def _schema_of(relation: Any) -> Any:
    """Return the columns of a bound query, with the names that its rows have."""
    require_types(relation)
    no_rows = relation.limit(0).to_arrow_table()  # which renames a second column named a
    return no_rows.rename_columns(relation.columns).schema


@contextlib.contextmanager
def _opening(path: str, settings: Settings) -> Iterator[None]:
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        said = in_one_line(str(error))
        if "Could not set lock" in said:
            raise UnreachableError(
                f"connection: another program has {path!r} open to write to it: {said}"
            ) from None
        if isinstance(error, duckdb.IOException) and path:
            raise QueryRefusedError(f"connection: DuckDB can't open {path!r}: {said}") from None
        raise settings.misfit(error) from None


@contextlib.contextmanager
def _translated(*, at_start: bool = False) -> Iterator[None]:
    """Translate errors; those ``at_start`` come before any row is read."""
    try:
        yield
    except (JobtoolError, MemoryError, GeneratorExit):
        raise
    except Exception as error:
        said = in_one_line(str(error))
        refused = (*_REFUSED, *_REFUSED_AT_START) if at_start else _REFUSED
        if said.startswith(refused):
            shown = said.rstrip("^ ")
            raise QueryRefusedError(f"DuckDB refuses the query. Correct it: {shown}") from None
        if said.startswith(_INTERRUPTED):
            raise QueryInterruptedError(f"DuckDB ended the query: {said}") from None
        if said.startswith("Out of Memory"):
            raise QueryFailedError(
                f"DuckDB needs more memory for the query: add memory_limit=1GB to the options of "
                f"the connection. DuckDB: {said}"
            ) from None
        raise QueryFailedError(f"DuckDB: {said}") from None


def _open(url: ConnectionUrl, password: str | None) -> QuerySource:
    return DuckDbSource(url)


SOURCE_TYPE = QuerySourceType(open=_open, has_host=False)
