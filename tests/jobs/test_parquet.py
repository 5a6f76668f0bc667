"""What is written as Parquet without a library is what pyarrow reads."""

from __future__ import annotations

import io
import random

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from jobtool.jobs.parquet import ParquetWriter

TYPES = {
    "string": pa.string(),
    "binary": pa.binary(),
    "int64": pa.int64(),
    "int32": pa.int32(),
    "us": pa.timestamp("us", tz="UTC"),
    "ms": pa.timestamp("ms", tz="UTC"),
}
EXTREMES = {
    "string": ["", "a", "\u00e9\U0001d11e\0\n", "long" * 300],
    "binary": [b"", b"a", b"\xff\0/\n", bytes(range(256)) * 4],
    "int32": [0, -(2**31), 2**31 - 1],
    **{kind: [0, -1, -(2**63), 2**63 - 1] for kind in ("int64", "us", "ms")},
}


@given(
    kinds=st.lists(st.sampled_from(sorted(TYPES)), min_size=1, max_size=22),
    groups=st.lists(st.integers(0, 20) | st.sampled_from([63, 64, 65, 1025, 8192]), max_size=3),
    nulls=st.sampled_from([0, 0.1, 0.5, 0.9, 1]),
    seed=st.integers(0, 2**32),
)
def test_pyarrow_reads_every_value_and_every_null(kinds, groups, nulls, seed):
    chosen = random.Random(seed)

    def values(kind, rows):
        found = chosen.choices(EXTREMES[kind], k=rows)
        return [None if chosen.random() < nulls else value for value in found]

    written = [[values(kind, rows) for kind in kinds] for rows in groups]
    file = io.BytesIO()
    writer = ParquetWriter(file, [(f"{number} \u00e9", kind) for number, kind in enumerate(kinds)])
    for columns in written:
        writer.write(columns)
    writer.close()
    table = pq.read_table(file)
    assert table.num_rows == sum(groups)
    for number, kind in enumerate(kinds):
        expected = [value for columns in written for value in columns[number]]
        assert table.column(f"{number} \u00e9").equals(pa.chunked_array([expected], TYPES[kind]))
