"""The verification table: a finished job's receipts in Parquet or CSV."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import msgspec

from jobtool.errors import JobFileError, JobtoolError
from jobtool.jobs.atomic_write import sync_folder
from jobtool.jobs.parquet import Kind, ParquetWriter
from jobtool.jobs.records import Receipt, quoted, unquoted
from jobtool.jobs.safe_read import open_without_waiting
from jobtool.jobs.stamps import time_of
from jobtool.names import quote
from jobtool.parquetreading import SMALL_METADATA, batches_of, open_parquet

if TYPE_CHECKING:
    import pyarrow as pa

TABLE_SUFFIX = ".parquet"

#: The unfinished tables of this many earlier attempts are removed.
_ATTEMPTS_TO_CLEAN = 16

_ROWS_PER_GROUP = 8192

#: The columns and what they hold.
_COLUMNS: tuple[tuple[str, Kind], ...] = (
    ("src_path", "string"),
    ("dst_path", "string"),
    ("size", "int64"),
    ("mtime", "us"),
    ("mtime_ns", "int64"),
    ("hashsum_src", "string"),
    ("hashsum_dst", "string"),
    ("verified_by", "string"),
    ("verified_at", "ms"),
    ("worker", "string"),
    ("attempt", "int32"),
    ("etag", "string"),
    ("part_size", "int64"),
    ("method", "string"),
    ("source_version", "string"),
    ("version", "string"),
    ("compression", "string"),
    ("size_dst", "int64"),
    ("hashsum_packed", "string"),
    ("checksum", "string"),
)

#: Columns that tables of earlier versions lack.
_ADDED = frozenset(
    {
        "method",
        "source_version",
        "version",
        "compression",
        "size_dst",
        "hashsum_packed",
        "checksum",
    }
)

_MAY_BE_NULL = _ADDED | {"hashsum_src", "hashsum_dst", "etag", "part_size"}

#: A table whose groups of rows are larger, uncompressed, isn't read: ours have 8192 rows.
MAX_GROUP_BYTES = 256 * 1024 * 1024


def write_table(
    path: str,
    receipts: Iterable[Receipt],
    *,
    attempt: int = 0,
    require_held: Callable[[], None] | None = None,
) -> int:
    """Write receipts as a verification table, atomically and durably; return their number.

    The columns are the fields of ``Receipt`` and ``mtime``. ``mtime`` and ``verified_at`` are
    timestamps in UTC, in microseconds and in seconds. ``attempt`` is the job's attempt: unfinished
    tables of earlier attempts are removed. ``require_held`` is called right before the rename; an
    exception from it prevents the change.
    """
    for earlier in range(max(attempt - _ATTEMPTS_TO_CLEAN, 0), attempt):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_temporary(path, earlier))
    return _write(
        path,
        _temporary(path, attempt),
        receipts,
        _ParquetTable,
        require_held,
    )


def write_csv(path: str, receipts: Iterable[Receipt]) -> int:
    """Write receipts as CSV, atomically and durably; return their number.

    The columns are those of ``write_table``.
    """
    return _write(path, _temporary(path, 0), receipts, _CSVTable)


class _Table(Protocol):
    """A table that is being written to a file."""

    def write(self, receipts: list[Receipt]) -> None: ...

    def close(self) -> None: ...


class _ParquetTable:
    def __init__(self, file: BinaryIO) -> None:
        self._writer = ParquetWriter(file, _COLUMNS)
        self.close = self._writer.close

    def write(self, receipts: list[Receipt]) -> None:
        self._writer.write(_columns(receipts))


class _CSVTable:
    def __init__(self, file: BinaryIO) -> None:
        import pyarrow.csv

        self._writer = pyarrow.csv.CSVWriter(file, _schema())
        self.close = self._writer.close

    def write(self, receipts: list[Receipt]) -> None:
        self._writer.write_table(_table(receipts))


def _temporary(path: str, attempt: int) -> str:
    # Each attempt has its own: a worker that has lost its claim may not know it yet. The name is
    # hidden, so that readers of the folder of tables skip the file of a killed worker.
    return os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.{attempt}.tmp")


def _write(
    path: str,
    temporary: str,
    receipts: Iterable[Receipt],
    open_table: Callable[[BinaryIO], _Table],
    require_held: Callable[[], None] | None = None,
) -> int:
    count = 0
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)  # left by a killed attempt of that number, or another user's link
    try:
        with open(temporary, "xb") as file:
            table = open_table(file)
            for batch in _batches(receipts):
                table.write(batch)
                count += len(batch)
            table.close()
            file.flush()
            os.fsync(file.fileno())
        if require_held is not None:
            require_held()
        os.rename(temporary, path)
    except FileExistsError:
        raise  # another process made it right now
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    sync_folder(os.path.dirname(path))
    return count


def read_table(path: str) -> Iterator[Receipt]:
    """Yield the receipts of a table that ``write_table`` wrote; none if it is missing.

    Raises ``JobtoolError`` if the file isn't such a table.
    """
    for columns in read_columns(path, Receipt.__struct_fields__):
        import pyarrow as pa
        import pyarrow.compute as pc

        try:
            stamps = columns["verified_at"].cast(pa.timestamp("s", tz="UTC"))
            columns["verified_at"] = pc.strftime(stamps, format="%Y-%m-%dT%H:%M:%SZ")
            values = (column.to_pylist() for column in columns.values())
            for row in zip(*values, strict=True):
                yield unquoted(Receipt(**dict(zip(columns, row, strict=True))))
        except (pa.ArrowException, ValueError, JobFileError) as error:
            raise _unreadable(path, error) from None


def read_columns(path: str, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield some columns of a table that ``write_table`` wrote; nothing if it is missing.

    Each item has the ``pyarrow.Array`` of each column for some thousand rows. Names are quoted as
    in the file. A column that the table's version didn't have is left out. Raises ``JobtoolError``
    if the file isn't such a table.
    """
    if not os.path.exists(path):  # before pyarrow is imported, which takes a quarter of a second
        return
    import pyarrow as pa

    try:
        with (
            open(path, "rb", opener=open_without_waiting) as file,
            open_parquet(file, **SMALL_METADATA) as table,
        ):
            _require_small_groups(table.metadata)
            there = table.schema_arrow.names
            kept = [name for name in names if name not in _ADDED or name in there]
            for batch in batches_of(table, kept, rows=8192):
                columns = {name: batch.column(name) for name in kept}
                _require_receipts(columns)
                yield columns
    except (pa.ArrowException, KeyError, ValueError, OSError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: str, error: Exception) -> JobtoolError:
    return JobtoolError(
        f"{quote(path)} can't be read as a table of receipts: {error}. Name another "
        "table; or, if it is that of a job, move it away to have the job's files sent again."
    )


