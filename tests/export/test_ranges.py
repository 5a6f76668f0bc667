"""Ranges of a query: each row is in exactly one, in order, and they are balanced."""

from __future__ import annotations

import datetime
import itertools
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from jobtool.errors import QueryRefusedError, StoppedError, UsageError
from jobtool.export.bounds import decode_value, encode_value
from jobtool.export.ranges import Range, plan_ranges, query_of
from jobtool.queries.dialect import Dialect
from jobtool.queries.plugins import open_source
from jobtool.queries.source import QuerySource
from jobtool.queries.url import ConnectionUrl
from jobtool.stop import Stop

_INT64 = 2**63
_numbers = itertools.count()


@pytest.fixture
def source():
    opened = open_source(ConnectionUrl.parse("duckdb://"))
    yield opened
    opened.close()


def _some(values: st.SearchStrategy) -> st.SearchStrategy:
    """Many or few values, often the same ones, with NULLs."""
    few = st.lists(values, min_size=1, max_size=4).flatmap(
        lambda pool: st.lists(st.none() | st.sampled_from(pool), max_size=60)
    )
    return few | st.lists(values, max_size=60) | st.lists(st.none() | values, max_size=60)


def _ints(bits: int, signed: bool = True) -> st.SearchStrategy:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return st.integers(low, high) | st.integers(max(low, -3), 3) | st.sampled_from([low, high])


# Arrow's integers, because Python has neither nanoseconds nor years beyond 9999.
_COLUMNS = {
    "int8": (pa.int8(), _ints(8)),
    "int64": (pa.int64(), _ints(64)),
    "uint64": (pa.uint64(), _ints(64, signed=False)),
    "decimal": (
        pa.decimal128(38, 9),
        st.decimals(-(10**28), 10**28, places=9) | st.decimals(-3, 3, places=9),
    ),
    "float32": (pa.float32(), st.floats(width=32)),
    "float64": (pa.float64(), st.floats() | st.sampled_from([0.0, -0.0, 5e-324, float("nan")])),
    "date": (pa.date32(), st.dates()),
    "timestamp[s]": (pa.timestamp("ms"), st.integers(-(10**14), 10**14)),
    "timestamp[us]": (pa.timestamp("us"), st.integers(-(2 * 10**17), 3 * 10**17)),
    "timestamp[us, zone]": (pa.timestamp("us", "America/New_York"), st.integers(0, 2**53)),
    "timestamp[ns]": (pa.timestamp("ns"), st.integers(-3000, 3000) | _ints(60)),
    "text": (pa.string(), st.text(max_size=5) | st.text("aAäÄ'\"\\\n\0", max_size=4)),
}


class _Rows:
    """A query for rows with a column ``v``, numbered by ``id``."""

    def __init__(self, folder: Path, column: pa.Array) -> None:
        path = folder / f"rows-{next(_numbers)}.parquet"
        pq.write_table(pa.table({"id": range(len(column)), "v": column}), path)
        self.query = f"SELECT * FROM '{path}'"

    def of(self, source: QuerySource, one: Range) -> list[int]:
        query = query_of(one, self.query, "v", source.dialect, order_by=["id"])
        return source.ask(query).column("id").to_pylist()

    def sorted(self, source: QuerySource) -> list[int]:
        query = f"{self.query} ORDER BY v NULLS LAST, id"
        return source.ask(query).column("id").to_pylist()


def _written(one: Range) -> Range:
    """A range whose bounds have been in a job file."""
    lower, upper = (
        None if value is None else decode_value(encode_value(value))
        for value in (one.lower, one.upper)
    )
    return replace(one, lower=lower, upper=upper)


def _check_chain(ranges: tuple[Range, ...], count: int) -> None:
    assert [one.number for one in ranges] == list(range(1, len(ranges) + 1))
    assert {one.count for one in ranges} == {len(ranges)}
    assert len(ranges) <= count
    assert (ranges[0].lower, ranges[-1].upper) == (None, None)
    assert all(one.upper == other.lower is not None for one, other in itertools.pairwise(ranges))
    assert [one.has_nulls for one in ranges] == [False] * (len(ranges) - 1) + [True]


