"""PostgreSQL by ADBC, against a real server."""

from __future__ import annotations

import datetime
import decimal
import threading

import pyarrow as pa
import pytest

from jobtool.errors import (
    CredentialsError,
    QueryFailedError,
    QueryInterruptedError,
    QueryRefusedError,
    UnreachableError,
    UsageError,
)
from jobtool.queries.pgtypes import uuid_texts
from jobtool.queries.postgresql import needs_password
from jobtool.queries.url import ConnectionUrl
from tests.queries.sources import count_into, need_psycopg, one_row, opened, table_of
from tests.servers.hdfs import free_ports
from tests.servers.postgresql import PASSWORD, READER, READER_PASSWORD, PostgresServer

UTC = datetime.UTC
UUID = "0b8f8b3e-9dc0-11d1-b245-5ffdce74fad2"

#: An expression, the Arrow type of its column, and the value that is expected there.
TYPES = [
    ("1::int2", pa.int16(), 1),
    ("-2::int4", pa.int32(), -2),
    ("9223372036854775807::int8", pa.int64(), 2**63 - 1),
    ("4000000000::oid", pa.int64(), 4_000_000_000),
    ("1.5::float4", pa.float32(), 1.5),
    ("'-infinity'::float8", pa.float64(), float("-inf")),
    ("1.5::numeric(10,2)", pa.decimal128(10, 2), decimal.Decimal("1.50")),
    ("'-12345678901234567890.5'::numeric(50,10)", pa.decimal256(50, 10), None),
    ("1249::numeric(3,-2)", pa.decimal128(5, 0), decimal.Decimal(1200)),
    ("0.0012::numeric(2,4)", pa.decimal128(4, 4), decimal.Decimal("0.0012")),
    ("12345678901234567890123.456::numeric", pa.string(), "12345678901234567890123.456"),
    ("1::numeric(100,1)", pa.string(), "1.0"),
    ("true", pa.bool_(), True),
    ("'ünï\n'::text", pa.string(), "ünï\n"),
    ("'a'::char(3)", pa.string(), "a  "),
    ("'\\x00ff'::bytea", pa.binary(), b"\x00\xff"),
    ("'0044-03-15 BC'::date", pa.date32(), None),
    ("'2024-02-29'::date", pa.date32(), datetime.date(2024, 2, 29)),
    ("'23:59:59.999999'::time", pa.time64("us"), datetime.time(23, 59, 59, 999999)),
    (
        "'2024-02-29 12:00:00.000001'::timestamp",
        pa.timestamp("us"),
        datetime.datetime(2024, 2, 29, 12, 0, 0, 1),
    ),
    (
        "'2024-02-29 12:00+02'::timestamptz",
        pa.timestamp("us", "UTC"),
        datetime.datetime(2024, 2, 29, 10, tzinfo=UTC),
    ),
    ("'1 mon 2 days 3 s'::interval", pa.month_day_nano_interval(), (1, 2, 3 * 10**9)),
    (f"'{UUID}'::uuid", pa.string(), UUID),
    ("""'{"a": 1}'::json""", pa.string(), '{"a": 1}'),
    ("""'{"a":1}'::jsonb""", pa.string(), '{"a": 1}'),
    ("xmlparse(content '<a/>')", pa.string(), "<a/>"),
    ("array[1,null,3]", pa.list_(pa.int32()), [1, None, 3]),
    ("array['a',null]::text[]", pa.list_(pa.string()), ["a", None]),
    ("array[1.5]::numeric(5,2)[]", pa.list_(pa.string()), ["1.50"]),
    (f"array['{UUID}']::uuid[]", pa.list_(pa.string()), [UUID]),
    ("'sad'::mood", pa.string(), "sad"),
    ("1.5::price", pa.decimal128(12, 3), decimal.Decimal("1.500")),
]


def test_types_are_kept_with_and_without_values(postgres: PostgresServer) -> None:
    names = [f"c{number}" for number in range(len(TYPES))]
    first = ", ".join(f"{each[0]} AS {name}" for each, name in zip(TYPES, names, strict=True))
    query = (
        f"SELECT n, a.* FROM generate_series(0, 1) AS n LEFT JOIN (SELECT {first}) AS a ON n = 1 "
        "ORDER BY n"
    )
    with opened(postgres.url()) as source:
        described = source.describe(query)
        table = table_of(source, query)
    assert described == table.schema
    assert table.schema.types[1:] == [kind for _, kind, _ in TYPES]
    nothing, row = table.drop_columns(["n", "c16"]).to_pylist()  # Python has no year before 1
    assert set(nothing.values()) == {None}
    for name, (expression, _, expected) in zip(names, TYPES, strict=True):
        if expected is not None:
            assert row[name] == expected, expression
    assert row["c7"] == decimal.Decimal("-12345678901234567890.5")
    assert table["c16"].cast(pa.int32()).to_pylist() == [None, -735160]


