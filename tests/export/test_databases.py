"""Exports from real servers to real stores, by workers that are killed: all rows, each once."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobtool.export.rowdigest import RowDigest
from jobtool.jobs.joblist import JobList
from jobtool.queries.plugins import open_source
from jobtool.queries.url import ConnectionUrl
from tests.commands import finish, run_ok, start
from tests.servers.hdfs import HdfsServer
from tests.servers.postgresql import OWNER, PASSWORD, PostgresServer
from tests.servers.s3 import S3Server
from tests.servers.spark import SparkServer

KILLS = 3

#: The numbers of rows, and of rows of a file.
SIZES = [
    pytest.param((60_000, 5_000), id="60k"),
    pytest.param((2_000_000, 200_000), id="2M", marks=pytest.mark.wide),
]

_SPARK = """
SELECT id, CAST(id % 1000 AS INT) AS station, concat('row ', id) AS text,
    CASE WHEN id % 5 > 0 THEN id * 0.25D END AS value, CAST(id AS DECIMAL(12, 2)) AS price
FROM range({rows})
"""
_POSTGRES = """
SELECT id, (id % 1000)::int AS station, 'row ' || id AS text,
    CASE WHEN id % 5 > 0 THEN id * 0.25::float8 END AS value, id::numeric(12, 2) AS price
FROM generate_series(0, {rows} - 1) AS id
"""


def test_rows_of_hiveserver2_arrive_in_hdfs(
    spark: SparkServer, hdfs: HdfsServer, tmp_path: Path, sizes: tuple[int, int]
) -> None:
    """By a chain of methods whose first isn't for this pair of stores."""
    destination = f"{hdfs.hdfs}{hdfs.new_folder()}"
    options = ("--methods", "hdfs-put,stream")
    export_by_killed_workers(
        spark.url, _SPARK, sizes, destination, tmp_path, hdfs.environment, *options
    )
    path = destination.removeprefix(hdfs.hdfs)
    found = sorted(status.path for status in hdfs.client.list_status(path))
    assert [os.path.basename(name) for name in found[:2]] == ["_SUCCESS", "_manifest.json"]

    def read(name: str) -> bytes:
        with hdfs.client.read(f"{path}/{name}") as file:
            return bytes(file.read())

    assert_same_rows(spark.url, _SPARK, sizes, tmp_path / "list", found[2:], read)


@pytest.mark.wide
def test_rows_of_hiveserver2_arrive_in_s3(
    spark: SparkServer, rclone_s3: S3Server, tmp_path: Path, sizes: tuple[int, int]
) -> None:
    bring_to_s3(spark.url, _SPARK, sizes, tmp_path, rclone_s3, rclone_s3.environment)


def test_rows_of_postgresql_arrive_in_s3(
    postgres: PostgresServer,
    rclone_s3: S3Server,
    tmp_path: Path,
    sizes: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("JOBTOOL_QUERY_PASSWORD", PASSWORD)
    url = postgres.url(user=OWNER)
    environment = {**rclone_s3.environment, "JOBTOOL_QUERY_PASSWORD": PASSWORD}
    bring_to_s3(url, _POSTGRES, sizes, tmp_path, rclone_s3, environment)
    secret = PASSWORD.encode()
    for path in (tmp_path / "list").rglob("*"):
        assert not path.is_file() or secret not in path.read_bytes(), path


def bring_to_s3(
    url: str,
    query: str,
    sizes: tuple[int, int],
    folder: Path,
    rclone_s3: S3Server,
    environment: Mapping[str, str],
) -> None:
    """Export the rows of a query to S3 by workers that are killed. All must be there."""
    bucket = rclone_s3.new_bucket()
    export_by_killed_workers(url, query, sizes, f"s3://{bucket}/x", folder, environment)
    found = rclone_s3.client.list_objects_v2(Bucket=bucket)["Contents"]
    names = sorted(entry["Key"].removeprefix("x/") for entry in found)
    assert names[:2] == ["_SUCCESS", "_manifest.json"]

    def read(name: str) -> bytes:
        body: bytes = rclone_s3.client.get_object(Bucket=bucket, Key=f"x/{name}")["Body"].read()
        return body

    assert_same_rows(url, query, sizes, folder / "list", names[2:], read)


@pytest.fixture(params=SIZES)
def sizes(request: pytest.FixtureRequest) -> tuple[int, int]:
    return request.param


def export_by_killed_workers(
    connection: str,
    query: str,
    sizes: tuple[int, int],
    destination: str,
    folder: Path,
    environment: Mapping[str, str],
    *options: object,
) -> None:
    """Export rows in ranges by two workers, killed ``KILLS`` times while they move data."""
    rows, chunk_rows = sizes
    text = folder / "query.sql"
    text.write_text(query.format(rows=rows))
    joblist = folder / "list"
    command = ("jobtool", "export", "--connection", connection, "--query", f"@{text}")
    split = ("--split-by", "id", "--splits", 4, "--chunk-size", chunk_rows)
    run_ok(*command, *split, "-d", destination, "-o", joblist, *options, env=environment)
    worker = ("transfer-worker", "-i", joblist, "--threads", 1)
    killed = 0
    while killed < KILLS:
        before = receipts_in(joblist)
        running = [start(*worker, env=environment) for _ in range(2)]
        while receipts_in(joblist) == before and any(each.poll() is None for each in running):
            time.sleep(0.05)
        for each in running:
            each.kill()
        ended = [finish(each).exit_code for each in running]
        killed += ended.count(-signal.SIGKILL)
        if receipts_in(joblist) == rows // chunk_rows:
            break  # all was done before the last kill
        assert -signal.SIGKILL in ended, f"workers ended by themselves before all was done: {ended}"
    assert killed, "no worker was killed"
    run_ok(*worker, env=environment)
    run_ok("jobtool", "verify", joblist, env=environment)


def receipts_in(joblist: Path) -> int:
    """How many chunks are proven."""
    opened = JobList.open(str(joblist))
    return sum(
        len({receipt.dst_path for receipt in opened.receipts_of(job_id)})
        for job_id in opened.job_ids()
    )


def assert_same_rows(
    connection: str,
    query: str,
    sizes: tuple[int, int],
    joblist: Path,
    names: list[str],
    read: Callable[[str], bytes],
) -> None:
    """The files, in the order of their names, have the rows of the query in its order."""
    rows, chunk_rows = sizes
    source = open_source(ConnectionUrl.parse(connection))
    try:
        stream = source.stream(
            f"SELECT * FROM ({query.format(rows=rows)}) q ORDER BY id", rows=9999
        )
        expected = digest_of(stream, stream.schema)
    finally:
        source.close()
    tables = [pq.read_table(pa.BufferReader(read(os.path.basename(name)))) for name in names]
    assert sum(table.num_rows for table in tables) == rows
    assert max(table.num_rows for table in tables) <= chunk_rows
    found = (batch for table in tables for batch in table.to_batches())
    assert digest_of(found, tables[0].schema) == expected


def digest_of(batches: Iterator[pa.RecordBatch] | Any, schema: pa.Schema) -> str:
    digest = RowDigest(schema)
    for batch in batches:
        digest.update(batch)
    return digest.hexdigest()
