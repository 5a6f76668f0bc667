"""Parquet is read in one thread: another one could end the process when Python ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobtool import parquetreading


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


def read(path: str, way: str) -> int:
    """Read a table by a file of Python; return how many threads have come."""
    before = threads()
    with open(path, "rb") as file:
        table = parquetreading.open_parquet(file)
        if way == "batches":
            found = pa.Table.from_batches(parquetreading.batches_of(table, ["a"], rows=100))
        else:
            found = parquetreading.groups_of(table, [0, 1, 2], ["a"])
    assert found.column("a").to_pylist() == list(range(1000))
    return threads() - before


@pytest.mark.parametrize("way", ["batches", "groups"])
def test_no_thread_comes_by_reading(tmp_path: Path, way: str) -> None:
    table = pa.table({"a": range(1000), "b": ["text"] * 1000})
    pq.write_table(table, tmp_path / "table.parquet", row_group_size=400)
    script = "import sys, tests.test_parquetreading as here; print(here.read(*sys.argv[1:]))"
    command = [sys.executable, "-c", script, str(tmp_path / "table.parquet"), way]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr, done.returncode) == ("0\n", "", 0)
