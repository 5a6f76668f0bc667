"""Reading Parquet files by pyarrow, all in the thread that asks for it.

By default pyarrow reads ahead in threads of its own. If Python has opened the file, such a thread
may free a part of it only when Python ends. It waits for Python's lock then, which ends the thread
in the middle of a destructor, and the process by SIGABRT (``arrow::py::PyBuffer`` of Arrow 26).
ruff refuses pyarrow's own functions elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

#: The most that a file may ask for while its metadata is read, for those that anyone may have made.
SMALL_METADATA = {"thrift_string_size_limit": 16 << 20, "thrift_container_size_limit": 1 << 20}


def open_parquet(file: Any, **limits: Any) -> pq.ParquetFile:
    """Open a Parquet file: a path or a binary file that can seek.

    ``limits`` are pyarrow's, such as ``SMALL_METADATA``. Raises ``pyarrow.ArrowException`` and
    ``OSError``.
    """
    import pyarrow.parquet as pq

    return pq.ParquetFile(file, pre_buffer=False, **limits)


def batches_of(
    file: pq.ParquetFile, columns: Sequence[str] | None = None, *, rows: int = 65536
) -> Iterator[pa.RecordBatch]:
    """Yield a file's rows, at most ``rows`` at a time. Raises ``pyarrow.ArrowException``."""
    names = None if columns is None else list(columns)
    yield from file.iter_batches(rows, columns=names, use_threads=False)


def groups_of(file: pq.ParquetFile, groups: Sequence[int], columns: Sequence[str]) -> pa.Table:
    """Return groups of a file's rows. Raises ``pyarrow.ArrowException``."""
    return file.read_row_groups(list(groups), columns=list(columns), use_threads=False)
