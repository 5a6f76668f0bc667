"""Any database by SQLAlchemy: the types of rows, errors, passwords."""

from __future__ import annotations

import datetime
import decimal
import subprocess
import threading
import uuid
from typing import Any

import pyarrow as pa
import pytest

from jobtool.errors import (
    CredentialsError,
    JobtoolError,
    QueryFailedError,
    QueryInterruptedError,
    QueryRefusedError,
    UnreachableError,
    UsageError,
)
from jobtool.queries import sqlerrors
from jobtool.queries.sqlalchemy import SOURCE_TYPE, dialect_of
from jobtool.queries.sqltypes import Described, columns_of
from jobtool.queries.url import ConnectionUrl
from tests.queries.sources import need_psycopg, one_row, opened, table_of
from tests.servers.postgresql import READER, READER_PASSWORD, PostgresServer

UTC = datetime.UTC
D = decimal.Decimal


def column(*values: Any, **described: Any) -> Any:
    (found,) = columns_of([Described(name="here", **described)], [(each,) for each in values])
    return found


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ((True, None), pa.bool_()),
        ((1, None), pa.int64()),
        ((2**63,), pa.decimal128(38, 0)),
        ((1, 1.5), pa.float64()),
        ((D("1.25"), D(2), 3), pa.decimal128(38, 2)),
        (("a", None), pa.string()),
        ((b"a", memoryview(b"b")), pa.binary()),
        ((datetime.date(2024, 2, 29),), pa.date32()),
        ((datetime.datetime(2024, 2, 29),), pa.timestamp("us")),
        ((datetime.datetime(2024, 2, 29, tzinfo=UTC),), pa.timestamp("us", "UTC")),
        ((datetime.time(12),), pa.time64("us")),
        ((datetime.timedelta(1),), pa.duration("us")),
        ((uuid.UUID(int=1),), pa.string()),
        (({"a": 1},), pa.string()),
        (([1, None], None), pa.list_(pa.int64())),
    ],
)
def test_the_first_rows_decide(values: tuple[Any, ...], kind: pa.DataType) -> None:
    found = column(*values)
    assert found.type == kind
    array = found.array([*values, None])
    assert array.type == kind
    assert array.null_count == 1 + values.count(None)


@pytest.mark.parametrize(
    ("described", "kind"),
    [
        ({}, pa.string()),
        ({"kind": "text"}, pa.string()),
        ({"kind": "binary"}, pa.binary()),
        ({"kind": "time"}, pa.timestamp("us")),
        ({"kind": "number"}, pa.float64()),
        ({"kind": "number", "precision": 10, "scale": 0}, pa.int64()),
        ({"kind": "number", "precision": 10, "scale": 2}, pa.decimal128(10, 2)),
    ],
)
def test_the_description_decides_without_values(
    described: dict[str, Any], kind: pa.DataType
) -> None:
    assert column(None, **described).type == kind


@pytest.mark.parametrize(
    ("first", "later"),
    [
        (1, 1.5),
        (1, "a"),
        (1, True),
        (1, 2**63),
        (1.5, D("1.5")),
        (D("1.5"), D("1.25")),
        (D("1.5"), D("NaN")),
        ("a", b"a"),
        (datetime.date(2024, 2, 29), datetime.datetime(2024, 2, 29, 12)),
        (datetime.datetime(2024, 2, 29), datetime.datetime(2024, 2, 29, tzinfo=UTC)),
        (datetime.time(12), datetime.time(12, tzinfo=UTC)),
        (1.5, 2**53 + 1),
        ([1], ["a"]),
    ],
)
def test_a_later_value_that_does_not_fit_names_the_column(first: Any, later: Any) -> None:
    with pytest.raises(QueryFailedError, match=r"'here'.*CAST"):
        column(first).array([later])


def test_values_without_a_type() -> None:
    with pytest.raises(QueryRefusedError, match=r"'here'.*complex.*CAST"):
        column(1j)
    with pytest.raises(QueryFailedError, match=r"'here'.*int and str.*CAST"):
        column(1, "a")


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    need_psycopg()
    return postgres.url(driver="+psycopg")


def test_postgresql_by_a_named_driver(url: str) -> None:
    query = (
        "SELECT i, i::numeric(10,2) AS d, 'row %s :a ' || i AS t, now() AS z "
        "FROM generate_series(1, 20000) AS i ORDER BY i DESC"
    )
    with opened(url) as source:
        table = table_of(source, query, rows=3000)
        assert source.describe(query) == table.schema
        with pytest.raises(QueryRefusedError, match="nowhere"):
            source.ask("SELECT * FROM nowhere")
        with pytest.raises(QueryFailedError, match="division by zero"):
            table_of(source, "SELECT 1 / (5000 - i) AS a FROM generate_series(1, 5000) AS i")
        assert one_row(source, "SELECT 1 AS a;") == {"a": 1}
    assert table.schema.types == [
        *(pa.int64(), pa.decimal128(10, 2), pa.string(), pa.timestamp("us", "UTC"))
    ]
    assert table["i"].to_pylist() == list(range(20_000, 0, -1))
    assert table["t"][0].as_py() == "row %s :a 20000"


