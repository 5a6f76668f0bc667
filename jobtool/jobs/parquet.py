"""Write flat tables as Parquet, without a library: importing one takes longer than many jobs.

Sources: the format's ``parquet.thrift`` and ``Encodings.md`` (apache/parquet-format), Thrift's
``thrift-compact-protocol.md``. Each column of a group of rows is one data page of version 1 with
plain values, compressed by gzip unless it is small. Every column may be null.
"""

from __future__ import annotations

import gzip
import struct
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any, BinaryIO, Literal

#: What a column holds: text, bytes, numbers of 64 or 32 bits, or UTC times since 1970 in micro- or
#: milliseconds.
Kind = Literal["string", "binary", "int64", "int32", "us", "ms"]

_MAGIC = b"PAR1"

#: Smaller pages aren't compressed.
_SMALL_BYTES = 512

# Types of the compact protocol.
_TRUE, _I32, _I64, _BINARY, _LIST, _STRUCT = 1, 5, 6, 8, 9, 12

# Enumerations of parquet.thrift.
_INT32, _INT64, _BYTE_ARRAY = 1, 2, 6
_PLAIN, _RLE = 0, 3
_OPTIONAL = 1
_UNCOMPRESSED, _GZIP = 0, 2


_BYTES = [bytes([byte]) for byte in range(0x80)]


def _varint(number: int) -> bytes:
    if number < 0x80:
        return _BYTES[number]
    found = bytearray()
    while number >= 0x80:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def _number(number: int) -> bytes:
    """Return a number that isn't negative, as zigzag."""
    return _varint(number << 1)


def _binary(value: bytes) -> bytes:
    return _varint(len(value)) + value


def _struct(*fields: tuple[int, int, bytes], before: int = 0) -> bytes:
    """Return a struct of fields: number, type, value. ``before`` is the number of the last one."""
    found = bytearray()
    for number, kind, value in fields:
        found.append(number - before << 4 | kind)
        found += value
        before = number
    return bytes(found) + b"\0"


def _list(kind: int, values: Sequence[bytes]) -> bytes:
    size = len(values)
    head = bytes([size << 4 | kind]) if size < 15 else bytes([0xF0 | kind]) + _varint(size)
    return head + b"".join(values)


def _time(unit: int) -> bytes:
    is_utc = (1, _TRUE, b"")
    return _struct((8, _STRUCT, _struct(is_utc, (2, _STRUCT, _struct((unit, _STRUCT, b"\0"))))))


#: The physical type, the converted type of older readers and the logical type of each kind.
_TYPES: dict[Kind, tuple[int, int | None, bytes]] = {
    "string": (_BYTE_ARRAY, 0, _struct((1, _STRUCT, b"\0"))),
    "binary": (_BYTE_ARRAY, None, b""),
    "int64": (_INT64, None, b""),
    "int32": (_INT32, None, b""),
    "us": (_INT64, 10, _time(2)),
    "ms": (_INT64, 9, _time(1)),
}