@pytest.mark.parametrize("kind", _COLUMNS)
@settings(max_examples=settings().max_examples // 4)  # of each kind: an example asks 15 queries
@given(data=st.data(), count=st.sampled_from([*range(1, 13), 1000]))
def test_each_row_is_in_one_range_and_the_ranges_are_in_order(
    source: QuerySource, tmp_path: Path, kind: str, data: st.DataObject, count: int
) -> None:
    arrow_type, values = _COLUMNS[kind]
    rows = _Rows(tmp_path, pa.array(data.draw(_some(values)), arrow_type))
    ranges = plan_ranges(source, rows.query, "v", count)
    _check_chain(ranges, count)
    of_each = [rows.of(source, _written(one)) for one in ranges]
    assert list(itertools.chain(*of_each)) == rows.sorted(source)
    if len(ranges) > 1:
        assert all(of_each), "an empty range"
    if kind != "timestamp[ns]":  # counted before nanoseconds are cut
        assert [len(ids) for ids in of_each] == [one.rows for one in ranges]


@given(
    values=_some(_ints(64)) | st.lists(st.integers(0, 40).map(lambda n: n**11), max_size=300),
    count=st.integers(1, 12),
)
def test_ranges_are_balanced_as_far_as_values_allow(
    source: QuerySource, tmp_path: Path, values: list[int | None], count: int
) -> None:
    rows = _Rows(tmp_path, pa.array(values, pa.int64()))
    counts = Counter(values)
    nulls = counts.pop(None, 0)
    most_frequent = max(counts.values(), default=0)
    share = len(values) / count
    for one in plan_ranges(source, rows.query, "v", count):
        allowed = share * 17 / 16 + most_frequent + 1 + (nulls if one.has_nulls else 0)
        assert len(rows.of(source, one)) <= allowed


@pytest.mark.parametrize("power", [1, 2, 8])
def test_a_skewed_key_gives_ranges_of_about_their_share(source: QuerySource, power: int) -> None:
    query = f"SELECT CAST(range AS HUGEINT) ** {power} AS v FROM range(20000)"
    ranges = plan_ranges(source, query, "v", 8)
    sizes = [source.ask(query_of(one, query, "v", source.dialect)).num_rows for one in ranges]
    assert len(sizes) == 8
    assert max(sizes) < 2 * min(sizes)


@pytest.mark.parametrize(
    ("first", "last", "count", "sizes", "most"),
    [
        (240, 759, 4, 3, 540),  # the other values are in ranges of their own
        (400, 999, 2, 2, 600),  # a bound before the middle is better than none after it
        (0, 899, 10, 2, 916),
        (0, 999, 4, 1, 1000),
    ],
)
def test_a_value_of_many_rows_shares_its_range_with_few_others(
    source: QuerySource, first: int, last: int, count: int, sizes: int, most: int
) -> None:
    query = (
        f"SELECT CASE WHEN range BETWEEN {first} AND {last} THEN {first} ELSE range END AS v "
        "FROM range(1000)"
    )
    found = [one.rows for one in plan_ranges(source, query, "v", count)]
    assert (len(found), max(found) <= most) == (sizes, True), found


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SELECT 1 AS v WHERE false", [0]),
        ("SELECT CAST(NULL AS INTEGER) AS v FROM range(5)", [5]),
        ("SELECT NULL AS v FROM range(5)", [5]),
        ("SELECT 7 AS v FROM range(5)", [5]),
        ("SELECT CAST('NaN' AS DOUBLE) AS v FROM range(5)", [5]),
        ("SELECT CAST('inf' AS DOUBLE) AS v UNION ALL SELECT CAST('-inf' AS DOUBLE)", [2]),
        ("SELECT range % 2 AS v FROM range(10)", [5, 5]),
        ("SELECT repeat(chr(97 + CAST(range AS INT)), 2000) AS v FROM range(10)", [10]),
        ("SELECT TIMESTAMP '290000-01-01' AS v UNION ALL SELECT TIMESTAMP '2000-01-01'", [2]),
        ("SELECT DATE '4000-01-01 (BC)' AS v UNION ALL SELECT DATE '2000-01-01'", [1, 1]),
    ],
)
def test_few_values_give_few_ranges(source: QuerySource, query: str, expected: list[int]) -> None:
    ranges = plan_ranges(source, query, "v", 4)
    _check_chain(ranges, 4)
    asked = [source.ask(query_of(one, query, "v", source.dialect)).num_rows for one in ranges]
    assert asked == [one.rows for one in ranges] == expected


def database(folder: Path, *statements: str) -> ConnectionUrl:
    """Run statements on a database file, and return its URL."""
    path = folder / "tables.duckdb"
    with duckdb.connect(str(path)) as connection:
        for statement in statements:
            connection.execute(statement)
    return ConnectionUrl.parse(f"duckdb:///{path}")


def test_rows_that_arrive_after_the_split_are_in_one_range(tmp_path: Path) -> None:
    url = database(tmp_path, "CREATE TABLE later AS SELECT range AS v FROM range(100, 200)")
    query = "SELECT * FROM later"
    source = open_source(url)
    ranges = plan_ranges(source, query, "v", 4)
    source.close()
    database(tmp_path, "INSERT INTO later SELECT range FROM range(0, 300) UNION ALL SELECT NULL")
    source = open_source(url)
    answers = [source.ask(query_of(one, query, "v", source.dialect)) for one in ranges]
    found = pa.concat_tables(answers).column("v").to_pylist()
    assert found == [*sorted([*range(300), *range(100, 200)]), None]


