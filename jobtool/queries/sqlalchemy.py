"""Any other database by SQLAlchemy (https://docs.sqlalchemy.org), and drivers that a URL names.

Rows come as Python objects, ``rows`` at a time, by a cursor at the server where the driver has one
(``stream_results``). ``jobtool.queries.sqltypes`` says which Arrow types they get. Options of the
URL are the driver's. Each query sees the state that the database's own isolation level gives.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from jobtool.errors import JobtoolError, QueryInterruptedError, QueryRefusedError, UsageError
from jobtool.names import in_one_line
from jobtool.plugins import QUERIES, names
from jobtool.queries.adbcerrors import Phase
from jobtool.queries.dialect import Dialect, stripped
from jobtool.queries.source import QuerySource, QuerySourceType, RowStream
from jobtool.queries.sqlerrors import translate
from jobtool.queries.sqltypes import FIRST_ROWS, Column, columns_of, describe
from jobtool.queries.url import ConnectionUrl
from jobtool.redact import redact
from jobtool.suggest import did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

#: What differs in SQL between databases, by the names of SQLAlchemy's dialects.
_DIALECTS: dict[str, dict[str, Any]] = {
    "bigquery": {"escapes_backslash": True},
    "clickhouse": {"escapes_backslash": True},
    "databricks": {"escapes_backslash": True},
    "mariadb": {"escapes_backslash": True, "zoned_prefix": "TIMESTAMP "},
    "mssql": {
        "date_prefix": "",
        "timestamp_prefix": "",
        "zoned_prefix": "",
        "text_prefix": "N",
        "quote_mark": '"',  # SQLAlchemy has [ and ], which aren't the same
    },
    "mysql": {"escapes_backslash": True, "zoned_prefix": "TIMESTAMP "},
    "oracle": {"alias_word": "", "zoned_prefix": "TIMESTAMP "},
    "snowflake": {"escapes_backslash": True},
    "sqlite": {"date_prefix": "", "timestamp_prefix": "", "zoned_prefix": ""},
    "trino": {"zoned_prefix": "TIMESTAMP "},
}

#: The dialects of SQLAlchemy itself that jobtool has no faster way to.
_BUILT_IN = ("mariadb", "mssql", "mysql", "oracle")

#: Packages with dialects (https://docs.sqlalchemy.org/dialects), by the schemes of their URLs.
_PACKAGES_OF_DIALECTS = {
    "awsathena": "PyAthena",
    "bigquery": "sqlalchemy-bigquery",
    "clickhouse": "clickhouse-sqlalchemy",
    "databricks": "databricks-sqlalchemy",
    "druid": "pydruid",
    "hana": "sqlalchemy-hana",
    "presto": "pyhive",
    "redshift": "sqlalchemy-redshift",
    "snowflake": "snowflake-sqlalchemy",
    "teradatasql": "teradatasqlalchemy",
    "trino": "trino[sqlalchemy]",
}

#: Packages of drivers that have other names than their modules.
_PACKAGES_OF_DRIVERS = {
    "MySQLdb": "mysqlclient",
    "mysql.connector": "mysql-connector-python",
    "psycopg": "psycopg[binary]",
    "psycopg2": "psycopg2-binary",
}


class SqlAlchemyStream:
    """The rows of a running query."""

    def __init__(self, source: SqlAlchemySource, query: str, rows: int) -> None:
        self._source, self._rows = source, rows
        self._is_cancelled = False
        self._result: Any = None
        try:
            with source.translated("start"):
                self._result = source.execute(query, rows)
                described = describe(self._result.cursor.description, source.module)
            with source.translated("rows"):
                # The same rows decide, however many are fetched at a time.
                self._first = self._result.fetchmany(FIRST_ROWS)
            self._columns: list[Column] = columns_of(described, self._first)
        except BaseException:
            self.close()
            raise

    @property
    def schema(self) -> pa.Schema:
        """The columns, by the first rows."""
        import pyarrow as pa

        return pa.schema([(each.name, each.type) for each in self._columns])

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows as batches."""
        import pyarrow as pa

        schema = self.schema
        rows, self._first = self._first, []
        while rows:
            if self._is_cancelled:
                break
            arrays = [
                column.array(values)
                for column, values in zip(self._columns, zip(*rows, strict=True), strict=True)
            ]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)
            with self._source.translated("rows"):
                rows = self._result.fetchmany(self._rows)
        if self._is_cancelled:
            raise QueryInterruptedError(f"{self._source.name}: the query was cancelled")

    def cancel(self) -> None:
        """Ask the database to stop the query; where the driver can't, stop before the next rows."""
        self._is_cancelled = True
        with contextlib.suppress(Exception):
            self._source.interrupt()

    def close(self) -> None:
        """Free what the query holds, and end its transaction."""
        with contextlib.suppress(Exception):
            if self._result is not None:
                self._result.close()
        self._result, self._first = None, []
        self._source.end_transaction()