class ParquetWriter:
    """Writes groups of rows to a binary file. ``columns`` are the names and kinds of its columns.

    The table is complete after ``close``.
    """

    def __init__(self, file: BinaryIO, columns: Sequence[tuple[str, Kind]]) -> None:
        self._file = file
        self._columns = columns
        self._groups: list[bytes] = []
        self._rows = 0
        self._at = len(_MAGIC)
        file.write(_MAGIC)

    def write(self, columns: Sequence[Sequence[Any]]) -> None:
        """Write a group of rows: for each column its values, one for each row."""
        rows, chunks, size = len(columns[0]), [], 0
        for (name, kind), values in zip(self._columns, columns, strict=True):
            page = _page(kind, values)
            codec, held = _UNCOMPRESSED, page
            if len(page) >= _SMALL_BYTES:
                codec, held = _GZIP, gzip.compress(page, compresslevel=1, mtime=0)
            head = _page_header(rows, len(page), len(held))
            self._file.write(head)
            self._file.write(held)
            whole = len(head) + len(page)
            chunks.append(self._chunk(name, kind, rows, codec, whole, len(head) + len(held)))
            self._at += len(head) + len(held)
            size += whole
        group = (
            (1, _LIST, _list(_STRUCT, chunks)),
            (2, _I64, _number(size)),
            (3, _I64, _number(rows)),
        )
        self._groups.append(_struct(*group))
        self._rows += rows

    def _chunk(
        self, name: str, kind: Kind, rows: int, codec: int, whole: int, compressed: int
    ) -> bytes:
        """Return the metadata of the column's page that begins here. Sizes include its header."""
        at = _number(self._at)
        metadata = _chunk_begin(name, kind) + _struct(
            (4, _I32, _number(codec)),
            (5, _I64, _number(rows)),
            (6, _I64, _number(whole)),
            (7, _I64, _number(compressed)),
            (9, _I64, at),
            before=3,
        )
        return _struct((2, _I64, at), (3, _STRUCT, metadata))

    def close(self) -> None:
        """Write the metadata, which stands at the end. The file stays open."""
        metadata = _struct(
            (1, _I32, _number(2)),
            (2, _LIST, _schema(tuple(self._columns))),
            (3, _I64, _number(self._rows)),
            (4, _LIST, _list(_STRUCT, self._groups)),
            (6, _BINARY, _binary(b"jobtool")),
        )
        self._file.write(metadata + struct.pack("<I", len(metadata)) + _MAGIC)


@cache
def _schema(columns: tuple[tuple[str, Kind], ...]) -> bytes:
    root = _struct((4, _BINARY, _binary(b"schema")), (5, _I32, _number(len(columns))))
    return _list(_STRUCT, [root, *(_element(*column) for column in columns)])


@cache
def _chunk_begin(name: str, kind: Kind) -> bytes:
    """Return the fields of a column's metadata that are the same in each group."""
    return _struct(
        (1, _I32, _number(_TYPES[kind][0])),
        (2, _LIST, _list(_I32, [_number(_PLAIN), _number(_RLE)])),
        (3, _LIST, _list(_BINARY, [_binary(name.encode())])),
    )[:-1]  # without the end


def _element(name: str, kind: Kind) -> bytes:
    """Return a column's element of the schema."""
    physical, converted, logical = _TYPES[kind]
    fields = [
        (1, _I32, _number(physical)),
        (3, _I32, _number(_OPTIONAL)),
        (4, _BINARY, _binary(name.encode())),
    ]
    if converted is not None:
        fields += [(6, _I32, _number(converted)), (10, _STRUCT, logical)]
    return _struct(*fields)


@lru_cache(maxsize=16)  # most jobs have as many rows as the one before, or full groups
def _data_header(rows: int) -> bytes:
    return _struct(
        (1, _I32, _number(rows)),
        (2, _I32, _number(_PLAIN)),
        (3, _I32, _number(_RLE)),
        (4, _I32, _number(_RLE)),
    )


def _page_header(rows: int, size: int, compressed: int) -> bytes:
    sizes = ((2, _I32, _number(size)), (3, _I32, _number(compressed)))
    return _struct((1, _I32, _number(0)), *sizes, (5, _STRUCT, _data_header(rows)))


def _page(kind: Kind, values: Sequence[Any]) -> bytes:
    """Return the levels that say which values aren't null, and these values."""
    held = [value for value in values if value is not None]
    if len(held) in (0, len(values)):  # one run of the same level
        levels = _varint(len(values) << 1) + (b"\1" if held else b"\0")
    else:  # a bit for each, in groups of 8
        groups = -(-len(values) // 8)
        bits = sum(1 << number for number, value in enumerate(values) if value is not None)
        levels = _varint(groups << 1 | 1) + bits.to_bytes(groups, "little")
    return struct.pack("<I", len(levels)) + levels + _plain(kind, held)


def _plain(kind: Kind, values: Sequence[Any]) -> bytes:
    if kind not in ("string", "binary"):
        return struct.pack(f"<{len(values)}{'i' if kind == 'int32' else 'q'}", *values)
    found: list[bytes] = []
    for value in values:
        text = value if kind == "binary" else value.encode()
        found += len(text).to_bytes(4, "little"), text
    return b"".join(found)