def table_of(receipts: Iterable[Receipt]) -> pa.Table:
    """Return receipts as a table in memory, with the columns of ``write_table``."""
    import pyarrow as pa

    batches = [_table(batch) for batch in _batches(receipts)]
    return pa.concat_tables(batches) if batches else _schema().empty_table()


def _require_small_groups(metadata: Any) -> None:
    # These are the sizes in the metadata. A table with forged metadata isn't detected.
    for index in range(metadata.num_row_groups):
        size = metadata.row_group(index).total_byte_size
        if not 0 <= size <= MAX_GROUP_BYTES:
            raise ValueError(
                f"expected groups of rows of at most {MAX_GROUP_BYTES} bytes; found one of {size}"
            )


def _require_receipts(columns: dict[str, Any]) -> None:
    schema = _schema()
    for name, column in columns.items():
        expected = schema.field(name).type
        is_stamp = name == "verified_at"  # Parquet can't store whole seconds
        if column.type != expected and not is_stamp:
            raise ValueError(f"column {name!r}: expected {expected}; found {column.type}")
        if column.null_count and name not in _MAY_BE_NULL:
            raise ValueError(f"column {name!r} lacks values")


@cache
def _schema() -> pa.Schema:
    import pyarrow as pa

    types = {
        "string": pa.string(),
        "int64": pa.int64(),
        "int32": pa.int32(),
        "us": pa.timestamp("us", tz="UTC"),
        "ms": pa.timestamp("s", tz="UTC"),  # Parquet has no whole seconds
    }
    return pa.schema([(name, types[kind]) for name, kind in _COLUMNS])


def _columns(receipts: list[Receipt]) -> list[Sequence[Any]]:
    """Return the values of each column."""
    rows = [msgspec.structs.astuple(quoted(receipt)) for receipt in receipts]
    found: dict[str, Sequence[Any]] = dict(
        zip(Receipt.__struct_fields__, zip(*rows, strict=True), strict=True)
    )
    found["mtime"] = [mtime_ns // 1000 for mtime_ns in found["mtime_ns"]]
    stamps = {text: int(time_of(text).timestamp()) * 1000 for text in set(found["verified_at"])}
    found["verified_at"] = [stamps[text] for text in found["verified_at"]]
    return [found[name] for name, _ in _COLUMNS]


def _table(receipts: list[Receipt]) -> pa.Table:
    import pyarrow as pa

    arrays = []
    for field, (_, kind), values in zip(_schema(), _COLUMNS, _columns(receipts), strict=True):
        numbers = [value // 1000 for value in values] if kind == "ms" else values
        arrays.append(pa.array(numbers, field.type))
    return pa.Table.from_arrays(arrays, schema=_schema())


def _batches(receipts: Iterable[Receipt]) -> Iterator[list[Receipt]]:
    batch: list[Receipt] = []
    for receipt in receipts:
        batch.append(receipt)
        if len(batch) == _ROWS_PER_GROUP:
            yield batch
            batch = []
    if batch:
        yield batch
