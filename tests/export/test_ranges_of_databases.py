"""Ranges in databases that compare and sort by their own rules: each row is in exactly one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobtool.export.bounds import decode_value, encode_value
from jobtool.export.ranges import Range, plan_ranges, query_of
from jobtool.queries.source import QuerySource
from tests.queries.sources import opened
from tests.servers.postgresql import PostgresServer

_INTEGERS = st.integers(-(2**63) + 1, 2**63 - 1) | st.integers(-3, 3)
_FLOATS = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.0, -0.0, 5e-324])
_DECIMALS = st.decimals(-(10**20), 10**20, places=9) | st.decimals(-2, 2, places=1)
_TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=4)
_TEXTS |= st.text("aAäÄ'\"\\\n -_", max_size=4)

_COLUMNS = {
    ("sqlite", "INTEGER"): _INTEGERS,
    ("sqlite", "REAL"): _FLOATS,
    ("sqlite", "TEXT"): _TEXTS,
    ("postgresql", "bigint"): _INTEGERS,
    ("postgresql", "double precision"): _FLOATS | st.sampled_from(["NaN", "Infinity"]),
    ("postgresql", "numeric(30, 9)"): _DECIMALS,
    ("postgresql", "numeric"): _DECIMALS | st.just("NaN"),  # for Arrow it is a text
    ("postgresql", "text"): _TEXTS,
    ("postgresql", "char(4)"): _TEXTS,
    ("postgresql", "date"): st.dates(),
    ("postgresql", "timestamp"): st.datetimes(),
    ("postgresql", "timestamptz"): st.datetimes(timezones=st.timezones()),
    ("postgresql", "uuid"): st.uuids(),
    ("postgresql", "mood"): st.sampled_from(["sad", "glad"]),
}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[tuple[str, QuerySource]]:
    url = "sqlite://"
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.url()
    with opened(url) as source:
        yield request.param, source


@settings(max_examples=20)  # of each database
@given(data=st.data(), count=st.integers(1, 8))
def test_each_row_is_in_one_range_and_the_ranges_are_in_order(
    database: tuple[str, QuerySource], data: st.DataObject, count: int
) -> None:
    name, source = database
    kind = data.draw(st.sampled_from([kind for of, kind in _COLUMNS if of == name]))
    values = st.none() | _COLUMNS[name, kind]
    pool = data.draw(st.lists(values, min_size=1, max_size=5))
    drawn = data.draw(st.lists(st.sampled_from(pool), min_size=1, max_size=20))
    query = " UNION ALL ".join(
        f"SELECT {place} AS id, CAST({_literal(source, value)} AS {kind}) AS v"
        for place, value in enumerate(drawn)
    )
    ranges = [_written(one) for one in plan_ranges(source, query, "v", count)]
    of_each = [
        source.ask(query_of(one, query, "v", source.dialect, order_by=["id"])).column("id")
        for one in ranges
    ]
    whole = source.ask(f"SELECT * FROM ({query}) AS r ORDER BY v NULLS LAST, id").column("id")
    assert list(itertools.chain(*(ids.to_pylist() for ids in of_each))) == whole.to_pylist()
    assert [len(ids) for ids in of_each] == [one.rows for one in ranges]


def _literal(source: QuerySource, value: object) -> str:
    return "NULL" if value is None else source.dialect.value(str(value))


def _written(one: Range) -> Range:
    """A range whose bounds have been in a job file."""
    lower, upper = (
        None if value is None else decode_value(encode_value(value))
        for value in (one.lower, one.upper)
    )
    return Range(
        number=one.number,
        count=one.count,
        lower=lower,
        upper=upper,
        has_nulls=one.has_nulls,
        rows=one.rows,
    )
