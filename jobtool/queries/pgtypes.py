"""Columns of PostgreSQL's ADBC driver as ordinary Arrow columns."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from jobtool.errors import QueryFailedError, QueryRefusedError
from jobtool.queries.adbc import Convert

#: A numeric's typmod is its precision and scale plus this (VARHDRSZ in numeric.c).
_TYPMOD_OFFSET = 4
_MOST_DIGITS = 76  # of Arrow's longest decimal

#: Types that the driver gives as numbers that mean something else.
_REFUSED = {"money": "numeric(20, 2)"}

#: What the driver names a type that it doesn't know.
_UNNAMED = "unnamed<oid:"


def adapt(field: Any, name_of: Callable[[int], str]) -> tuple[Any, Convert | None]:
    """Return a field as jobtool gives it, and the conversion of its column.

    ``name_of`` returns the name of the type of an OID. Raises ``QueryRefusedError`` for a type
    that has no Arrow type.
    """
    import pyarrow as pa

    kind, convert = _adapted(field, field.name, name_of)
    return pa.field(field.name, kind), convert


def decimal_of(typmod: int) -> Any:
    """Return the Arrow type of a numeric with that typmod; None if it is text."""
    import pyarrow as pa

    if typmod < _TYPMOD_OFFSET:
        return None
    digits, scale = (typmod - _TYPMOD_OFFSET) >> 16, (typmod - _TYPMOD_OFFSET) & 0x7FF
    scale = (scale ^ 1024) - 1024  # 11 bits with a sign, since PostgreSQL 15
    digits, scale = (max(digits, scale), scale) if scale >= 0 else (digits - scale, 0)
    if digits > _MOST_DIGITS:
        return None
    return pa.decimal128(digits, scale) if digits <= 38 else pa.decimal256(digits, scale)


def _adapted(field: Any, column: str, name_of: Callable[[int], str]) -> tuple[Any, Convert | None]:
    """Return the type and the conversion of a column, or of the elements of its arrays."""
    import pyarrow as pa

    kind, metadata = field.type, field.metadata or {}
    typname = metadata.get(b"POSTGRESQL:type", b"").decode()
    typmod = int(metadata.get(b"POSTGRESQL:typmod", b"-1"))
    if typname in _REFUSED:
        raise _refusal(column, typname, _REFUSED[typname])
    if typname == "oid":
        return pa.int64(), _oids
    extension = getattr(kind, "extension_name", None)
    if extension == "arrow.json":
        return pa.string(), lambda array: _storage(array).cast(pa.string())
    if extension == "arrow.uuid":
        return pa.string(), lambda array: uuid_texts(_storage(array))
    if extension == "arrow.opaque":
        return _opaque(kind.type_name, column, typmod, name_of)
    if pa.types.is_list(kind):
        inner, convert = _adapted(kind.value_field, column, name_of)
        if convert is None:
            return kind, None
        of_values = convert
        return pa.list_(inner), lambda array: _list_of(array, of_values(array.values))
    if pa.types.is_struct(kind):
        # adbc-driver-postgresql 1.13 gives each value after a null as null.
        raise _refusal(column, "record, or a composite one", "text")
    return kind, None


def _opaque(
    typname: str, column: str, typmod: int, name_of: Callable[[int], str]
) -> tuple[Any, Convert]:
    import pyarrow as pa

    if typname == "numeric":
        kind = decimal_of(typmod)
        if kind is None:
            return pa.string(), _storage
        return kind, lambda array: _decimals(_storage(array), kind, column)
    if typname == "xml":
        return pa.string(), lambda array: _storage(array).cast(pa.string())
    if typname.startswith(_UNNAMED):
        typname = name_of(int(typname.removeprefix(_UNNAMED).rstrip(">")))
    raise _refusal(column, typname, "text")


def _refusal(column: str, typname: str, instead: str) -> QueryRefusedError:
    return QueryRefusedError(
        f"column {column!r} has PostgreSQL's type {typname}, for which Arrow has none. Write "
        f"CAST(column AS {instead}) in the query."
    )


def _storage(array: Any) -> Any:
    return array.storage


def _oids(array: Any) -> Any:
    """Return OIDs, unsigned numbers of 32 bits that the driver gives as signed ones."""
    import pyarrow as pa

    return array.view(pa.uint32()).cast(pa.int64())


def _decimals(texts: Any, kind: Any, column: str) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        return texts.cast(kind)
    except pa.ArrowInvalid:
        odd = texts.filter(pc.invert(pc.match_substring_regex(texts, "^-?[0-9.]+$")))
        found = str(odd[0].as_py()) if len(odd) else "a number with more digits"
        raise QueryFailedError(
            f"column {column!r}: expected numbers that fit {kind}; found {found}. Write "
            f"NULLIF(column, 'NaN'), or CAST it to double precision or text, in the query."
        ) from None


def _list_of(array: Any, values: Any) -> Any:
    import pyarrow as pa

    mask = array.is_null() if array.null_count else None
    return pa.ListArray.from_arrays(array.offsets, values, mask=mask)


def uuid_texts(array: Any) -> Any:
    """Return UUIDs of 16 bytes as texts such as 7d444840-9dc0-11d1-b245-5ffdce74fad2."""
    import pyarrow as pa
    import pyarrow.compute as pc

    count = len(array)
    start = array.offset * 16
    data = array.buffers()[1].slice(start, count * 16).to_pybytes() if count else b""
    digits = pa.Array.from_buffers(
        pa.binary(32), count, [None, pa.py_buffer(data.hex().encode())]
    ).cast(pa.string())
    ends = (0, 8, 12, 16, 20, 32)
    parts = [pc.utf8_slice_codeunits(digits, *each) for each in itertools.pairwise(ends)]
    texts = pc.binary_join_element_wise(*parts, "-")
    return pc.if_else(array.is_valid(), texts, pa.scalar(None, pa.string()))
