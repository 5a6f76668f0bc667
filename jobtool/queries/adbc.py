"""Databases by ADBC drivers (https://arrow.apache.org/adbc): Arrow batches from end to end.

``AdbcSource`` is what the modules of the single databases share. They say how to connect, what is
an error of which kind, and how the driver's columns become ordinary Arrow columns.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from jobtool.errors import JobtoolError, QueryInterruptedError, QueryRefusedError, UsageError
from jobtool.queries.adbcerrors import Phase, translate
from jobtool.queries.dialect import Dialect, stripped
from jobtool.queries.finite import may_be_infinite, require_finite
from jobtool.queries.source import RowStream

if TYPE_CHECKING:
    import pyarrow as pa

#: Returns a column as jobtool gives it. It is passed the driver's.
Convert = Callable[[Any], Any]

#: Returns a field as jobtool gives it, and how its column is converted; None if it stays.
Adapt = Callable[[Any], tuple[Any, Convert | None]]


class AdbcKind(msgspec.Struct, frozen=True, kw_only=True):
    """What differs between databases.

    ``name`` is the database's, for messages. ``adapt`` is passed a field as the driver gives it;
    it raises ``QueryRefusedError`` for a type that Arrow doesn't have. ``options_for`` returns
    options of a statement that fetches so many rows at a time. ``begin`` is run first in each
    transaction. With ``needs_rows`` the columns are known by the first rows only.
    ``translate`` is passed the driver's exception and returns one of jobtool's.
    """

    name: str
    dialect: Dialect
    adapt: Adapt = lambda field: (field, None)
    options_for: Callable[[int], Mapping[str, str]] = lambda _: {}
    begin: str = ""
    needs_rows: bool = False
    translate: Callable[[str, Exception, Phase], JobtoolError] = translate


class AdbcStream:
    """The rows of a query. It starts when the first row is asked for, so that it can be cancelled.

    With ``needs_rows`` it starts at once, since its columns are known by its first rows.
    """

    def __init__(self, source: AdbcSource, query: str, rows: int) -> None:
        self._source, self._query = source, query
        self._is_cancelled = False
        self._reader: Any = None
        self._cursor: Any = None
        try:
            self._cursor = source.cursor(source.kind.options_for(rows))
            adapted = [source.adapt(field) for field in self._columns()]
        except BaseException:
            self.close()
            raise
        self._converts: list[Convert | None] = [convert for _, convert in adapted]
        self.schema = _schema_of(field for field, _ in adapted)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows as batches."""
        import pyarrow as pa

        times = [
            (position, field.name)
            for position, field in enumerate(self.schema)
            if may_be_infinite(field.type)
        ]
        if self._reader is None and not self._is_cancelled:
            self._start()
        while not self._is_cancelled:
            with self._source.translated("rows"):
                try:
                    batch = self._reader.read_next_batch()
                except StopIteration:
                    break
            columns = [
                column if convert is None else convert(column)
                for column, convert in zip(batch.columns, self._converts, strict=True)
            ]
            for position, name in times:
                require_finite(columns[position], name)
            if batch.num_columns == 0:
                yield batch
            else:
                yield pa.RecordBatch.from_arrays(columns, schema=self.schema)
        if self._is_cancelled:
            raise QueryInterruptedError(f"{self._source.kind.name}: the query was cancelled")

    def cancel(self) -> None:
        """Ask the database to stop the query."""
        self._is_cancelled = True
        with contextlib.suppress(Exception):
            self._cursor.adbc_cancel()

    def close(self) -> None:
        """Free what the query holds, and end its transaction."""
        with contextlib.suppress(Exception):
            if self._reader is not None:
                self._reader.close()
        with contextlib.suppress(Exception):
            self._cursor.close()
        self._reader = None
        self._source.end_transaction()

    def _columns(self) -> Any:
        with self._source.translated("prepare"):
            if not self._source.kind.needs_rows:
                return self._cursor.adbc_execute_schema(self._query)
            self._cursor.adbc_prepare(self._query)
        return self._start().schema

    def _start(self) -> Any:
        with self._source.translated("start"):
            self._cursor.execute(self._query)
            self._reader = _reader_of(self._cursor)
        return self._reader


