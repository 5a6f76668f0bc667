"""DuckDB: files, memory, errors."""

from __future__ import annotations

import datetime
import decimal
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from jobtool.errors import (
    QueryFailedError,
    QueryInterruptedError,
    QueryRefusedError,
    UnreachableError,
    UsageError,
)
from tests.queries.sources import count_into, one_row, opened, table_of

TYPES = [
    ("1::TINYINT", pa.int8(), 1),
    ("18446744073709551615::UBIGINT", pa.uint64(), 2**64 - 1),
    ("1::HUGEINT", pa.decimal128(38, 0), decimal.Decimal(1)),
    ("1.5::DECIMAL(10, 2)", pa.decimal128(10, 2), decimal.Decimal("1.50")),
    ("1.5::DOUBLE", pa.float64(), 1.5),
    ("true", pa.bool_(), True),
    ("'ünï'", pa.string(), "ünï"),
    ("'\\x00'::BLOB", pa.binary(), b"\0"),
    ("DATE '2024-02-29'", pa.date32(), datetime.date(2024, 2, 29)),
    ("TIMESTAMP '2024-02-29 12:00'", pa.timestamp("us"), datetime.datetime(2024, 2, 29, 12)),
    (
        "TIMESTAMPTZ '2024-02-29 12:00:00+02'",
        pa.timestamp("us", "UTC"),
        datetime.datetime(2024, 2, 29, 10, tzinfo=datetime.UTC),
    ),
    ("[1, NULL]", pa.list_(pa.field("l", pa.int32())), [1, None]),
]


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = str(tmp_path / "a b.db")
    with duckdb.connect(path) as made:
        made.execute("CREATE TABLE t AS SELECT i AS a FROM range(10) AS r(i)")
    return path


def test_types_are_kept_with_and_without_values() -> None:
    names = [f"c{number}" for number in range(len(TYPES))]
    first = ", ".join(f"{each[0]} AS {name}" for each, name in zip(TYPES, names, strict=True))
    query = (
        f"SELECT n, a.* FROM range(2) AS r(n) LEFT JOIN (SELECT {first}) AS a ON n = 1 ORDER BY n"
    )
    with opened("duckdb://") as source:
        table = table_of(source, query)
        assert source.describe(query) == table.schema
        assert source.ask(query) == table
    assert table.schema.types[1:] == [kind for _, kind, _ in TYPES]
    nothing, row = table.drop_columns(["n"]).to_pylist()
    assert set(nothing.values()) == {None}
    assert list(row.values()) == [expected for _, _, expected in TYPES]


def test_rows_keep_their_order() -> None:
    query = "SELECT i, 'row ' || i AS t FROM range(200000) AS r(i) ORDER BY i DESC"
    for options in ("", "?threads=4"):
        with opened(f"duckdb://{options}") as source:
            table = table_of(source, query, rows=5000)
        assert table["i"].to_pylist() == list(range(199_999, -1, -1))


def test_a_file_is_opened_for_reading_only(file: str) -> None:
    with opened(f"duckdb:///{file.replace(' ', '%20')}") as source:
        assert table_of(source, "FROM t;").num_rows == 10
        for query in ("INSERT INTO t VALUES (1)", "DROP TABLE t", "COPY t TO 'x.csv'", ""):
            with pytest.raises(QueryRefusedError, match="one query that only reads"):
                source.stream(query, rows=10)
        assert source.snapshot() is None


def test_a_file_that_cannot_be_opened(file: str, tmp_path: Path) -> None:
    missing = tmp_path / "missing.db"
    with (
        pytest.raises(QueryRefusedError, match="expected a database file"),
        opened(f"duckdb:///{missing}"),
    ):
        pass
    assert not missing.exists()
    other = tmp_path / "other.db"
    other.write_bytes(b"x" * 10_000)
    with pytest.raises(QueryRefusedError, match="not a valid"), opened(f"duckdb:///{other}"):
        pass
    with pytest.raises(UsageError, match="memory_limi"), opened("duckdb:///?memory_limi=1GB"):
        pass


def test_a_file_that_another_program_writes_may_be_free_later(file: str) -> None:
    program = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program, file], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        with pytest.raises(UnreachableError, match="another program"), opened(f"duckdb:///{file}"):
            pass
        writer.communicate(b"\n")
    with opened(f"duckdb:///{file}") as source:
        assert source.ask("FROM t").num_rows == 10


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELEC 1", "syntax error"),
        ("SELECT * FROM nowhere", "nowhere does not exist"),
        ("SELECT * FROM source", "source does not exist"),  # a variable's name, not a table's
        ("SELECT nowhere", "nowhere"),
        ("SELECT * FROM 'nowhere.parquet'", "No files found"),
        ("SELECT 1; SELECT 2", "found SELECT, SELECT"),
        ("SELECT * FROM sqlite_scan('a', 'b')", "sqlite"),
    ],
)
def test_a_query_that_is_refused(query: str, said: str) -> None:
    with opened("duckdb://") as source:
        for ask in (source.describe, source.ask):
            with pytest.raises(QueryRefusedError, match=said):
                ask(query)


