"""Parquet files, which keep the types of columns."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from jobtool.errors import QueryFailedError
from jobtool.export.arrowtypes import decoded, decoded_type, size_bytes
from jobtool.export.formats.chunkfile import ChunkFile
from jobtool.export.formats.format import cast_to, refuse, require_names
from jobtool.names import in_one_line
from jobtool.parquetreading import batches_of, open_parquet

if TYPE_CHECKING:
    import pyarrow as pa

#: What columns may be compressed with.
COMPRESSIONS = ("zstd", "snappy", "gzip", "none")

_ROW_GROUP_ROWS = 1024 * 1024
_ROW_GROUP_BYTES = 32 * 1024 * 1024

#: From this size on a column's dictionary is given up. At pyarrow's default, 1 MiB, those of six
#: columns take 40 MiB more memory, and files of numbers and short texts are 4 % larger.
_DICTIONARY_BYTES = 512 * 1024


class ParquetFormat(msgspec.Struct, frozen=True, kw_only=True):
    """Parquet as pyarrow writes it.

    A row group ends with the block that brings it to 1,048,576 rows or, before compression, to
    32 MiB. About so much is held in memory.

    Parquet has no seconds: ``time32`` and ``timestamp`` in seconds become milliseconds, and
    ``date64`` becomes ``date32``. Dictionaries and run ends are written as the values they stand
    for, since they depend on how the rows came; Parquet encodes values by itself.
    """

    compression: str = "zstd"

    suffix: ClassVar[str] = ".parquet"

    def check(self, schema: pa.Schema) -> None:
        """Raise ``UsageError`` if Parquet files can't hold these columns."""
        require_names(schema)
        refuse("Parquet", _misfits(schema))

    def open(self, path: str, schema: pa.Schema) -> ParquetWriter:
        """Make a file."""
        return ParquetWriter(path, schema, self.compression)


class ParquetWriter:
    """A Parquet file that is written."""

    def __init__(self, path: str, schema: pa.Schema, compression: str) -> None:
        import pyarrow as pa

        # What drivers note about the whole result, such as pandas' metadata, isn't kept.
        self._schema = pa.schema([field.with_type(_written_type(field.type)) for field in schema])
        self._held: list[Any] = []
        self._held_rows = self._held_bytes = 0
        self._open = True
        self._file = ChunkFile(path)
        try:
            self._writer = _writer(self._file, self._schema, compression)
        except BaseException:
            self._file.abort()
            raise

    def write(self, block: pa.RecordBatch) -> None:
        """Add rows."""
        import pyarrow as pa

        if not block.num_rows:
            return
        try:
            columns = [
                decoded(array, field.type)
                for array, field in zip(block.columns, self._schema, strict=True)
            ]
        except pa.ArrowInvalid as error:
            raise _misfit(error) from None
        block = pa.RecordBatch.from_arrays(columns, schema=self._schema)
        self._held.append(block)
        self._held_rows += block.num_rows
        self._held_bytes += size_bytes(block)
        if self._held_rows >= _ROW_GROUP_ROWS or self._held_bytes >= _ROW_GROUP_BYTES:
            self._write_row_group()

    def close(self) -> None:
        """Write the last row group and the footer, and close the file."""
        if not self._open:
            return
        self._open = False
        with contextlib.ExitStack() as stack:
            stack.callback(self._file.finish)
            if self._held:
                self._write_row_group()
            self._writer.close()

    def abort(self) -> None:
        """Close the file without a footer, and remove it."""
        if not self._open:
            return
        self._open = False
        self._held = []
        self._file.abort()
        with contextlib.suppress(Exception):
            self._writer.close()

    def _write_row_group(self) -> None:
        import pyarrow as pa

        table = pa.Table.from_batches(self._held, self._schema)
        rows, self._held, self._held_rows, self._held_bytes = self._held_rows, [], 0, 0
        try:
            self._writer.write_table(table, row_group_size=rows)
        except pa.ArrowInvalid as error:
            raise _misfit(error) from None


def _misfit(error: Exception) -> QueryFailedError:
    return QueryFailedError(
        f"Parquet can't hold a value of these rows: {in_one_line(str(error))}. Convert the column "
        "in the query, with CAST or COALESCE."
    )


def _written_type(kind: Any) -> Any:
    """Return the type that Arrow writes a column with.

    Seconds are made milliseconds here, since before pyarrow 25 its writer doesn't notice values
    that are too large for them.
    """
    import pyarrow as pa
    from pyarrow import types

    kind = decoded_type(kind)
    if types.is_timestamp(kind) and kind.unit == "s":
        return pa.timestamp("ms", kind.tz)
    return kind


def _writer(file: Any, schema: Any, compression: str) -> Any:
    import pyarrow.parquet as pq

    return pq.ParquetWriter(
        file,
        schema,
        compression=compression,
        version="2.6",
        write_statistics=True,
        dictionary_pagesize_limit=_DICTIONARY_BYTES,
    )


def _misfits(schema: Any) -> Iterator[tuple[Any, str]]:
    """Yield the columns that pyarrow can't write, each with what to write instead."""
    from pyarrow import types

    for field in schema:
        kind = decoded_type(field.type)
        if _fits(field.with_type(kind)):
            continue
        if types.is_decimal(kind) and kind.scale < 0:
            yield field, cast_to(field.name, f"DECIMAL({kind.precision - kind.scale}, 0)")
        else:
            yield field, cast_to(field.name, "VARCHAR")


def _fits(field: Any) -> bool:
    """Return whether pyarrow writes a column, and reads it again."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if _has_empty_lists(field.type):
        return False  # pyarrow writes them, but reads none of them
    schema = pa.schema([field.with_nullable(True)])
    try:
        table = pa.table([pa.nulls(1, field.type)], schema=schema)
        with pa.BufferOutputStream() as sink:
            pq.write_table(table, sink, version="2.6")
            for _ in batches_of(open_parquet(pa.BufferReader(sink.getvalue()))):
                pass
    except (pa.ArrowException, OSError):
        return False
    return True


def _has_empty_lists(kind: Any) -> bool:
    """Return whether a type is or holds lists of the fixed length 0."""
    from pyarrow import types

    if types.is_fixed_size_list(kind) and kind.list_size == 0:
        return True
    return any(_has_empty_lists(kind.field(place).type) for place in range(kind.num_fields))
