"""PostgreSQL by its ADBC driver, which reads COPY in its binary format.

``postgresql://USER@HOST:PORT/DATABASE?sslmode=verify-full``. Options are libpq's
(https://www.postgresql.org/docs/current/libpq-connect.html). What the URL leaves out comes from
libpq's own places: PGHOST and the like, the file of services, ``~/.pgpass``. A URL that names a
driver, such as ``postgresql+psycopg://``, is SQLAlchemy's.

Types: ``numeric(p, s)`` is a decimal. ``numeric`` without a precision, as ``sum`` of a bigint and
``avg`` give it, has no bound for its digits and is text, exact: CAST it where a decimal is wanted.
So is one in an array, whose precision the driver doesn't tell.
``uuid``, ``json``, ``jsonb``, ``xml`` and enums are text. ``timestamptz`` is in UTC. Arrays are
lists of one dimension. Types without an Arrow type are refused by name, and composite types too:
the driver loses their values.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import Any

from jobtool.errors import JobtoolError, QueryFailedError, UsageError
from jobtool.queries.adbc import AdbcKind, AdbcSource, load
from jobtool.queries.dialect import Dialect, stripped
from jobtool.queries.pgerrors import translate_postgres
from jobtool.queries.pgtypes import adapt
from jobtool.queries.source import QuerySource, QuerySourceType, RowStream
from jobtool.queries.url import ConnectionUrl
from jobtool.redact import redact

#: Used unless the URL, or the variable, says otherwise. A peer that is gone is noticed in minutes:
#: libpq alone waits for two hours.
_DEFAULTS = {
    "connect_timeout": ("30", "PGCONNECT_TIMEOUT"),
    "fallback_application_name": ("jobtool", ""),
    "keepalives_idle": ("60", ""),
    "keepalives_interval": ("20", ""),
    "keepalives_count": ("6", ""),
}

_BATCH_BYTES = 4 * 1024 * 1024


class PostgresSource(AdbcSource):
    """A connection, with transactions that only read one state of the database."""

    def describe(self, query: str) -> Any:
        """Return the columns of a query, which must be permitted. No row is computed."""
        schema = super().describe(query)
        super().ask(f"{self.dialect.rows_of(query)} LIMIT 0")  # asks for permissions, at last
        return schema

    def stream(self, query: str, *, rows: int) -> RowStream:
        """Run a query."""
        self._require_flat_arrays(query)
        return super().stream(query, rows=rows)

    def ask(self, query: str) -> Any:
        """Return the result of a query."""
        self._require_flat_arrays(query)
        return super().ask(query)

    def snapshot(self) -> str | None:
        """Return the transactions that the connection's own one sees: ``pg_current_snapshot()``."""
        asked = super().ask("SELECT CAST(pg_current_snapshot() AS text)")
        return f"pg_snapshot {asked.column(0)[0].as_py()}"

    def adapt(self, field: Any) -> Any:
        """Return a field as jobtool gives it, and how its column is converted."""
        return adapt(field, self._name_of)

    def _name_of(self, oid: int) -> str:
        try:
            asked = super().ask(f"SELECT format_type({oid}, NULL)")
        except JobtoolError:  # it is only for a message
            return f"with the OID {oid}"
        return str(asked.column(0)[0].as_py())

    def _require_flat_arrays(self, query: str) -> None:
        """Refuse arrays of several dimensions, which the driver gives as if they had one.

        It doesn't read those whose first element has another number than 0 or 1. Nothing else tells
        either: the query runs twice if it has arrays, in one transaction.
        """
        import pyarrow as pa

        lists = [field.name for field in super().describe(query) if pa.types.is_list(field.type)]
        if not lists:
            return
        name = self.dialect.name
        deep = " OR ".join(
            f"array_ndims({name(column)}) > 1 OR array_lower({name(column)}, 1) NOT IN (0, 1)"
            for column in lists
        )
        rows = f"SELECT 1 FROM (\n{stripped(query)}\n) AS jobtool_rows WHERE {deep} LIMIT 1"
        if super().ask(rows).num_rows:
            raise QueryFailedError(
                "PostgreSQL: expected arrays of one dimension, numbered from 1, in "
                f"{', '.join(map(repr, lists))}; found another. Write array_to_json(column) in "
                "the query."
            )


def _options_for(rows: int) -> Mapping[str, str]:
    """Let the driver give batches of a size in bytes: it doesn't count rows."""
    size = min(_BATCH_BYTES, max(64 * 1024, rows * 64))
    return {"adbc.postgresql.batch_size_hint_bytes": str(size)}


KIND = AdbcKind(
    name="PostgreSQL",
    dialect=Dialect(),
    options_for=_options_for,
    begin="SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
    translate=translate_postgres,
)


def conninfo(url: ConnectionUrl, password: str | None) -> str:
    """Return libpq's text of keywords and values, from the URL and a password."""
    given = {
        "host": url.host,
        "port": str(url.port) if url.port else None,
        "user": url.user,
        "dbname": url.database or None,
        "password": password,
    }
    values = {key: value for key, value in given.items() if value is not None}
    values.update(url.options)
    for key, (value, variable) in _DEFAULTS.items():
        if key not in values and not (variable and os.environ.get(variable)):
            values[key] = value
    return " ".join(f"{key}='{_escaped(value)}'" for key, value in values.items())


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "\\'")


def _open(url: ConnectionUrl, password: str | None) -> QuerySource:
    redact.learn(password, os.environ.get("PGPASSWORD"))
    driver = load("postgresql", url.scheme)
    for key in url.options:
        if not key.replace("_", "").isalnum():
            raise UsageError(
                f"connection, {url.scheme}://: {key!r} is no option of libpq. Correct or remove it."
            )
    text = conninfo(url, password)
    return PostgresSource(KIND, lambda: driver.connect(text))


def needs_password(url: ConnectionUrl) -> bool:
    """Return True if the server may ask for a password, and libpq has none in its own places."""
    if os.environ.get("PGPASSWORD") or os.environ.get("PGSERVICE") or "service" in url.options:
        return False
    is_socket = not url.host and not os.environ.get("PGHOST") and "host" not in url.options
    if is_socket or {"sslcert", "krbsrvname", "passfile"} & url.options.keys():
        return False
    passfile = os.environ.get("PGPASSFILE") or os.path.expanduser("~/.pgpass")
    with contextlib.suppress(OSError):
        return os.path.getsize(passfile) == 0
    return True


SOURCE_TYPE = QuerySourceType(open=_open, needs_password=needs_password)
