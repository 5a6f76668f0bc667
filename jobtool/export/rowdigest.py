"""A digest of rows, the same for the same rows however they are cut into batches.

The digest of rows is ``jobtool-rows-1:`` and the SHA-256, as 64 hexadecimal digits, of these bytes:

1. The columns: a JSON array with an array ``[name, type]`` for each column, without white space,
   with ``\\uXXXX`` for whatever isn't ASCII; then one line feed.
2. The number of rows, as 8 bytes.
3. What each column adds, in order, as follows.

All numbers are little-endian. A column adds the number of its rows as 8 bytes, then SHA-256 digests
of 32 bytes each. The first is that of its nulls: the numbers of the rows that are null, from 0, in
order, 8 bytes each. What comes next depends on the type. Only rows that aren't null take part.

- ``null``: nothing.
- Types of a fixed width: one digest, of all values in order. These are as Arrow lays them out:
  integers, ``date32`` (days, 4 bytes), ``date64`` (milliseconds, 8), ``time32`` (4), ``time64``,
  ``timestamp`` and ``duration`` (8) in two's complement; decimals as their unscaled value in two's
  complement of 4, 8, 16 or 32 bytes; ``interval_month_day_nano`` as months (4), days (4) and
  nanoseconds (8); ``fixed_size_binary`` as it is.
- ``bool``: one digest, of a byte for each value, 0 or 1.
- ``float32`` and ``float64``: one digest, of the values in IEEE 754. Each NaN counts as
  ``0x7fc00000`` or ``0x7ff8000000000000``, since databases don't promise its other bits. -0.0 isn't
  0.0. ``float16`` counts its values as float32.
- Texts and binary types: two digests. The first is that of the lengths in bytes, each of 4 bytes
  for ``utf8`` and ``binary`` and of 8 bytes for the other types; the second is that of all bytes,
  without anything between two values.
- ``list``, ``large_list``, ``list_view``, ``large_list_view`` and ``map``: a digest of the lengths,
  each of 4 bytes, or 8 for the two large types; then what the elements of all lists add as one
  column. The elements of a map are structs of a key and a value.
- ``fixed_size_list``: what the elements add as one column.
- ``struct``: what each field adds as a column. Where the struct is null its fields count as null.

A type is written as a JSON text, its name above and ``bool``, ``int8`` to ``uint64``, ``utf8``,
``large_utf8``, ``utf8_view``, ``binary``, ``large_binary``, ``binary_view``; or as an array of a
name and what follows: ``["decimal128",precision,scale]`` (32, 64, 128, 256), ``["time32",unit]``,
``["time64",unit]``, ``["timestamp",unit,zone or null]``, ``["duration",unit]``,
``["fixed_size_binary",width]``, ``["list",type]`` (and the other lists),
``["fixed_size_list",length,type]``, ``["map",key type,value type]`` and
``["struct",[[name,type],…]]``. A unit is ``s``, ``ms``, ``us`` or ``ns``.

Not part of the digest are the encodings ``dictionary`` and ``run_end_encoded``, which count as the
type of their values; extension types, which count as their storage; whether a column may be null;
metadata; and the names that Arrow gives to the elements of lists and maps.

SHA-256 is the fastest sound function that Python has on processors with instructions for it: here
1.8 GB a second, against 0.9 for BLAKE2b and 0.8 for MD5.
"""

from __future__ import annotations

import hashlib
import json
import struct
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from jobtool.errors import UsageError
from jobtool.export.arrowtypes import plain, type_words, values_type

if TYPE_CHECKING:
    import pyarrow as pa

_VERSION = "jobtool-rows-1:"


class RowDigest:
    """The digest of rows that come batch by batch.

    Raises ``UsageError``, which names the column, if the digest isn't defined for its type: a
    union, or run ends within a list or struct; and on a big-endian machine.
    """

    def __init__(self, schema: pa.Schema) -> None:
        if sys.byteorder != "little":
            raise UsageError("digests of rows need a little-endian machine; this one isn't")
        self._header = _header(schema)
        self._schema = schema
        self._rows = 0
        self._columns = [_column(field.type) for field in schema]

    def update(self, batch: pa.RecordBatch) -> None:
        """Add rows. Raises ``ValueError`` if their columns aren't those of the schema."""
        if not batch.schema.equals(self._schema) and _header(batch.schema) != self._header:
            raise ValueError(f"expected rows with {self._schema}; found {batch.schema}")
        self._rows += batch.num_rows
        for column, array in zip(self._columns, batch.columns, strict=True):
            column.add(array)

    def hexdigest(self) -> str:
        """Return the digest of the rows so far: ``jobtool-rows-1:`` and 64 hexadecimal digits."""
        digest = hashlib.sha256(self._header)
        digest.update(_count(self._rows))
        for column in self._columns:
            for part in column.parts():
                digest.update(part)
        return _VERSION + digest.hexdigest()


class _Column:
    """Any column: its number of rows and its nulls."""

    def __init__(self) -> None:
        self._rows = 0
        self._nulls = hashlib.sha256()

    def add(self, array: Any) -> None:
        """Add an array, in any encoding."""
        import pyarrow.compute as pc

        if len(array):
            array = plain(array)
            if array.null_count:
                positions = pc.indices_nonzero(array.is_null())
                self._nulls.update(_values(pc.add(positions, self._rows), 8))
            self._rows += len(array)
            self._add_values(array)

    def parts(self) -> Iterator[bytes]:
        """Yield what the column adds to the digest."""
        yield _count(self._rows)
        yield self._nulls.digest()

    def _add_values(self, array: Any) -> None:
        """Add what isn't null; the array has rows. A column of nulls has nothing."""


