"""A worker that exports many rows stays small, also if DuckDB sorts them in the same process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.export import make
from tests.benchmarks.peers.measure import measured
from tests.commands import BIN

_ROWS = 20_000_000
_MOST_MIB = 400


@pytest.mark.wide
@pytest.mark.parametrize("order", ["", "ORDER BY id", "ORDER BY sensor, id"])
def test_a_worker_needs_less_than_400_mib(tmp_path: Path, order: str) -> None:
    query = f"SELECT * FROM '{make(tmp_path, _ROWS)}' {order}"
    joblist, out = tmp_path / "joblist", tmp_path / "out"
    export = [BIN / "jobtool", "export", "--connection", "duckdb://", "--query", query]
    for command in (
        [*export, "-d", out, "-o", joblist, "-v", 0],
        [BIN / "transfer-worker", "-i", joblist, "-v", 0],
    ):
        cost, failure = measured([*map(str, command)], {})
        assert not failure
    assert (out / "_SUCCESS").exists()
    assert cost.mebibytes < _MOST_MIB
