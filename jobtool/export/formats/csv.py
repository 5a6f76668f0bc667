r"""CSV files, by RFC 4180, in UTF-8 with ``\n``.

- The first line has the names of the columns.
- A null is an empty field; an empty text is ``""``. Names, texts, dates and times stand between
  quotation marks. In a file of one column a null is an empty line.
- Dates and times are written by ISO 8601: ``2024-01-31``, ``12:34:56.789``,
  ``2024-01-31T12:34:56.789``, with as many digits as the unit of the column has. Times with a zone
  are written in UTC, ``2024-01-31T12:34:56.789Z``.
- Decimals have all their digits and no exponent.
- Floats have the fewest digits that give the same number of the column's type again: ``0.1``,
  ``1e+300``, ``nan``, ``inf``, ``-inf``.
- Truth values are ``true`` and ``false``.

pyarrow.csv writes all of this but dates and times, which it writes with a space between date and
time and in local time, and small decimals, which it writes with an exponent. These are made texts
before. Its readers, and those of Python, DuckDB and pandas, take numbers and dates between
quotation marks for what they are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from jobtool.errors import QueryFailedError
from jobtool.export.arrowtypes import plain, values_type
from jobtool.export.formats.chunkfile import ChunkFile
from jobtool.export.formats.format import call_of, cast_to, refuse, require_names

if TYPE_CHECKING:
    import pyarrow as pa

#: Arrow writes decimals of up to this scale without an exponent.
_PLAIN_SCALE = 6


class CsvFormat(msgspec.Struct, frozen=True, kw_only=True):
    """CSV. It has no settings."""

    suffix: ClassVar[str] = ".csv"

    def check(self, schema: pa.Schema) -> None:
        """Raise ``UsageError`` if CSV files can't hold these columns."""
        require_names(schema)
        refuse("CSV", _misfits(schema))

    def open(self, path: str, schema: pa.Schema) -> CsvWriter:
        """Make a file."""
        return CsvWriter(path, schema)


class CsvWriter:
    """A CSV file that is written. It holds no rows back."""

    def __init__(self, path: str, schema: pa.Schema) -> None:
        import pyarrow as pa
        from pyarrow import csv

        self._schema = pa.schema([(field.name, _written_type(field.type)) for field in schema])
        self._open = True
        self._file = ChunkFile(path)
        try:
            self._writer = csv.CSVWriter(
                pa.PythonFile(self._file, mode="w"),
                self._schema,
                write_options=csv.WriteOptions(quoting_style="needed"),
            )
        except BaseException:
            self._file.abort()
            raise

    def write(self, block: pa.RecordBatch) -> None:
        """Add rows."""
        import pyarrow as pa

        columns = [
            _written(array, field) for array, field in zip(block.columns, block.schema, strict=True)
        ]
        self._writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=self._schema))

    def close(self) -> None:
        """Close the file."""
        if not self._open:
            return
        self._open = False
        with contextlib.ExitStack() as stack:
            stack.callback(self._file.finish)
            self._writer.close()

    def abort(self) -> None:
        """Close the file and remove it."""
        if not self._open:
            return
        self._open = False
        self._file.abort()
        with contextlib.suppress(Exception):
            self._writer.close()


def _misfits(schema: Any) -> Iterator[tuple[Any, str]]:
    """Yield the columns that CSV can't hold, each with what to write instead."""
    import pyarrow as pa
    from pyarrow import types

    for field in schema:
        kind = values_type(field.type)
        if _fits(kind):
            continue
        if isinstance(field.type, pa.BaseExtensionType) or types.is_union(kind):
            yield field, cast_to(field.name, "VARCHAR")
        elif types.is_nested(kind):
            yield field, call_of("to_json", field.name)
        elif _is_binary(kind):
            yield field, call_of("hex", field.name)
        else:
            yield field, cast_to(field.name, "VARCHAR")


def _is_binary(kind: Any) -> bool:
    from pyarrow import types

    checks = ("binary", "large_binary", "binary_view", "fixed_size_binary")
    return any(getattr(types, f"is_{name}")(kind) for name in checks)


def _fits(kind: Any) -> bool:
    from pyarrow import types

    checks = (
        *("null", "boolean", "integer", "floating", "decimal"),
        *("string", "large_string", "string_view", "date", "time", "timestamp"),
    )
    return any(getattr(types, f"is_{name}")(kind) for name in checks)


def _is_made_text(kind: Any) -> bool:
    from pyarrow import types

    if types.is_decimal(kind):
        return bool(kind.scale < 0 or kind.scale > _PLAIN_SCALE)
    return bool(types.is_date(kind) or types.is_time(kind) or types.is_timestamp(kind))


def _written_type(kind: Any) -> Any:
    """Return the type of a column as it is passed to pyarrow.csv."""
    import pyarrow as pa
    from pyarrow import types

    kind = values_type(kind)
    if _is_made_text(kind):
        return pa.string()
    return pa.large_string() if types.is_string_view(kind) else kind


def _written(array: Any, field: Any) -> Any:
    """Return a column as it is passed to pyarrow.csv."""
    from pyarrow import types

    array = plain(array)
    if not _is_made_text(array.type):
        return array
    return _plain_digits(array) if types.is_decimal(array.type) else _iso_8601(array, field)


def _iso_8601(array: Any, field: Any) -> Any:
    """Return dates and times as texts. Raises ``QueryFailedError`` for years beyond 32767."""
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import types

    zone = types.is_timestamp(array.type) and array.type.tz is not None
    if zone:
        array = array.view(pa.timestamp(array.type.unit))  # Arrow counts from 1970 in UTC
    texts = array.cast(pa.string())
    misfit = pc.starts_with(texts, "<")
    if pc.any(misfit).as_py():
        raise QueryFailedError(
            f"column {field.name!r}: expected years from -32767 to 32767 and times of a day; found "
            f"{texts.filter(misfit)[0].as_py().strip('<>')}, which may stand for infinity. Write "
            f"{cast_to(field.name, 'VARCHAR')} in the query."
        )
    if types.is_timestamp(array.type):
        texts = pc.replace_substring(texts, " ", "T", max_replacements=1)
        if zone:
            texts = pc.binary_join_element_wise(texts, "Z", "")
    return texts


def _plain_digits(array: Any) -> Any:
    """Return decimals as texts without an exponent."""
    import pyarrow as pa
    import pyarrow.compute as pc

    # The same digits with a scale of 0 have no exponent; the point is put among them.
    scale = array.type.scale
    make = getattr(pa, f"decimal{array.type.bit_width}")
    whole = pa.Array.from_buffers(
        make(array.type.precision, 0),
        len(array),
        array.buffers(),
        array.null_count,
        array.offset,
    )
    texts = whole.cast(pa.string())
    if scale < 0:
        zeros = pc.if_else(pc.equal(texts, "0"), "", "0" * -scale)
        return pc.binary_join_element_wise(texts, zeros, "")
    sign = pc.if_else(pc.starts_with(texts, "-"), "-", "")
    digits = pc.ascii_lpad(pc.ascii_ltrim(texts, "-"), scale + 1, "0")
    before = pc.utf8_slice_codeunits(digits, 0, -scale)
    return pc.binary_join_element_wise(
        pc.binary_join_element_wise(sign, before, ""),
        pc.utf8_slice_codeunits(digits, -scale),
        ".",
    )
