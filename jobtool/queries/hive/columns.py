"""Columns as HiveServer2 sends them (protocol V6 and later), as Arrow arrays.

A column is a list of values of one type and a bitmap of its NULLs, of which trailing zero bytes may
be missing. Decimals, dates, timestamps and nested values are texts
(``TCLIService.thrift``: ``TColumn``, ``TTypeId``).
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

from jobtool.errors import QueryFailedError
from jobtool.names import in_one_line

if TYPE_CHECKING:
    import pyarrow as pa

#: The fields of TColumn.
_FIELDS = tuple(f"{kind}Val" for kind in "string i64 i32 double bool i16 byte binary".split())

_INVERTED = bytes(byte ^ 255 for byte in range(256))

#: Hive puts the table's name before a column's (hive.resultset.use.unique.column.names).
_PREFIX = re.compile(r"\A[A-Za-z0-9_]+\.(?=.)", re.DOTALL)


@functools.cache
def _arrow_types() -> dict[int, pa.DataType]:
    import pyarrow as pa
    from impala.hiveserver2 import TTypeId

    return {
        TTypeId.BOOLEAN_TYPE: pa.bool_(),
        TTypeId.TINYINT_TYPE: pa.int8(),
        TTypeId.SMALLINT_TYPE: pa.int16(),
        TTypeId.INT_TYPE: pa.int32(),
        TTypeId.BIGINT_TYPE: pa.int64(),
        TTypeId.FLOAT_TYPE: pa.float32(),
        TTypeId.DOUBLE_TYPE: pa.float64(),
        TTypeId.BINARY_TYPE: pa.binary(),
        TTypeId.DATE_TYPE: pa.date32(),
        TTypeId.NULL_TYPE: pa.null(),
    }


def schema_of(metadata: Any, *, timestamp_unit: str, hive_query: str | None = None) -> pa.Schema:
    """Return the columns of a result's metadata (``TTableSchema``).

    Types without an equal in the protocol are texts: arrays, maps, structs, intervals, and Hive's
    timestamps with a zone. ``hive_query`` is the query if Hive itself runs it: names then lose the
    tables' names before them.
    """
    import pyarrow as pa
    from impala.hiveserver2 import TTypeId

    names = [column.columnName for column in metadata.columns]
    types = []
    for column in metadata.columns:
        entry = column.typeDesc.types[0].primitiveEntry
        kind = entry.type if entry is not None else TTypeId.STRING_TYPE
        if kind == TTypeId.DECIMAL_TYPE:
            qualifiers = entry.typeQualifiers.qualifiers
            digits = qualifiers["precision"].i32Value, qualifiers["scale"].i32Value
            types.append(pa.decimal128(*digits))
        elif kind == TTypeId.TIMESTAMP_TYPE:
            types.append(pa.timestamp(timestamp_unit))
        else:
            types.append(_arrow_types().get(kind, pa.string()))
    if hive_query is not None:
        names = without_prefixes(names, hive_query)
    return pa.schema(list(zip(names, types, strict=True)))


def without_prefixes(names: list[str], query: str) -> list[str]:
    """Return names without a table's name, where that leaves them different from all others.

    A name that the query gives to a column, with its dot, stays as it is.
    """
    query = query.lower()
    short = [
        name if f"`{name.replace('`', '``')}`" in query else _PREFIX.sub("", name, count=1)
        for name in names
    ]
    return [
        new if short.count(new) == 1 and (new == old or new not in names) else old
        for old, new in zip(names, short, strict=True)
    ]


def batch_of(rows: Any, schema: pa.Schema) -> pa.RecordBatch:
    """Return the rows of an answer (``TRowSet``, or None for no rows).

    Raises ``QueryFailedError`` for a value that the column's type can't hold.
    """
    import pyarrow as pa

    if rows is None or not rows.columns:
        return _empty(schema)
    arrays = []
    for field, column in zip(schema, rows.columns, strict=True):
        values = next(found for name in _FIELDS if (found := getattr(column, name)) is not None)
        try:
            arrays.append(_array(values.values, values.nulls, field.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OverflowError) as error:
            raise QueryFailedError(_misfit(field, error)) from None
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _empty(schema: pa.Schema) -> pa.RecordBatch:
    import pyarrow as pa

    return pa.RecordBatch.from_arrays(
        [pa.array([], type=field.type) for field in schema], schema=schema
    )


def _array(values: list[Any], nulls: bytes, type_: pa.DataType) -> pa.Array:
    """Return a column. No value passes through Python code of its own."""
    import pyarrow as pa

    if pa.types.is_null(type_):
        return pa.nulls(len(values))
    as_text = pa.types.is_decimal(type_) or pa.types.is_temporal(type_)
    array = pa.array(values, type=pa.string() if as_text else type_)
    if any(nulls):
        size = (len(values) + 7) // 8
        valid = nulls[:size].ljust(size, b"\0").translate(_INVERTED)
        buffers = [pa.py_buffer(valid), *array.buffers()[1:]]
        array = pa.Array.from_buffers(array.type, len(values), buffers)
    return _parsed(array, type_) if as_text else array


def _parsed(texts: pa.Array, type_: pa.DataType) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        return pc.cast(texts, type_)
    except pa.ArrowInvalid:
        if not pa.types.is_timestamp(type_):
            raise
    # Impala writes nine digits of a second. Zeros at the end fit any unit.
    texts = pc.replace_substring_regex(texts, r"(\.\d*[1-9])0+$", r"\1")
    return pc.cast(pc.replace_substring_regex(texts, r"\.0*$", ""), type_)


def _misfit(field: pa.Field, error: Exception) -> str:
    import pyarrow as pa

    said = in_one_line(str(error), most=200)
    if pa.types.is_timestamp(field.type):
        advice = (
            "timestamp_unit=ns in the connection keeps nanoseconds, from the year 1677 to 2262; or "
            "round or cast the column in the query"
        )
    elif pa.types.is_string(field.type):
        advice = "a text must be UTF-8: cast the column to BINARY in the query, or encode it"
    else:
        advice = "cast the column to STRING in the query"
    return f"column {field.name!r}: its values don't fit {field.type}: {said}. {advice}"
