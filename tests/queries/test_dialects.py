"""Hostile names and texts come back from the database as they were."""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool.queries.dialect import Value
from jobtool.queries.source import QuerySource
from tests.queries.sources import opened
from tests.servers.postgresql import PostgresServer

_TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
_HOSTILE = st.lists(
    st.sampled_from(["'", '"', "`", "\\", "%", "%s", ":a", "--", "/*", ";", "\n", "$$", "ü", "a"])
).map("".join)
TEXTS = _TEXTS | _HOSTILE
NAMES = TEXTS.filter(lambda name: 0 < len(name.encode()) <= 60)


@pytest.fixture(scope="module", params=["duckdb", "sqlite", "postgresql"])
def source(request: pytest.FixtureRequest) -> Iterator[QuerySource]:
    url = f"{request.param}://"
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.url()
    with opened(url) as found:
        yield found


@given(name=NAMES, text=TEXTS)
def test_names_and_texts(source: QuerySource, name: str, text: str) -> None:
    dialect = source.dialect
    query = f"SELECT {dialect.value(text)} AS {dialect.name(name)}"
    asked = source.ask(dialect.rows_of(query, dialect.name(name)))
    assert asked.to_pylist() == [{name: text}]


@given(
    value=st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.decimals(-(10**9), 10**9, places=4, allow_nan=False)
    | st.dates(datetime.date(1, 1, 1))
    | st.datetimes(datetime.datetime(1900, 1, 1))
    | st.datetimes(
        datetime.datetime(1900, 1, 2),
        datetime.datetime(9999, 12, 30),
        timezones=st.integers(-14 * 60, 14 * 60).map(
            lambda minutes: datetime.timezone(datetime.timedelta(minutes=minutes))
        ),
    )
)
def test_values_are_what_a_column_has(source: QuerySource, value: Value) -> None:
    if source.dialect.timestamp_prefix == "" and isinstance(value, datetime.date):
        return  # SQLite has no dates
    asked = source.ask(f"SELECT {source.dialect.value(value)} AS a").to_pylist()[0]["a"]
    if isinstance(value, float):  # a number without an exponent is a decimal, or its exact text
        assert float(asked) == value
    elif isinstance(value, decimal.Decimal):
        assert decimal.Decimal(str(asked)) == pytest.approx(value)
    else:
        assert asked == value
