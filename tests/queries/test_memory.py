"""Rows stream in bounded memory, in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from tests.queries.sources import need_psycopg
from tests.servers.postgresql import PASSWORD, PostgresServer

_MOST_MIB = 400

_PROGRAM = r"""
import re, sys
from jobtool.queries.plugins import open_source
from jobtool.queries.url import ConnectionUrl
url, query = sys.argv[1:]
source = open_source(ConnectionUrl.parse(url))
stream = source.stream(query, rows=10000)
rows = sum(batch.num_rows for batch in stream)
# Of this program alone: ru_maxrss counts what its parent had at the fork.
peak = re.search(r"VmHWM:\s+(\d+) kB", open("/proc/self/status").read())
print(rows, int(peak[1]) // 1024)
"""


def _peak_mib(url: str, query: str, rows: int) -> int:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, url, query],
        capture_output=True,
        text=True,
        env={**os.environ, "JOBTOOL_QUERY_PASSWORD": PASSWORD},
    )
    assert done.returncode == 0, done.stderr
    found, peak = map(int, done.stdout.split())
    assert found == rows
    print(f"{url.partition(':')[0]}: {rows} rows, at most {peak} MiB")
    return peak


ROWS = [1_000_000, pytest.param(5_000_000, marks=pytest.mark.wide)]


@pytest.mark.parametrize("rows", ROWS)
def test_postgresql(postgres: PostgresServer, rows: int) -> None:
    query = f"SELECT generate_series(1, {rows}) AS i, repeat('x', 300) AS t, 1.5::numeric(9,1) AS n"
    assert _peak_mib(postgres.url(), query, rows) < _MOST_MIB


@pytest.mark.parametrize("rows", [300_000, pytest.param(5_000_000, marks=pytest.mark.wide)])
def test_postgresql_by_sqlalchemy(postgres: PostgresServer, rows: int) -> None:
    need_psycopg()
    query = f"SELECT generate_series(1, {rows}) AS i, repeat('x', 900) AS t"
    assert _peak_mib(postgres.url(driver="+psycopg"), query, rows) < _MOST_MIB


@pytest.mark.parametrize("rows", ROWS)
def test_sqlite(tmp_path: Path, rows: int) -> None:
    query = (
        f"WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < {rows}) "
        "SELECT i, printf('%0300d', i) AS t FROM r"
    )
    assert _peak_mib("sqlite://", query, rows) < _MOST_MIB


@pytest.mark.parametrize("rows", [2_000_000, pytest.param(20_000_000, marks=pytest.mark.wide)])
@pytest.mark.parametrize("order", ["", " ORDER BY t"])
def test_duckdb_over_parquet(tmp_path: Path, rows: int, order: str) -> None:
    path = tmp_path / "rows.parquet"
    duckdb.sql(
        "COPY (SELECT i, md5(i::VARCHAR) AS t, i * 1.5 AS d, TIMESTAMP '2020-01-01' + "
        f"INTERVAL (i) SECOND AS s, 'number ' || i % 1000 AS n FROM range({rows}) AS r(i)) "
        f"TO '{path}' (FORMAT parquet)"
    )
    query = f"SELECT * FROM '{path}'{order}"
    assert _peak_mib("duckdb://", query, rows) < _MOST_MIB
