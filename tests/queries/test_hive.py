"""Queries of a real server that speaks HiveServer2's protocol: Spark's."""

from __future__ import annotations

import datetime
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from jobtool.errors import (
    QueryFailedError,
    QueryInterruptedError,
    QueryRefusedError,
    UnreachableError,
    UsageError,
)
from jobtool.queries.plugins import open_source
from jobtool.queries.url import ConnectionUrl
from tests.queries.forwarder import forwarded
from tests.servers.hdfs import free_ports
from tests.servers.spark import SparkServer

HOSTILE = "a`b\"c'd\\e\n$.x;-- é✓"

#: A query that computes for hours.
ENDLESS = "SELECT sum(a.id * b.id) FROM range(10000000) a CROSS JOIN range(10000000) b"

#: Many rows, of which the server computes more while some are fetched.
MANY = "SELECT id, repeat('x', 100) AS text FROM range(0, 1000000, 1, 100)"

#: Ten rows, and then hours without one more.
STUCK = "SELECT id FROM range(0, 1000000000000, 1, 1000) WHERE id < 10"


def opened(url: str) -> Any:
    return open_source(ConnectionUrl.parse(url))


@pytest.fixture(scope="module")
def source(spark: SparkServer) -> Iterator[Any]:
    found = opened(spark.url)
    yield found
    found.close()


#: Name, Arrow's type, SQL, value.
TYPES: list[tuple[str, pa.DataType, str, object]] = [
    ("bool", pa.bool_(), "true", True),
    ("tinyint", pa.int8(), "-128Y", -128),
    ("smallint", pa.int16(), "32767S", 32767),
    ("int", pa.int32(), "-2147483648", -(2**31)),
    ("bigint", pa.int64(), "9223372036854775807L", 2**63 - 1),
    ("float", pa.float32(), "CAST('0.1' AS FLOAT)", pa.scalar(0.1, pa.float32()).as_py()),
    ("double", pa.float64(), "0.1D", 0.1),
    ("infinite", pa.float64(), "CAST('-infinity' AS DOUBLE)", float("-inf")),
    ("wide", pa.decimal128(38, 10), f"CAST('{'9' * 28}.0000000001' AS DECIMAL(38, 10))",
     Decimal(f"{'9' * 28}.0000000001")),
    ("tiny", pa.decimal128(20, 12), "CAST('-0.000000000001' AS DECIMAL(20, 12))",
     Decimal("-0.000000000001")),
    ("string", pa.string(), "'é✓\\n\\'\\\\'", "é✓\n'\\"),
    ("empty", pa.string(), "''", ""),
    ("varchar", pa.string(), "CAST('y' AS VARCHAR(3))", "y"),
    ("char", pa.string(), "CAST('z' AS CHAR(3))", "z"),
    ("binary", pa.binary(), "X'00FF'", b"\x00\xff"),
    ("timestamp", pa.timestamp("us"), "TIMESTAMP '0001-01-01 00:00:00.000001'",
     datetime.datetime(1, 1, 1, 0, 0, 0, 1)),
    ("late", pa.timestamp("us"), "TIMESTAMP '9999-12-31 23:59:59.9'",
     datetime.datetime(9999, 12, 31, 23, 59, 59, 900_000)),
    ("local", pa.timestamp("us"), "TIMESTAMP_NTZ '2020-02-29 00:00:00'",
     datetime.datetime(2020, 2, 29)),
    ("date", pa.date32(), "DATE '1582-10-15'", datetime.date(1582, 10, 15)),
    ("array", pa.string(), "array(1, 2)", "[1,2]"),
    ("map", pa.string(), "map('k', 1)", '{"k":1}'),
    ("struct", pa.string(), "named_struct('a', 1, 'b', 'x')", '{"a":1,"b":"x"}'),
    ("months", pa.string(), "INTERVAL 1 MONTH", "0-1"),
]  # fmt: skip


def test_each_type_arrives_as_itself_and_nulls_as_nulls(source: Any) -> None:
    columns = ", ".join(
        f"IF(id % 9 IN (0, 8), {sql}, NULL) AS `{name}`" for name, _, sql, _ in TYPES
    )
    query = f"SELECT {columns}, NULL AS `void` FROM range(18)"
    schema = pa.schema([(name, kind) for name, kind, _, _ in TYPES] + [("void", pa.null())])
    assert source.describe(query) == schema
    found = source.ask(query)
    assert found.schema == schema
    value = {name: one for name, _, _, one in TYPES} | {"void": None}
    there = {0, 8, 9, 17}
    assert found.to_pylist() == [
        value if row in there else dict.fromkeys(value) for row in range(18)
    ]


def test_rows_arrive_in_order_a_few_at_a_time(source: Any) -> None:
    query = "SELECT id, CAST(id * 3 AS STRING) AS text FROM range(100000) ORDER BY id"
    stream = source.stream(query, rows=7000)
    batches = list(stream)
    assert max(batch.num_rows for batch in batches) <= 7000
    found = pa.Table.from_batches(batches, schema=stream.schema)
    assert found["id"].to_pylist() == list(range(100_000))
    assert found["text"].to_pylist() == [str(number * 3) for number in range(100_000)]


