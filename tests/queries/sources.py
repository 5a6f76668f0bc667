"""Connections as `open_source` makes them, with a password in the environment."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from jobtool.queries.plugins import PASSWORD_VARIABLE, open_source
from jobtool.queries.source import QuerySource, RowStream
from jobtool.queries.url import ConnectionUrl
from tests.needs import lack
from tests.servers.postgresql import PASSWORD


@contextlib.contextmanager
def opened(url: str, password: str | None = PASSWORD) -> Iterator[QuerySource]:
    with pytest.MonkeyPatch.context() as patch:
        if password is None:
            patch.delenv(PASSWORD_VARIABLE, raising=False)
        else:
            patch.setenv(PASSWORD_VARIABLE, password)
        source = open_source(ConnectionUrl.parse(url))
    try:
        yield source
    finally:
        source.close()


def table_of(source: QuerySource, query: str, *, rows: int = 1000) -> pa.Table:
    """All rows of a query, by its stream; each batch has the schema that was promised."""
    with contextlib.closing(source.stream(query, rows=rows)) as stream:
        batches = []
        for batch in stream:
            assert batch.schema == stream.schema
            batches.append(batch)
        return pa.Table.from_batches(batches, schema=stream.schema)


def count_into(counts: list[int], stream: RowStream) -> None:
    """Read a stream to its end; note the number of rows of each batch."""
    for batch in stream:
        counts.append(batch.num_rows)


def need_psycopg() -> None:
    """Require a second driver for PostgreSQL, which SQLAlchemy uses."""
    try:
        import psycopg  # noqa: F401
    except ImportError:
        lack("psycopg is not installed: pip install 'psycopg[binary]'")


def one_row(source: QuerySource, query: str) -> dict[str, Any]:
    (row,) = table_of(source, query).to_pylist()
    return row
