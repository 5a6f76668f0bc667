"""SQLite, by ADBC and by SQLAlchemy."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pyarrow as pa
import pytest

from jobtool.errors import QueryFailedError, QueryInterruptedError, QueryRefusedError
from tests.queries.sources import one_row, opened, table_of

DRIVERS = ["", "+pysqlite"]


@pytest.fixture
def file(folder: Path) -> Path:
    path = folder / "a?b#c%20.db"
    made = sqlite3.connect(path)
    made.execute("CREATE TABLE t (i INTEGER, r REAL, s TEXT, b BLOB, mixed)")
    made.execute("INSERT INTO t VALUES (?, ?, ?, ?, ?)", (2**60, 1.5, "ünï", b"\0", 1))
    made.execute("INSERT INTO t VALUES (NULL, NULL, NULL, NULL, NULL)")
    made.executemany("INSERT INTO t (mixed) VALUES (?)", [(1,)] * 2000 + [("text",)])
    made.commit()
    made.close()
    return path


def url_of(path: Path, driver: str = "") -> str:
    from urllib.parse import quote

    return f"sqlite{driver}:///{quote(str(path))}"


@pytest.mark.parametrize("driver", DRIVERS)
def test_types_are_kept_with_and_without_values(file: Path, driver: str) -> None:
    query = "SELECT i, r, s, b FROM t ORDER BY rowid LIMIT 2"
    with opened(url_of(file, driver)) as source:
        table = table_of(source, query)
        assert source.describe(query) == table.schema
    assert table.schema.types == [pa.int64(), pa.float64(), pa.string(), pa.binary()]
    assert table.to_pylist() == [
        {"i": 2**60, "r": 1.5, "s": "ünï", "b": b"\0"},
        {"i": None, "r": None, "s": None, "b": None},
    ]


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_later_value_that_does_not_fit_names_the_column(file: Path, driver: str) -> None:
    with opened(url_of(file, driver)) as source:
        with pytest.raises(QueryFailedError, match=r"column 'mixed'.*CAST"):
            table_of(source, "SELECT i, mixed FROM t ORDER BY rowid", rows=100)
        cast = table_of(source, "SELECT CAST(mixed AS TEXT) AS mixed FROM t ORDER BY rowid")
    assert cast["mixed"][-1].as_py() == "text"


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize(
    "values",
    [
        ("1.5", str(2**53 + 1)),
        (str(-(2**53) - 1), "1.5"),
        ("'a'", "0.1 + 0.2"),
        ("x'00'", "1e300 / 3"),
    ],
)
def test_numbers_that_would_be_rounded_fail_the_query(values: list[str], driver: str) -> None:
    with opened(f"sqlite{driver}://") as source:
        rows = ", ".join(f"({value})" for value in values)
        query = f"SELECT column1 AS v FROM (VALUES {rows})"
        with pytest.raises(QueryFailedError, match=r"column 'v'.*CAST"):
            table_of(source, query)


def test_numbers_that_only_look_rounded_pass() -> None:
    with opened("sqlite://") as source:
        query = "SELECT 1e300 AS d, '1.500000e+00' AS t UNION ALL SELECT 1, 'b'"
        assert table_of(source, query).to_pylist() == [
            {"d": 1e300, "t": "1.500000e+00"},
            {"d": 1.0, "t": "b"},
        ]


@pytest.mark.parametrize("driver", DRIVERS)
def test_rows_keep_their_order(file: Path, driver: str) -> None:
    query = (
        "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 20000) "
        "SELECT i, 'row' || i AS t FROM r ORDER BY i DESC"
    )
    with opened(url_of(file, driver)) as source:
        stream = source.stream(query, rows=500)
        batches = list(stream)
    assert len(batches) >= 20
    assert pa.Table.from_batches(batches)["i"].to_pylist() == list(range(20_000, 0, -1))


@pytest.mark.parametrize("driver", DRIVERS)
def test_errors(file: Path, driver: str, tmp_path: Path) -> None:
    with opened(url_of(file, driver)) as source:
        for query, said in {
            "SELEC 1": "syntax error",
            "SELECT * FROM nowhere": "no such table: nowhere",
            "SELECT nowhere FROM t": "no such column: nowhere",
        }.items():
            for ask in (source.describe, source.ask):
                with pytest.raises(QueryRefusedError, match=said):
                    ask(query)
        failing = "SELECT abs(-9223372036854775807 - (rowid > 1500)) AS a FROM t ORDER BY rowid"
        with pytest.raises(QueryFailedError, match="integer overflow"):
            table_of(source, failing, rows=100)
        assert one_row(source, "SELECT 1 AS a") == {"a": 1}
    missing = tmp_path / "missing.db"
    with pytest.raises(QueryRefusedError, match="found none"), opened(url_of(missing, driver)):
        pass
    assert not missing.exists()


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_cancelled_query(file: Path, driver: str) -> None:
    endless = "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r) SELECT i FROM r"
    with opened(url_of(file, driver)) as source:
        stream = source.stream(endless, rows=100)
        rows = iter(stream)
        next(rows)
        threading.Thread(target=stream.cancel).start()
        with pytest.raises(QueryInterruptedError):
            for _ in rows:
                pass
        stream.close()


def test_a_file_that_another_program_writes_may_be_free_later(file: Path) -> None:
    program = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('BEGIN EXCLUSIVE'); print(flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, file], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        with opened(url_of(file)) as source, pytest.raises(QueryInterruptedError, match="locked"):
            source.ask("SELECT i FROM t")
        writer.communicate(b"\n")


def test_a_file_is_opened_for_reading_only(file: Path) -> None:
    with opened(url_of(file)) as source, pytest.raises(QueryRefusedError, match="readonly"):
        source.ask("INSERT INTO t (i) VALUES (1)")