def test_a_result_may_be_empty(source: Any) -> None:
    found = source.ask("SELECT 1 AS a, 'x' AS b WHERE false")
    assert found.schema == pa.schema([("a", pa.int32()), ("b", pa.string())])
    assert found.num_rows == 0


def test_a_text_may_be_longer_than_thrift_allows_by_itself(source: Any) -> None:
    found = source.ask("SELECT repeat('é', 9000000) AS text")["text"][0].as_py()
    assert len(found) == 9_000_000


def test_names_and_values_stand_in_queries_as_the_dialect_writes_them(source: Any) -> None:
    dialect = source.dialect
    values = [
        HOSTILE, "", "\\'; DROP TABLE x", "%d {x} ${y}", -5, 2**62, 0.1, 1e300, Decimal("-1.50"),
        datetime.date(1, 1, 1), datetime.datetime(2020, 2, 29, 1, 2, 3, 4),
    ]  # fmt: skip
    columns = ", ".join(
        f"{dialect.value(value)} AS {dialect.name(f'{HOSTILE}{number}')}"
        for number, value in enumerate(values)
    )
    inner = f"SELECT {columns} -- a comment\n;\n"
    names = [f"{HOSTILE}{number}" for number in range(len(values))]
    assert source.describe(inner).names == names
    found = source.ask(dialect.rows_of(inner, ", ".join(map(dialect.name, names))))
    assert found.column_names == names
    assert list(found.to_pylist()[0].values()) == values


REFUSED = {
    "SELECT *\nFRM nowhere": r"PARSE_SYNTAX_ERROR.*line 2, pos 4",
    "SELEKT\n1": r"PARSE_SYNTAX_ERROR.*line \d",
    "SELECT * FROM nowhere": r"TABLE_OR_VIEW_NOT_FOUND.*`nowhere`",
    "SELECT nothing FROM range(1)": r"UNRESOLVED_COLUMN.*`nothing`",
    "SELECT * FROM no_base.t": "no_base",
}
FAILED = {
    "SELECT CAST(concat('x', id) AS INT) AS a FROM range(10)": "'x0'.*cannot be cast",
    "SELECT CAST('expired' AS INT)": "'expired'.*cannot be cast",
    "SELECT 1 / id FROM range(3)": "Division by zero",
    "SELECT CAST(300 + id AS TINYINT) FROM range(3)": "overflow",
}


def one_line(error: Exception) -> bool:
    text = str(error)
    return "\n" not in text and "org.apache" not in text and "java" not in text and len(text) < 500


@pytest.mark.parametrize("query", REFUSED)
def test_a_query_that_cannot_run_is_refused_in_the_servers_words(source: Any, query: str) -> None:
    for ask in (source.describe, source.ask):
        with pytest.raises(QueryRefusedError, match=REFUSED[query]) as caught:
            ask(query)
        assert one_line(caught.value)


@pytest.mark.parametrize("query", FAILED)
def test_a_query_fails_on_its_data(source: Any, query: str) -> None:
    with pytest.raises(QueryFailedError, match=FAILED[query]) as caught:
        source.ask(query)
    assert one_line(caught.value)


def test_describing_computes_nothing(source: Any) -> None:
    schema = source.describe("SELECT CAST(concat('x', id) AS INT) AS a FROM range(10)")
    assert schema == pa.schema([("a", pa.int32())])
    with pytest.raises(QueryRefusedError):
        source.describe("CREATE TABLE described (a INT) USING parquet")
    assert "described" not in source.ask("SHOW TABLES")["tableName"].to_pylist()


def test_a_dot_in_a_name_of_sparks_is_part_of_it(source: Any) -> None:
    assert source.describe("SELECT 1 AS `a.b`").names == ["a.b"]


def test_a_missing_database_is_named(spark: SparkServer) -> None:
    with pytest.raises(QueryRefusedError, match="no``base"):
        opened(f"{spark.url}/no%60base")


def test_settings_hold_for_all_queries_of_the_connection(spark: SparkServer) -> None:
    source = opened(f"{spark.url}/default?set.spark.sql.session.timeZone=Asia/Tokyo")
    query = "SELECT CAST(timestamp_seconds(0) AS STRING) AS text"
    assert source.ask(query).to_pylist() == [{"text": "1970-01-01 09:00:00"}]
    source.close()


def test_a_waiting_query_is_cancelled_by_another_thread(source: Any) -> None:
    stream = source.stream(ENDLESS, rows=10)
    timer = threading.Timer(0.5, stream.cancel)
    timer.start()
    with pytest.raises(QueryInterruptedError, match="cancelled"):
        list(stream)
    timer.join()
    stream.close()
    # The server has one core: this can only be computed because that query isn't any more.
    assert source.ask("SELECT count(*) AS n FROM range(1000)").to_pylist() == [{"n": 1000}]


