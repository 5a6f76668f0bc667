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


# The heads of three fields: a column's offset (2 of its chunk) and metadata (3), and the offset of
# its page (9 of the metadata, after 7).
_CHUNK_AT = bytes([2 << 4 | _I64])
_CHUNK_METADATA = bytes([1 << 4 | _STRUCT])
_PAGE_AT = bytes([2 << 4 | _I64])

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
        rows, size = len(columns[0]), 0
        pieces: list[bytes] = []
        chunks: list[bytes] = []
        for (name, kind), values in zip(self._columns, columns, strict=True):
            page = _page(kind, values)
            codec, held = _UNCOMPRESSED, page
            if len(page) >= _SMALL_BYTES:
                codec, held = _GZIP, gzip.compress(page, compresslevel=1, mtime=0)
            head, sizes = _page_header(rows, len(page), len(held), codec)
            at = _number(self._at)
            metadata = _chunk_begin(name, kind) + sizes + _PAGE_AT + at + b"\0"
            chunks.append(_CHUNK_AT + at + _CHUNK_METADATA + metadata + b"\0")
            pieces += head, held
            self._at += len(head) + len(held)
            size += len(head) + len(page)
        self._file.write(b"".join(pieces))
        group = (
            (1, _LIST, _list(_STRUCT, chunks)),
            (2, _I64, _number(size)),
            (3, _I64, _number(rows)),
        )
        self._groups.append(_struct(*group))
        self._rows += rows

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


@lru_cache(maxsize=256)  # most columns are empty or of one width, so their sizes come again
def _page_header(rows: int, size: int, compressed: int, codec: int) -> tuple[bytes, bytes]:
    """Return a page's header, and the fields 4 to 7 of its column's metadata.

    ``size`` and ``compressed`` are those of the page in bytes, without the header.
    """
    sizes = ((2, _I32, _number(size)), (3, _I32, _number(compressed)))
    header = _struct((1, _I32, _number(0)), *sizes, (5, _STRUCT, _data_header(rows)))
    metadata = _struct(
        (4, _I32, _number(codec)),
        (5, _I64, _number(rows)),
        (6, _I64, _number(len(header) + size)),
        (7, _I64, _number(len(header) + compressed)),
        before=3,
    )
    return header, metadata[:-1]  # without the end


def _page(kind: Kind, values: Sequence[Any]) -> bytes:
    """Return the levels that say which values aren't null, and these values."""
    held = [value for value in values if value is not None]
    if not held:
        return _nulls(len(values))
    if len(held) == len(values):  # one run of the same level
        levels = _varint(len(values) << 1) + b"\1"
    else:  # a bit for each, in groups of 8
        groups = -(-len(values) // 8)
        bits = sum(1 << number for number, value in enumerate(values) if value is not None)
        levels = _varint(groups << 1 | 1) + bits.to_bytes(groups, "little")
    return len(levels).to_bytes(4, "little") + levels + _plain(kind, held)


@lru_cache(maxsize=16)
def _nulls(count: int) -> bytes:
    """Return the page of a column without any value."""
    levels = _varint(count << 1) + b"\0"
    return len(levels).to_bytes(4, "little") + levels


def _plain(kind: Kind, values: Sequence[Any]) -> bytes:
    if kind not in ("string", "binary"):
        return struct.pack(f"<{len(values)}{'i' if kind == 'int32' else 'q'}", *values)
    found: list[bytes] = []
    for value in values:
        text = value if kind == "binary" else value.encode()
        found += len(text).to_bytes(4, "little"), text
    return b"".join(found)