def test_nulls_are_where_the_server_has_them(postgres: PostgresServer) -> None:
    columns = [
        f"CASE WHEN n % {2 + number % 3} = 1 THEN {each[0]} END AS c{number}"
        for number, each in enumerate(TYPES)
    ]
    with opened(postgres.url()) as source:
        table = table_of(
            source, f"SELECT {', '.join(columns)} FROM generate_series(1, 300) AS n ORDER BY n"
        )
    for number in range(len(TYPES)):
        step = 2 + number % 3
        valid = table[number].is_valid().to_pylist()
        assert valid == [n % step == 1 for n in range(1, 301)], TYPES[number]


def test_uuids_in_a_slice_are_texts() -> None:
    values = [bytes([n]) * 16 for n in range(5)]
    values[3] = None
    array = pa.array(values, pa.binary(16))
    texts = uuid_texts(array[2:]).to_pylist()
    assert texts == [
        "02020202-0202-0202-0202-020202020202",
        None,
        "04040404-0404-0404-0404-040404040404",
    ]
    assert uuid_texts(array[:0]).to_pylist() == []


@pytest.mark.parametrize(
    ("expression", "named"),
    [
        ("'127.0.0.1'::inet", "inet"),
        ("int4range(1, 2)", "int4range"),
        ("1::money", "money"),
        ("array[1::money]", "money"),
        ("row(1, 2)", "record"),
        ("row(1.5, 'a')::pair", "composite"),
        ("array[row(1.5, 'a')::pair]", "composite"),
        ("'10:00+02'::timetz", "timetz"),
        ("array[b'101']", "bit"),
    ],
)
def test_a_type_without_an_arrow_type_is_named(
    postgres: PostgresServer, expression: str, named: str
) -> None:
    with opened(postgres.url()) as source:
        for ask in (source.describe, lambda query: source.stream(query, rows=10)):
            with pytest.raises(QueryRefusedError, match=f"column 'here' .*{named}.*CAST"):
                ask(f"SELECT {expression} AS here")


@pytest.mark.parametrize(
    "expression",
    [
        "'infinity'::timestamp",
        "'-infinity'::date",
        "array['infinity'::timestamptz]",
        "'294276-12-31'::timestamp",
        "'NaN'::numeric(5,2)",
        "array[[1,2],[3,4]]",
        "'[2:3]={1,2}'::int[]",
    ],
)
def test_a_value_without_an_arrow_value_is_named(postgres: PostgresServer, expression: str) -> None:
    with opened(postgres.url()) as source:
        with pytest.raises(QueryFailedError, match="'here'"):
            table_of(source, f"SELECT {expression} AS here")
        assert one_row(source, "SELECT 1 AS a") == {"a": 1}


def test_oids_are_unsigned(postgres: PostgresServer) -> None:
    with opened(postgres.url()) as source:
        row = one_row(source, "SELECT 4000000000::oid AS a, array[4000000000::oid, NULL] AS b")
    assert row == {"a": 4_000_000_000, "b": [4_000_000_000, None]}


def test_rows_keep_their_order(postgres: PostgresServer) -> None:
    query = "SELECT i, 'row ' || i AS t FROM generate_series(1, 200000) AS i ORDER BY i DESC"
    with opened(postgres.url()) as source:
        stream = source.stream(query, rows=5000)
        batches = list(stream)
        stream.close()
    assert len(batches) > 10
    table = pa.Table.from_batches(batches)
    assert table["i"].to_pylist() == list(range(200_000, 0, -1))


def test_a_snapshot_is_that_of_the_rows(postgres: PostgresServer) -> None:
    postgres.run("DROP TABLE IF EXISTS changing; CREATE TABLE changing AS SELECT 1 AS a")
    with opened(postgres.url()) as source:
        before = source.snapshot()
        postgres.run("INSERT INTO changing VALUES (2)")
        assert source.snapshot() == before
        assert source.ask("SELECT count(*) AS n FROM changing").to_pylist() == [{"n": 1}]
        assert table_of(source, "SELECT * FROM changing").num_rows == 1
        assert source.snapshot() != before
        assert table_of(source, "SELECT * FROM changing").num_rows == 2
    postgres.run("DROP TABLE changing")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELEC 1", "syntax error"),
        ("SELECT * FROM nowhere", 'relation "nowhere" does not exist'),
        ("SELECT * FROM nowhere.here", "nowhere"),
        ("SELECT 1; SELECT 2", "multiple commands"),
        ("CREATE TABLE made (a int)", "read-only transaction"),
        ("", "found none"),
    ],
)
def test_a_query_that_is_refused(postgres: PostgresServer, query: str, said: str) -> None:
    with opened(postgres.url()) as source:
        with pytest.raises(QueryRefusedError, match=said) as caught:
            table_of(source, query)
        assert "\n" not in str(caught.value)
        assert one_row(source, "SELECT 1 AS a -- a comment") == {"a": 1}


