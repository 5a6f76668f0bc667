"""How fast rows are digested and written.

    python -m tests.benchmarks.export_formats

Prints GB of Arrow's memory and millions of rows in a second of CPU time: of hash functions, of
digests of columns of several types, and of writing a table of ten columns, beside pyarrow's own
function for a whole table. Each is the best of three rounds.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import tempfile
import time
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from jobtool.export.blocks import blocks
from jobtool.export.formats.by_name import format_of
from jobtool.export.formats.parquet import COMPRESSIONS
from jobtool.export.rowdigest import RowDigest

_ROWS = 1 << 21
_BLOCK_ROWS = 1 << 16


def measured(name: str, size_bytes: int, rows: int, run: Callable[[], object]) -> None:
    """Print what a function does in a second."""
    seconds = float("inf")
    for _ in range(3):
        start = time.process_time()
        run()
        seconds = min(seconds, time.process_time() - start)
    text = f"{name:36} {size_bytes / seconds / 1e9:6.2f} GB/s"
    print(text + (f" {rows / seconds / 1e6:8.1f} M rows/s" if rows else ""), flush=True)


def columns() -> dict[str, Any]:
    """Return columns of several types."""
    integers = pa.Array.from_buffers(
        pa.int64(), _ROWS, [None, pa.py_buffer(random.Random(1).randbytes(_ROWS * 8))]
    )
    small = pc.bit_wise_and(integers, 0xFFFF)
    floats = pc.divide(small.cast(pa.float64()), 7)
    some_null = pc.if_else(pc.less(small, 6554), None, integers)
    texts = pc.binary_join_element_wise("sample ", small.cast(pa.string()), ", plate 7", "")
    lists = pa.FixedSizeListArray.from_arrays(integers, 4).cast(pa.list_(pa.int64()))
    lists = pa.concat_arrays([lists] * 4)
    return {
        "int64": integers,
        "int64, a tenth null": some_null,
        "float64": floats,
        "decimal128": small.cast(pa.decimal128(38, 4)),
        "timestamp": pc.add(small, 1_600_000_000_000_000).cast(pa.timestamp("us", "UTC")),
        "date32": small.cast(pa.int32()).cast(pa.date32()),
        "bool": pc.equal(pc.bit_wise_and(small, 1), 0),
        "text of 22 bytes": texts,
        "text of 22 bytes, a tenth null": pc.if_else(pc.less(small, 6554), None, texts),
        "dictionary of texts": pc.binary_join_element_wise(
            "plate", pc.bit_wise_and(small, 63).cast(pa.string()), " "
        ).dictionary_encode(),
        "list of 4 int64": lists,
    }


def digested(batch: Any) -> None:
    """Digest a batch, block by block."""
    digest = RowDigest(batch.schema)
    for block in blocks([batch], _BLOCK_ROWS):
        digest.update(block)
    digest.hexdigest()


def written(name: str, batch: Any, path: str, **settings: Any) -> None:
    """Write a batch, block by block."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    writer = format_of(name, **settings).open(path, batch.schema)
    for block in blocks([batch], _BLOCK_ROWS):
        writer.write(block)
    writer.close()


def main() -> None:
    """Measure."""
    data = os.urandom(1 << 26)
    for function in (hashlib.sha256, hashlib.sha512, hashlib.blake2b, hashlib.md5):
        measured(function.__name__, len(data), 0, lambda made=function: made(data))
    found = columns()
    for name, array in found.items():
        batch = pa.record_batch([array], names=["x"])
        measured(f"digest, {name}", batch.nbytes, _ROWS, lambda batch=batch: digested(batch))
    flat = {name: array for name, array in found.items() if "list" not in name}
    batch = pa.record_batch(list(flat.values()), names=list(flat))
    measured("digest, ten columns", batch.nbytes, _ROWS, lambda: digested(batch))
    with tempfile.TemporaryDirectory(
        dir="/dev/shm" if os.path.isdir("/dev/shm") else None
    ) as where:
        path = os.path.join(where, "chunk")
        table = pa.Table.from_batches([batch])
        for compression in COMPRESSIONS:
            measured(
                f"parquet, {compression}",
                batch.nbytes,
                _ROWS,
                lambda compression=compression: written(
                    "parquet", batch, path, compression=compression
                ),
            )
            print(f"{'':36} {os.path.getsize(path) / batch.nbytes:6.2f} of the size in memory")
        measured(
            "pyarrow's write_table, zstd",
            batch.nbytes,
            _ROWS,
            lambda: pq.write_table(table, path, compression="zstd"),
        )
        measured("csv", batch.nbytes, _ROWS, lambda: written("csv", batch, path))
        measured(
            "pyarrow's write_csv", batch.nbytes, _ROWS, lambda: pyarrow.csv.write_csv(table, path)
        )


if __name__ == "__main__":
    main()
