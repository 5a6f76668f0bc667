"""Impala, Hive and Spark: a connection that queries are exported from."""

from __future__ import annotations

import contextlib
import datetime
import re
from typing import TYPE_CHECKING

from jobtool.errors import QueryRefusedError
from jobtool.queries.dialect import Dialect, Value, stripped
from jobtool.queries.hive.login import Login
from jobtool.queries.hive.session import Session
from jobtool.queries.hive.stream import HiveStream
from jobtool.queries.url import ConnectionUrl

if TYPE_CHECKING:
    import pyarrow as pa

_FEW = 10_000

#: Queries that only read, as far as a look at their words can tell.
_READS = re.compile(r"\s*(?:SELECT|WITH)\b", re.IGNORECASE)
_WRITES = re.compile(r"\b(?:INSERT|UPSERT|UPDATE|DELETE|MERGE|INTO|OVERWRITE)\b", re.IGNORECASE)

#: A place in a query that stands one line further down in another.
_LINE = re.compile(r"\b([Ll]ine )([2-9]|[1-9]\d+)\b")

#: Hive's name for a column of a subquery whose own name another column has.
_NAMELESS = re.compile(r"_col\d+")


class HiveDialect(Dialect, frozen=True, kw_only=True):
    """SQL as Impala, Hive and Spark all read it. Impala has no literals of timestamps."""

    def value(self, value: Value) -> str:
        """Return a value as it stands in a query; raise ``ValueError`` for one that can't."""
        if isinstance(value, datetime.datetime):
            return f"CAST({self._text(value.isoformat(sep=' '))} AS TIMESTAMP)"
        if isinstance(value, datetime.date):
            return f"CAST({self._text(value.isoformat())} AS DATE)"
        text = super().value(value)
        # As it stands, 0.1 is a decimal.
        return f"CAST('{text}' AS DOUBLE)" if isinstance(value, float) else text

    def _text(self, text: str) -> str:
        # Hive and Spark put a variable's value where a query has ${name}, within texts too.
        return super()._text(text).replace("${", "$\\{")


class HiveSource:
    """A session. After a lost connection the next query opens another one."""

    dialect = HiveDialect(quote_mark="`", escapes_backslash=True)

    def __init__(self, url: ConnectionUrl, password: str | None) -> None:
        self._login = Login(url, password)
        self._is_impala = url.scheme == "impala"
        self._is_hive = self._is_spark = False
        self._session = Session(self._login, self._prepare)
        self._running: HiveStream | None = None
        self._session.open()

    def describe(self, query: str) -> pa.Schema:
        """Return the columns of a query.

        The servers plan ``SELECT * FROM (query) LIMIT 0`` and compute nothing. Where a server can't
        have the query in there, or gives a column another name there, as Impala and Hive do with
        two columns of one name, the query begins to run and is closed as soon as its columns are
        known.
        """
        inner = stripped(query)
        try:
            found = self._described(f"{self.dialect.rows_of(inner)} LIMIT 0")
        except QueryRefusedError as error:
            if not _reads(inner):
                said = _LINE.sub(lambda place: f"{place[1]}{int(place[2]) - 1}", str(error))
                raise QueryRefusedError(said) from None
        else:
            if not (self._is_hive and any(map(_NAMELESS.fullmatch, found.names))):
                return found
        # If it is refused too, the message is about its own text.
        return self._described(inner)

    def ask(self, query: str) -> pa.Table:
        """Return the result of a query."""
        import pyarrow as pa

        with contextlib.closing(self.stream(query, rows=_FEW)) as stream:
            return pa.Table.from_batches(list(stream), schema=stream.schema)

    def stream(self, query: str, *, rows: int) -> HiveStream:
        """Begin a query. A query that runs already on this connection is closed."""
        self._end()
        self._running = HiveStream(
            self._session,
            stripped(query),
            rows=rows,
            timestamp_unit=self._login.timestamp_unit,
            by_hive=self._is_hive,
        )
        return self._running

    def snapshot(self) -> str | None:
        """Return None: a query sees the files that its tables have when it is planned."""
        return None

    def close(self) -> None:
        """Close the query and the session."""
        self._end()
        self._session.close()

    def _described(self, query: str) -> pa.Schema:
        with contextlib.closing(self.stream(query, rows=1)) as stream:
            return stream.schema if self._is_spark else stream.planned_schema()

    def _end(self) -> None:
        if self._running is not None:
            self._running.close()
            self._running = None

    def _prepare(self) -> None:
        """Make a new session that of the URL."""
        engine = self._session.engine()
        self._is_hive, self._is_spark = "Hive" in engine, "Spark" in engine
        for name, text in self._login.settings.items():
            value = self.dialect.value(text) if self._is_impala else text
            self._run(f"SET {name}={value}")
        if self._login.database:
            self._run(f"USE {self.dialect.name(self._login.database)}")

    def _run(self, statement: str) -> None:
        running = HiveStream(self._session, statement, rows=1, timestamp_unit="us", by_hive=False)
        with contextlib.closing(running):
            running.wait()


def _reads(query: str) -> bool:
    return bool(_READS.match(query)) and not _WRITES.search(query)