def test_a_failure_in_the_last_row() -> None:
    query = (
        "SELECT (CASE i WHEN 3999999 THEN 'x' ELSE '1' END)::INTEGER AS a, i "
        "FROM range(4000000) AS r(i)"
    )
    with opened("duckdb://") as source:
        rows: list[int] = []
        with pytest.raises(QueryFailedError, match="Could not convert string 'x'"):
            count_into(rows, source.stream(query, rows=1000))
        assert sum(rows) > 0
        with pytest.raises(QueryFailedError, match=r"'here'.*infinity"):
            table_of(source, "SELECT 'infinity'::TIMESTAMP AS here")
        assert one_row(source, "SELECT 1 AS a") == {"a": 1}


def test_a_cancelled_query() -> None:
    with opened("duckdb://") as source:
        for query in (
            "SELECT * FROM range(1000000000000) AS r(i)",
            "SELECT sum(i) FROM range(1000000000000) AS r(i)",
        ):
            stream = source.stream(query, rows=1000)
            threading.Timer(0.1, stream.cancel).start()
            with pytest.raises(QueryInterruptedError):
                for _ in stream:
                    pass
            stream.close()
        assert one_row(source, "SELECT 1 AS a") == {"a": 1}


def test_options_are_settings_of_duckdb() -> None:
    asked = "SELECT current_setting('threads') AS t, current_setting('memory_limit') AS m"
    with opened("duckdb://") as source:
        assert one_row(source, asked)["t"] == 1
    with opened("duckdb:///?threads=3&memory_limit=1GiB") as source:
        assert one_row(source, asked) == {"t": 3, "m": "1.0 GiB"}
    with (
        opened("duckdb:///?memory_limit=20MB") as source,
        pytest.raises(QueryFailedError, match="add memory_limit"),
    ):
        table_of(source, "SELECT list(i) FROM range(100000000) AS r(i)")


@pytest.mark.parametrize(
    ("options", "name", "expected"),
    [
        ("max_memory=1GiB", "memory_limit", "1.0 GiB"),
        ("MEMORY_LIMIT=1GiB", "memory_limit", "1.0 GiB"),
        ("worker_threads=3", "threads", 3),
        ("TIMEZONE=Asia/Tokyo", "TimeZone", "Asia/Tokyo"),
        ("streaming_buffer_size=2MiB", "streaming_buffer_size", "2.0 MiB"),
        ("Temp_Directory=/nowhere", "temp_directory", "/nowhere"),
    ],
)
def test_an_option_by_another_name_or_of_a_session_has_effect(
    options: str, name: str, expected: object
) -> None:
    with opened(f"duckdb://?{options}") as source:
        assert one_row(source, f"SELECT current_setting('{name}') AS s") == {"s": expected}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("duckdb://?memory_limt=1GB", "no setting 'memory_limt' here. Did you mean 'memory_limit'"),
        ("duckdb://?memory_limit=lots", "connection, duckdb://: .*Memory must have a number"),
        ("duckdb://?timezone=Mars", "connection, duckdb://: .*Mars"),
        ("duckdb://?threads=1&Threads=2", "expected 'threads' once"),
        ("duckdb://file.db", "expected duckdb:///PATH with three slashes.*host 'file.db'"),
        ("duckdb+other:///file.db", "no driver 'other' for duckdb://"),
    ],
)
def test_a_url_that_duckdb_cannot_use(url: str, said: str) -> None:
    with pytest.raises(UsageError, match=said), opened(url):
        pass


@pytest.mark.parametrize(
    ("expression", "kind"),
    [
        ("340282366920938463463374607431768211455::UHUGEINT", "UHUGEINT"),
        ("'12:00:00+05'::TIMETZ", "TIME WITH TIME ZONE"),
        ("'0101'::BIT", "BIT"),
        ("12345678901234567890123456789012345678901::BIGNUM", "BIGNUM"),
        ("[{'a': 1::UHUGEINT}]", r"STRUCT\(a UHUGEINT\)\[\]"),
        ("MAP {'a': '1'::BIT}", r"MAP\(VARCHAR, BIT\)"),
    ],
)
def test_a_type_that_arrow_does_not_have_is_named(expression: str, kind: str) -> None:
    query = f"SELECT 1 AS a, {expression} AS b"
    with opened("duckdb://") as source:
        for use in (source.describe, source.ask):
            with pytest.raises(QueryRefusedError, match=f"column 'b' has DuckDB's type {kind}, "):
                use(query)


@pytest.mark.parametrize(
    "form", ["{}", "[{}]", "{{'a': {}}}", "MAP {{'a': {}}}", "[{}]::HUGEINT[1]"]
)
def test_whole_numbers_have_up_to_38_digits(form: str) -> None:
    most = 10**38 - 1
    with opened("duckdb://") as source:
        fits = form.format(f"'-{most}'::HUGEINT")
        assert str(most) in str(one_row(source, f"SELECT {fits} AS h"))
        misfit = form.format(f"'{most + 1}'::HUGEINT")
        with pytest.raises(
            QueryFailedError, match="column 'h': expected whole numbers of up to 38"
        ):
            table_of(source, f"SELECT {misfit} AS h")


def test_scratch_of_a_killed_process_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    program = (
        "from jobtool.queries.scratch import ScratchFolder; import os, signal\n"
        "kept = ScratchFolder(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", program], env={**os.environ, "TMPDIR": tmp_path})
    assert done.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    with opened("duckdb://"):
        (first,) = tmp_path.iterdir()
        assert first != left
        with opened("duckdb://"):
            assert len(list(tmp_path.iterdir())) == 2
            assert first.exists()
    assert not list(tmp_path.iterdir())