def test_a_table_that_the_user_may_not_read(postgres: PostgresServer) -> None:
    with opened(postgres.url(user=READER), READER_PASSWORD) as source:
        assert one_row(source, "SELECT 1 AS a") == {"a": 1}
        for ask in (source.describe, source.ask):
            with pytest.raises(QueryRefusedError, match="permission denied for table private"):
                ask("SELECT * FROM private")


def test_a_failure_in_the_last_row(postgres: PostgresServer) -> None:
    with opened(postgres.url()) as source:
        stream = source.stream(
            "SELECT 1 / (100000 - i) AS a FROM generate_series(1, 100000) AS i", rows=1000
        )
        rows: list[int] = []
        with pytest.raises(QueryFailedError, match="division by zero"):
            count_into(rows, stream)
        assert 0 < sum(rows) < 100_000
        stream.close()
        assert one_row(source, "SELECT 1 AS a") == {"a": 1}


#: A function in FROM would be computed as a whole before its first row.
ENDLESS = "SELECT generate_series(1, 1000000000) AS i, repeat('x', 100) AS t"


def test_a_cancelled_query(postgres: PostgresServer) -> None:
    with opened(postgres.url()) as source:
        for query in (ENDLESS, "SELECT 1 AS a, pg_sleep(600)::text AS b"):
            stream = source.stream(query, rows=1000)
            threading.Timer(0.1, stream.cancel).start()
            with pytest.raises(QueryInterruptedError, match="cancel"):
                for _ in stream:
                    pass
            stream.close()
        assert one_row(source, "SELECT 1 AS a") == {"a": 1}


def test_a_server_that_ends_the_connection(postgres: PostgresServer) -> None:
    with opened(postgres.url()) as source:
        process = source.ask("SELECT pg_backend_pid() AS p")["p"][0].as_py()
        stream = source.stream(ENDLESS, rows=1000)
        rows = iter(stream)
        next(rows)
        postgres.run(f"SELECT pg_terminate_backend({process}, 10000)")
        with pytest.raises(QueryInterruptedError, match="before its last row"):
            for _ in rows:
                pass
        stream.close()
        with pytest.raises(UnreachableError):
            source.ask("SELECT 1")
    with opened(postgres.url()) as source:
        source.ask("SELECT 1")


@pytest.mark.parametrize("driver", ["", "+psycopg"])
def test_what_keeps_a_connection_from_being_made(
    postgres: PostgresServer, driver: str, monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    if driver:
        need_psycopg()
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "none"))
    (port,) = free_ports(1)
    wrong = "wrong-password-of-tests"
    expected = {
        (postgres.url(driver=driver), wrong): (CredentialsError, "password authentication failed"),
        (postgres.url(driver=driver), None): (CredentialsError, "no password supplied"),
        (postgres.url(driver=driver, user="nobody"), wrong): (CredentialsError, "nobody"),
        (postgres.url(driver=driver, database="no"), PASSWORD): (QueryRefusedError, "not exist"),
        (f"postgresql{driver}://a@127.0.0.1:{port}/x", PASSWORD): (UnreachableError, "refused"),
        (postgres.url(driver=driver) + "?nonsense=1", PASSWORD): (UsageError, "nonsense"),
        (postgres.url(driver=driver) + "?sslmode=require", PASSWORD): (UsageError, "SSL"),
    }
    for (url, password), (kind, said) in expected.items():
        with pytest.raises(kind, match=said) as caught, opened(url, password):
            pass
        assert wrong not in str(caught.value)
        assert PASSWORD not in str(caught.value)


def test_a_password_of_libpq_is_used(
    postgres: PostgresServer, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passfile = tmp_path / "pgpass"
    monkeypatch.setenv("PGPASSFILE", str(passfile))
    url = ConnectionUrl.parse(postgres.url(user=READER))
    assert needs_password(url)
    passfile.write_text(f"127.0.0.1:{postgres.port}:*:{READER}:{READER_PASSWORD}\n")
    passfile.chmod(0o600)
    assert not needs_password(url)
    with opened(url.text, None) as source:
        source.ask("SELECT 1")
    passfile.unlink()
    monkeypatch.setenv("PGPASSWORD", READER_PASSWORD)
    assert not needs_password(url)
    with opened(url.text, None) as source:
        source.ask("SELECT 1")