class _Fixed(_Column):
    """Values of a fixed width."""

    def __init__(self) -> None:
        super().__init__()
        self._bytes = hashlib.sha256()

    def parts(self) -> Iterator[bytes]:
        yield from super().parts()
        yield self._bytes.digest()

    def _add_values(self, array: Any) -> None:
        array = self._canonical(array.drop_null() if array.null_count else array)
        if len(array):
            self._bytes.update(_values(array, array.type.bit_width // 8))

    def _canonical(self, array: Any) -> Any:
        return array


class _Boolean(_Fixed):
    def _canonical(self, array: Any) -> Any:
        return array.cast("uint8")


class _Float(_Fixed):
    def _canonical(self, array: Any) -> Any:
        import pyarrow as pa
        import pyarrow.compute as pc

        if array.type == pa.float16():
            array = array.cast(pa.float32())
        nan = pc.is_nan(array)
        if pc.any(nan).as_py():
            array = pc.if_else(nan, pa.scalar(float("nan"), array.type), array)
        return array


class _Variable(_Column):
    """Values with lengths."""

    def __init__(self) -> None:
        super().__init__()
        self._lengths = hashlib.sha256()

    def parts(self) -> Iterator[bytes]:
        yield from super().parts()
        yield self._lengths.digest()

    def _add_lengths(self, lengths: Any) -> None:
        if len(lengths):
            self._lengths.update(_values(lengths, lengths.type.bit_width // 8))


class _Bytes(_Variable):
    """Texts and binary values."""

    def __init__(self) -> None:
        super().__init__()
        self._bytes = hashlib.sha256()

    def parts(self) -> Iterator[bytes]:
        yield from super().parts()
        yield self._bytes.digest()

    def _add_values(self, array: Any) -> None:
        import pyarrow.compute as pc

        if array.null_count:
            array = array.drop_null()
        if not len(array):
            return
        lengths = pc.binary_length(array)
        self._add_lengths(lengths)
        _, offsets, data = array.buffers()
        width = lengths.type.bit_width // 8
        form = "<i" if width == 4 else "<q"
        (first,) = struct.unpack_from(form, offsets, array.offset * width)
        (end,) = struct.unpack_from(form, offsets, (array.offset + len(array)) * width)
        if end > first:
            self._bytes.update(memoryview(data)[first:end])


class _List(_Variable):
    """Lists of any length."""

    def __init__(self, elements: _Column) -> None:
        super().__init__()
        self._elements = elements

    def parts(self) -> Iterator[bytes]:
        yield from super().parts()
        yield from self._elements.parts()

    def _add_values(self, array: Any) -> None:
        import pyarrow.compute as pc

        self._add_lengths(pc.list_value_length(array).drop_null())
        self._elements.add(array.flatten())


class _FixedSizeList(_Column):
    """Lists of one length."""

    def __init__(self, elements: _Column) -> None:
        super().__init__()
        self._elements = elements

    def parts(self) -> Iterator[bytes]:
        yield from super().parts()
        yield from self._elements.parts()

    def _add_values(self, array: Any) -> None:
        self._elements.add(array.flatten())


class _Struct(_Column):
    """Structs."""

    def __init__(self, fields: list[_Column]) -> None:
        super().__init__()
        self._fields = fields

    def parts(self) -> Iterator[bytes]:
        yield from super().parts()
        for column in self._fields:
            yield from column.parts()

    def _add_values(self, array: Any) -> None:
        for column, values in zip(self._fields, array.flatten(), strict=True):
            column.add(values)


def _column(kind: Any) -> _Column:
    """Return the column for a type that ``type_words`` knows."""
    words = type_words(kind)
    kind = values_type(kind)
    name = words if isinstance(words, str) else words[0]
    if name == "struct":
        return _Struct([_column(kind.field(number).type) for number in range(kind.num_fields)])
    if name == "map":
        return _List(_Struct([_column(kind.key_type), _column(kind.item_type)]))
    if name == "fixed_size_list":
        return _FixedSizeList(_column(kind.value_type))
    if name in {"list", "large_list", "list_view", "large_list_view"}:
        return _List(_column(kind.value_type))
    if name.startswith("float"):
        return _Float()
    simple: dict[str, type[_Column]] = {"null": _Column, "bool": _Boolean}
    simple.update(dict.fromkeys(("utf8", "large_utf8", "utf8_view"), _Bytes))
    simple.update(dict.fromkeys(("binary", "large_binary", "binary_view"), _Bytes))
    return simple.get(name, _Fixed)()


def _header(schema: Any) -> bytes:
    columns = []
    for field in schema:
        try:
            columns.append([field.name, type_words(field.type)])
        except TypeError as error:
            raise UsageError(f"column {field.name!r}: rows with {error} have no digest") from None
    return json.dumps(columns, separators=(",", ":")).encode() + b"\n"


def _count(number: int) -> bytes:
    return number.to_bytes(8, "little")


def _values(array: Any, width: int) -> Any:
    """Return the bytes of an array without nulls of a type of a fixed width."""
    data = array.buffers()[1]
    return b"" if data is None else memoryview(data)[array.offset * width :][: len(array) * width]