def test_a_query_that_the_server_ends(postgres: PostgresServer, url: str) -> None:
    endless = "SELECT generate_series(1, 1000000000) AS i, pg_backend_pid() AS p"
    with opened(url) as source:
        stream = source.stream(endless, rows=100)
        threading.Thread(target=stream.cancel).start()
        with pytest.raises(QueryInterruptedError):
            for _ in stream:
                pass
        stream.close()
        rows = iter(source.stream(endless, rows=100))
        process = next(rows)["p"][0].as_py()
        postgres.run(f"SELECT pg_terminate_backend({process}, 10000)")
        with pytest.raises(QueryInterruptedError):
            for _ in rows:
                pass
    with (
        opened(postgres.url(driver="+psycopg", user=READER), READER_PASSWORD) as source,
        pytest.raises(QueryRefusedError, match="permission denied for table private"),
    ):
        source.ask("SELECT * FROM private")


def test_a_package_that_is_missing_is_named() -> None:
    for text, said in {
        "trino://host/x": r"pip install 'trino\[sqlalchemy\]'",
        "trinoo://host/x": r"knows trinoo://. Did you mean 'trino'\?",
        "postgresq://host/x": r"Did you mean 'postgresql'\?",
        "postgresql+nonsense://host/x": "no driver 'nonsense' for postgresql://",
        "xyzzy://host/x": r"no package .* knows xyzzy://\. Correct the scheme, or install",
        "oracle+cx_oracle://host/x": "cx_Oracle",
    }.items():
        with pytest.raises(UsageError, match=said):
            SOURCE_TYPE.open(ConnectionUrl.parse(text), None)


def test_passwords_are_shown_nowhere(url: str) -> None:
    secret = "a-secret-of-tests"
    with pytest.raises(JobtoolError) as caught, opened(url, secret):
        pass
    assert secret not in repr(caught.value)
    with opened(url) as source:
        shown = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
        assert "pass'word" not in shown
        assert "pass'word" not in repr(vars(source))
    for option in ("password", "sslpassword", "PWD", "access_token"):
        with pytest.raises(UsageError, match="JOBTOOL_QUERY_PASSWORD") as refused:
            ConnectionUrl.parse(f"mysql+pymysql://host/x?{option}={secret}")
        assert secret not in str(refused.value)


class _Driver(Exception):  # noqa: N818
    pass


class OperationalError(_Driver):
    pass


class ProgrammingError(_Driver):
    pass


@pytest.mark.parametrize(
    ("error", "phase", "kind"),
    [
        (OperationalError(1045, "Access denied"), "connect", CredentialsError),
        (OperationalError(2003, "Can't connect"), "connect", UnreachableError),
        (OperationalError(2013, "Lost connection"), "rows", QueryInterruptedError),
        (OperationalError(2013, "Lost connection"), "connect", UnreachableError),
        (ProgrammingError(1146, "no such table"), "start", QueryRefusedError),
        (OperationalError(1142, "SELECT denied"), "start", QueryRefusedError),
        (OperationalError(3024, "max time exceeded"), "rows", QueryInterruptedError),
        (ProgrammingError("42S02", "no such table"), "start", QueryRefusedError),
        (OperationalError("08001", "no server"), "connect", UnreachableError),
        (OperationalError("28000", "login failed"), "connect", CredentialsError),
        (OperationalError("40001", "deadlock"), "rows", QueryInterruptedError),
        (OperationalError("unknown"), "connect", UnreachableError),
        (ConnectionResetError("reset"), "rows", QueryInterruptedError),
    ],
)
def test_errors_of_other_drivers(error: Exception, phase: Any, kind: type[JobtoolError]) -> None:
    assert type(sqlerrors.translate("mysql", error, phase)) is kind


def test_dialects_quote_as_their_databases_do() -> None:
    from sqlalchemy.dialects import mssql, mysql, oracle, postgresql, sqlite

    day, time = datetime.date(2024, 2, 29), datetime.datetime(2024, 2, 29, 12, tzinfo=UTC)
    found = dialect_of(mysql.dialect())
    assert found.name("a`b") == "`a``b`"
    assert found.value("a\\'b") == r"'a\\\'b'"
    assert found.value(time) == "TIMESTAMP '2024-02-29 12:00:00+00:00'"
    found = dialect_of(mssql.dialect())
    assert found.name('a"b]') == '"a""b]"'
    assert found.value("ü'") == "N'ü'''"
    assert found.value(day) == "'2024-02-29'"
    found = dialect_of(oracle.dialect())
    assert found.rows_of("SELECT 1") == 'SELECT * FROM (\nSELECT 1\n) "jobtool_rows"'
    assert dialect_of(sqlite.dialect()).value(day) == "'2024-02-29'"
    found = dialect_of(postgresql.dialect())
    assert found.value(time) == "TIMESTAMP WITH TIME ZONE '2024-02-29 12:00:00+00:00'"
    assert found.value("a\\'b") == "'a\\''b'"