def test_the_database_compares_texts_by_its_collation(tmp_path: Path) -> None:
    """``a`` and ``A`` are equal for this column: no bound may lie between them."""
    source = open_source(
        database(
            tmp_path,
            "CREATE TABLE words (v VARCHAR COLLATE NOCASE)",
            "INSERT INTO words SELECT unnest(['b', 'A', 'a', 'B', 'a', 'C', 'A', 'c'])",
        )
    )
    query = "SELECT * FROM words"
    ranges = plan_ranges(source, query, "v", 8)
    answers = [source.ask(query_of(one, query, "v", source.dialect)) for one in ranges]
    assert ["".join(sorted(one.column("v").to_pylist())) for one in answers] == [
        "AAaa",
        "Bb",
        "Cc",
    ]


@pytest.mark.parametrize("query", ["SELECT 1 AS v;", "SELECT 1 AS v -- all\n;\n"])
def test_a_query_may_end_with_a_semicolon_or_have_a_comment(
    source: QuerySource, query: str
) -> None:
    (only,) = plan_ranges(source, query, "v", 2)
    assert source.ask(query_of(only, query, "v", source.dialect)).num_rows == 1


def test_a_column_may_have_any_name(source: QuerySource) -> None:
    query = """SELECT range AS "a ""b"" 'c; --" FROM range(10)"""
    column = """a "b" 'c; --"""
    ranges = plan_ranges(source, query, column, 2)
    asked = [source.ask(query_of(one, query, column, source.dialect)) for one in ranges]
    assert [one.num_rows for one in asked] == [5, 5]


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ("stat_tion", ["no such column", "Did you mean 'station'?", "station, TIME, ok"]),
        ("time", ["Did you mean 'TIME'?"]),
        ("ok", ["expected a number, a date, a timestamp or a text", "bool", "CAST"]),
        ("kind", ["dictionary", "CAST"]),
        ("list", ["list", "CAST"]),
    ],
)
def test_a_column_that_cannot_be_split_by_is_refused(
    source: QuerySource, column: str, said: list[str]
) -> None:
    query = (
        "SELECT 1 AS station, now() AS TIME, true AS ok, CAST('a' AS ENUM('b', 'a')) AS kind, "
        "[1] AS list"
    )
    with pytest.raises(UsageError) as raised:
        plan_ranges(source, query, column, 2)
    for words in said:
        assert words in str(raised.value)


@pytest.mark.parametrize("count", [-1, 0, 10_001])
def test_a_number_of_ranges_out_of_bounds_is_refused(source: QuerySource, count: int) -> None:
    with pytest.raises(UsageError, match="expected 1 to 10,000 ranges; found"):
        plan_ranges(source, "SELECT 1 AS v", "v", count)


def test_the_database_s_own_message_says_what_is_wrong(source: QuerySource) -> None:
    with pytest.raises(QueryRefusedError, match="nowhere"):
        plan_ranges(source, "SELECT * FROM nowhere", "v", 2)


#: A query that takes hours in little memory.
_ENDLESS = "SELECT CAST(sum(hash(range)) AS BIGINT) AS v FROM range(100000000000000)"


def test_a_split_can_be_stopped(source: QuerySource) -> None:
    with pytest.raises(StoppedError, match="the database works"):
        plan_ranges(source, _ENDLESS, "v", 2, stop=Stop(at=time.monotonic() + 0.3))


def test_a_split_ends_with_ctrl_c() -> None:
    program = f"""
import os, signal, threading
from jobtool.export.ranges import plan_ranges
from jobtool.queries.dialect import Dialect
from jobtool.queries.plugins import open_source
from jobtool.queries.url import ConnectionUrl

source = open_source(ConnectionUrl.parse("duckdb://"))
threading.Timer(0.5, os.kill, [os.getpid(), signal.SIGINT]).start()
try:
    plan_ranges(source, {_ENDLESS!r}, "v", 2)
except KeyboardInterrupt:
    print([thread.name for thread in threading.enumerate() if "ask" in thread.name])
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "[]\n", "")


_DAY = datetime.date(2024, 1, 31)


@pytest.mark.parametrize(
    ("one", "rest"),
    [
        (
            Range(number=1, count=3, upper=_DAY),
            'WHERE "day" < DATE \'2024-01-31\'\nORDER BY "day", "well"',
        ),
        (
            Range(number=3, count=3, lower=_DAY, has_nulls=True),
            'WHERE ("day" >= DATE \'2024-01-31\') OR "day" IS NULL\n'
            'ORDER BY CASE WHEN "day" IS NULL THEN 1 ELSE 0 END, "day", "well"',
        ),
        (
            Range(number=1, count=1, has_nulls=True),
            'ORDER BY CASE WHEN "day" IS NULL THEN 1 ELSE 0 END, "day", "well"',
        ),
        (  # for databases in which no comparison with NaN is true, the last range has it
            Range(number=2, count=3, lower=1.5, upper=2.5),
            'WHERE NOT ("day" < 1.5) AND "day" < 2.5\nORDER BY "day", "well"',
        ),
    ],
)
def test_a_query_of_a_range_is_sql_that_all_databases_know(one: Range, rest: str) -> None:
    query = query_of(one, "SELECT * FROM plates;", "day", Dialect(), order_by=["day", "well"])
    assert query == f'SELECT * FROM (\nSELECT * FROM plates\n) AS "jobtool_rows"\n{rest}'