class SqlAlchemySource:
    """A connection by one of SQLAlchemy's dialects."""

    def __init__(self, url: ConnectionUrl, password: str | None) -> None:
        self._engine = _engine(url, password)
        self.name = self._engine.dialect.name
        self.module = self._engine.dialect.dbapi
        self.dialect = dialect_of(self._engine.dialect)
        try:
            with self.translated("connect"):
                self._connection = self._engine.connect()
        except BaseException:
            self._engine.dispose()
            raise

    def describe(self, query: str) -> pa.Schema:
        """Return the columns of a query, as its first rows have them."""
        with contextlib.closing(SqlAlchemyStream(self, query, FIRST_ROWS)) as stream:
            return stream.schema

    def ask(self, query: str) -> pa.Table:
        """Return the result of a query."""
        import pyarrow as pa

        with contextlib.closing(SqlAlchemyStream(self, query, FIRST_ROWS)) as stream:
            return pa.Table.from_batches(list(stream), schema=stream.schema)

    def stream(self, query: str, *, rows: int) -> RowStream:
        """Run a query."""
        return SqlAlchemyStream(self, query, rows)

    def snapshot(self) -> str | None:
        """Return None: SQLAlchemy doesn't know of snapshots."""
        return None

    def close(self) -> None:
        """End the connection."""
        with contextlib.suppress(Exception):
            self._connection.close()
        with contextlib.suppress(Exception):
            self._engine.dispose()

    def execute(self, query: str, rows: int) -> Any:
        """Run a query as it stands: no colon and no percent sign in it means a parameter."""
        options = {"stream_results": True, "no_parameters": True, "max_row_buffer": rows}
        result = self._connection.execution_options(**options).exec_driver_sql(stripped(query))
        if not result.returns_rows:
            raise QueryRefusedError(f"{self.name}: expected a query that returns rows")
        return result

    def interrupt(self) -> None:
        """Ask the driver to stop what runs on the connection, from another thread."""
        driver = self._connection.connection.driver_connection
        for name in ("cancel", "interrupt"):
            if callable(found := getattr(driver, name, None)):
                found()
                return
        if callable(number := getattr(driver, "thread_id", None)):  # MySQL
            with self._engine.connect() as other:
                other.exec_driver_sql(f"KILL QUERY {int(number())}")

    def end_transaction(self) -> None:
        """End the transaction. Raises nothing."""
        with contextlib.suppress(Exception):
            self._connection.rollback()

    @contextlib.contextmanager
    def translated(self, phase: Phase) -> Iterator[None]:
        """Translate SQLAlchemy's errors."""
        try:
            yield
        except (JobtoolError, MemoryError, GeneratorExit):
            raise
        except Exception as error:
            raise translate(self.name, error, phase) from None


def dialect_of(dialect: Any) -> Dialect:
    """Return how a database of one of SQLAlchemy's dialects writes names and values."""
    options = dict(_DIALECTS.get(dialect.name, {}))
    options.setdefault("quote_mark", dialect.identifier_preparer.initial_quote)
    return Dialect(**options)


def _engine(url: ConnectionUrl, password: str | None) -> Any:
    try:
        import sqlalchemy
    except ImportError:
        raise UsageError(
            f"connection: {url.scheme}:// needs the package sqlalchemy: pip install 'jobtool[sql]'."
            f"{did_you_mean(url.scheme, _schemes())}"
        ) from None
    redact.learn(password)
    name = f"{url.scheme}+{url.driver}" if url.driver else url.scheme
    _require_file(url)
    try:
        return sqlalchemy.create_engine(
            sqlalchemy.URL.create(
                name,
                username=url.user,
                password=password if url.user is not None else None,
                host=url.host,
                port=url.port,
                database=url.database or None,
                query=dict(url.options),
            ),
            poolclass=sqlalchemy.pool.NullPool,
            hide_parameters=True,
        )
    except sqlalchemy.exc.NoSuchModuleError:
        raise _unknown_scheme(url, name) from None
    except ImportError as error:
        package = _PACKAGES_OF_DRIVERS.get(error.name or "", error.name or "")
        raise UsageError(
            f"connection, {name}://: its driver isn't installed: pip install '{package}'"
        ) from None
    except Exception as error:  # a dialect's own check of the URL
        raise UsageError(f"connection, {name}://: {redact(in_one_line(str(error)))}") from None


def _unknown_scheme(url: ConnectionUrl, name: str) -> UsageError:
    package = _PACKAGES_OF_DIALECTS.get(url.scheme)
    if package is not None:
        return UsageError(
            f"connection: {name}:// needs the package {package}: pip install '{package}'"
        )
    schemes = _schemes()
    if url.driver is not None and url.scheme in schemes:
        return UsageError(
            f"connection: SQLAlchemy has no driver {url.driver!r} for {url.scheme}:// here. "
            f"Install the package that has it, or leave it out: {url.scheme}://."
        )
    return UsageError(
        f"connection: no package that is installed here knows {name}://."
        f"{did_you_mean(url.scheme, schemes)} Correct the scheme, or install the package that has "
        "it for SQLAlchemy: https://docs.sqlalchemy.org/dialects."
    )


def _schemes() -> list[str]:
    """Return the schemes of jobtool's own databases, of packages', and of SQLAlchemy's."""
    known = {*names(QUERIES), *_PACKAGES_OF_DIALECTS, *_BUILT_IN}
    return sorted(known - {"sqlalchemy"})


def _require_file(url: ConnectionUrl) -> None:
    is_file = url.scheme == "sqlite" and url.database not in ("", ":memory:")
    if is_file and "uri" not in url.options and not os.path.isfile(url.database):
        raise QueryRefusedError(
            f"connection: expected a database file; found none at {url.database!r}"
        )


def _open(url: ConnectionUrl, password: str | None) -> QuerySource:
    return SqlAlchemySource(url, password)


SOURCE_TYPE = QuerySourceType(open=_open, needs_password=lambda url: url.user is not None)