class AdbcSource:
    """A connection by an ADBC driver.

    In a database with transactions it has one, from its first query on until a query fails or a
    stream is closed. So ``snapshot``, ``ask`` and the ``stream`` after them see the same state.
    """

    def __init__(self, kind: AdbcKind, connect: Callable[[], Any]) -> None:
        self.kind = kind
        self._has_begun = False
        with self.translated("connect"):
            self.connection = connect()

    @property
    def dialect(self) -> Dialect:
        """How the database writes names and values."""
        return self.kind.dialect

    def describe(self, query: str) -> pa.Schema:
        """Return the columns of a query. No row is computed."""
        with contextlib.closing(self.cursor({})) as cursor, self.translated("prepare"):
            schema = cursor.adbc_execute_schema(_ended(query))
        return _schema_of(self.adapt(field)[0] for field in schema)

    def ask(self, query: str) -> pa.Table:
        """Return the result of a query."""
        import pyarrow as pa

        stream = _Asked(self, _ended(query), 10_000)
        with contextlib.closing(stream):
            return pa.Table.from_batches(list(stream), schema=stream.schema)

    def stream(self, query: str, *, rows: int) -> RowStream:
        """Run a query."""
        return AdbcStream(self, _ended(query), rows)

    def snapshot(self) -> str | None:
        """Return None: the database has no name for its state."""
        return None

    def close(self) -> None:
        """End the connection."""
        with contextlib.suppress(Exception):
            self.connection.close()

    def adapt(self, field: Any) -> tuple[Any, Convert | None]:
        """Return a field of a result as jobtool gives it, and how its column is converted."""
        return self.kind.adapt(field)

    def cursor(self, options: Mapping[str, str]) -> Any:
        """Return a cursor in the connection's transaction."""
        with self.translated("start"):
            if self.kind.begin and not self._has_begun:
                with contextlib.closing(self.connection.cursor()) as first:
                    first.execute(self.kind.begin)
            self._has_begun = True
            return self.connection.cursor(adbc_stmt_kwargs=dict(options))

    def end_transaction(self) -> None:
        """End the transaction, so that the next query sees a new state. Raises nothing."""
        if self._has_begun:
            self._has_begun = False
            with contextlib.suppress(Exception):
                self.connection.rollback()

    @contextlib.contextmanager
    def translated(self, phase: Phase) -> Iterator[None]:
        """Translate the driver's errors; end the transaction, which they make unusable."""
        try:
            yield
        except (JobtoolError, MemoryError, GeneratorExit):
            raise
        except Exception as error:
            self.end_transaction()
            raise self.kind.translate(self.kind.name, error, phase) from None


class _Asked(AdbcStream):
    """The rows of a small query, which leave the transaction as it is."""

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._cursor.close()


def _schema_of(fields: Iterable[Any]) -> pa.Schema:
    import pyarrow as pa

    return pa.schema(list(fields))


def load(driver: str, scheme: str) -> Any:
    """Import an ADBC driver's DB-API module; raises ``UsageError`` that names the extra."""
    import importlib

    try:
        return importlib.import_module(f"adbc_driver_{driver}.dbapi")
    except ImportError:
        raise UsageError(
            f"{scheme}:// needs the package adbc-driver-{driver}: pip install 'jobtool[sql]'"
        ) from None


def _ended(query: str) -> str:
    """Return a query that may stand in parentheses: a comment at its end ends with its line."""
    if not stripped(query):
        raise QueryRefusedError("expected a query; found none")
    return stripped(query) + "\n"


def _reader_of(cursor: Any) -> Any:
    """Return a reader of the rows whose errors have the database's code."""
    from adbc_driver_manager import _reader

    stream = cursor.fetch_arrow()  # it frees the rows unless they are imported while it lives
    return _reader.AdbcRecordBatchReader._import_from_c(stream.address)
