"""A worker that exports many rows stays small, also if DuckDB sorts them in the same process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.benchmarks.export import make
from tests.commands import BIN, run_ok

_ROWS = 20_000_000
_MOST_MIB = 400

#: The system counts for a process what its parent had at the fork: so this one is small.
_MEASURE = """
import sys
from tests.benchmarks.peers.measure import measured
cost, failure = measured(sys.argv[1:], {})
sys.exit(failure or print(cost.mebibytes))
"""


@pytest.mark.wide
@pytest.mark.parametrize("order", ["", "ORDER BY id", "ORDER BY sensor, id"])
def test_a_worker_needs_less_than_400_mib(tmp_path: Path, order: str) -> None:
    query = f"SELECT * FROM '{make(tmp_path, _ROWS)}' {order}"
    joblist, out = tmp_path / "joblist", tmp_path / "out"
    export = [BIN / "jobtool", "export", "--connection", "duckdb://", "--query", query]
    run_ok(*export, "-d", out, "-o", joblist, "-v", 0)
    worker = (BIN / "transfer-worker", "-i", joblist, "-v", 0)
    peak = float(run_ok(sys.executable, "-c", _MEASURE, *worker).stdout)
    assert (out / "_SUCCESS").exists()
    assert peak < _MOST_MIB