def test_a_query_is_cancelled_while_rows_arrive(source: Any) -> None:
    stream = source.stream(STUCK, rows=5)
    rows = iter(stream)
    assert next(rows).num_rows == next(rows).num_rows == 5
    timer = threading.Timer(0.5, stream.cancel)
    timer.start()
    with pytest.raises(QueryInterruptedError, match="cancelled"):
        next(rows)
    timer.join()
    stream.cancel()
    stream.close()
    stream.cancel()
    assert source.ask("SELECT count(*) AS n FROM range(1000)").to_pylist() == [{"n": 1000}]


def test_a_query_that_somebody_else_cancels_does_not_just_end(source: Any) -> None:
    stream = source.stream(ENDLESS, rows=10)
    # As an administrator does: this end isn't told.
    timer = threading.Timer(0.5, source._session.cancel, [stream._handle])
    timer.start()
    with pytest.raises(QueryInterruptedError):
        list(stream)
    timer.join()
    assert source.ask("SELECT 1 AS a").to_pylist() == [{"a": 1}]


def test_a_lost_connection_interrupts_the_query(spark: SparkServer) -> None:
    with forwarded(spark.port) as forwarder:
        source = opened(f"hive2://tester@127.0.0.1:{forwarder.port}/default")
        for query, begun in ((MANY, True), (ENDLESS, False)):
            stream = source.stream(query, rows=1000)
            rows = iter(stream)
            if begun:
                next(rows)
            forwarder.kill()
            with pytest.raises(QueryInterruptedError, match="lost"):
                for _ in rows:
                    pass
            with pytest.raises(UnreachableError, match=f"127.0.0.1:{forwarder.port}"):
                source.ask("SELECT 1")
            stream.close()
            forwarder.start()
            assert source.ask("SELECT 1 AS a").to_pylist() == [{"a": 1}]
        source.close()


def test_another_way_to_log_in_is_named_where_the_connection_fails(spark: SparkServer) -> None:
    with pytest.raises(UnreachableError, match="auth_mechanism") as caught:
        opened(f"{spark.url}?auth_mechanism=NOSASL&timeout=20")
    assert one_line(caught.value)


def test_a_server_that_never_answers_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        for scheme in ("impala", "hive2"):
            with pytest.raises(UnreachableError, match="auth_mechanism"):
                opened(f"{scheme}://tester@127.0.0.1:{port}/?timeout=0.2")


def test_an_unreachable_server_is_told_once() -> None:
    script = (
        "import sys; from jobtool.queries.plugins import open_source; "
        "from jobtool.queries.url import ConnectionUrl; "
        "open_source(ConnectionUrl.parse(sys.argv[1]))"
    )
    url = f"hive2://tester@127.0.0.1:{free_ports(1)[0]}/"
    done = subprocess.run([sys.executable, "-c", script, url], capture_output=True, text=True)
    assert done.stderr.startswith("Traceback"), "thrift has logged something"
    assert done.stderr.splitlines()[-1].startswith("jobtool.errors.UnreachableError: can't connect")


def test_a_session_that_the_server_has_ended_is_opened_again(source: Any) -> None:
    session = source._session
    session.call("CloseSession", sessionHandle=session._handle)  # as after hours without a query
    with pytest.raises(QueryInterruptedError, match="Session"):
        source.ask("SELECT 1 AS a")
    assert source.ask("SELECT 1 AS a").to_pylist() == [{"a": 1}]


def test_a_password_is_shown_nowhere(spark: SparkServer, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "Corr3ct-horse-battery"
    monkeypatch.setenv("JOBTOOL_QUERY_PASSWORD", secret)
    source = opened(f"{spark.url}?auth_mechanism=LDAP")
    with pytest.raises(QueryFailedError) as caught:
        source.ask(f"SELECT raise_error('{secret}')")
    assert secret not in str(caught.value)
    shown = [repr(one) for one in (source, source._session, source._login, source.stream)]
    assert not any(secret in text for text in shown)
    source.close()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("tiemout=3", "Did you mean 'timeout'"),
        ("sett.a=3", "there is no 'sett.a'"),
        ("auth_mechanism=plane", "Did you mean 'PLAIN'"),
        ("auth_mechanism=JWT", "use_http_transport"),
        ("auth_mechanism=JWT&use_http_transport=1", "takes no user"),
        ("use_ssl=maybe", "use_ssl: expected true or false; found 'maybe'"),
        ("timeout=-1", "timeout: expected a number of seconds above 0; found '-1'"),
        ("timeout=nan", "timeout: expected"),
        ("timestamp_unit=h", "expected one of us, ns, ms, s; found 'h'"),
        ("set.=1", "expected set.NAME=VALUE"),
        ("set.a%3Bb=1", "expected set.NAME=VALUE"),
        ("set.a=1%3BDROP+TABLE+x", "without semicolons"),
        ("set.a=1%0Ab", "on one line"),
    ],
)
def test_an_invalid_option_is_named(options: str, said: str) -> None:
    for scheme in ("impala", "hive2", "hive"):
        with pytest.raises(UsageError) as caught:
            opened(f"{scheme}://me@localhost/default?{options}")
        assert said in str(caught.value)


def test_a_host_is_needed() -> None:
    with pytest.raises(UsageError, match="found no host"):
        opened("impala:///default")
