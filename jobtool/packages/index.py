"""The index of a package: what its tar holds and where, as Parquet.

``NAME.tar.index.parquet`` has a row for each member in the order of the tar: ``member`` (the bytes
of its path), ``offset`` of its data and ``size`` in bytes, ``md5`` in hex, ``mtime_ns`` since 1970,
``mode`` (permissions). The same rows give the same bytes, with the same versions of Python and
zlib.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import msgspec

from jobtool.errors import PackageError
from jobtool.jobs.parquet import Kind, ParquetWriter
from jobtool.jobs.table import MAX_GROUP_BYTES
from jobtool.names import quote
from jobtool.packages.memberdigests import MemberDigests
from jobtool.packages.tarheader import BLOCK_BYTES, padded
from jobtool.packages.tarlayout import TarLayout
from jobtool.parquetreading import SMALL_METADATA, batches_of, open_parquet
from jobtool.stores.location import unfit_reason

INDEX_SUFFIX = ".index.parquet"

COLUMNS: tuple[tuple[str, Kind], ...] = (
    ("member", "binary"),
    ("offset", "int64"),
    ("size", "int64"),
    ("md5", "string"),
    ("mtime_ns", "int64"),
    ("mode", "int32"),
)

_ROWS_PER_GROUP = 32768
_READ_ROWS = 8192
_MODE_BITS = 0o7777
_MD5 = re.compile(r"[0-9a-f]{32}")


class IndexRow(msgspec.Struct, frozen=True):
    """A member of a package. ``offset`` is that of its data in the tar, in bytes.

    ``path`` holds bytes that aren't UTF-8 as surrogates.
    """

    path: str
    offset: int
    size: int
    md5: str
    mtime_ns: int
    mode: int


def rows_of(layout: TarLayout, digests: MemberDigests) -> Iterator[IndexRow]:
    """Yield the rows of a package. Raises ``PackageError`` for a member without an MD5."""
    members = layout.members
    for number, member in enumerate(members):
        md5 = digests.md5_of(number)
        if md5 is None:
            raise PackageError(
                f"{quote(member.path)}: expected the MD5 of each member; this one wasn't read to "
                "its end. Finish the index first (PackageStore.finish_index)"
            )
        yield IndexRow(
            member.path,
            layout.data_offset(number),
            members.size_of(number),
            md5,
            member.mtime_ns,
            member.mode,
        )


def write_index(file: BinaryIO, rows: Iterable[IndexRow]) -> int:
    """Write an index in bounded memory; return its number of rows."""
    writer = ParquetWriter(file, COLUMNS)
    count = 0
    group: list[IndexRow] = []

    def write() -> None:
        columns = list(zip(*map(msgspec.structs.astuple, group), strict=True))
        writer.write([[os.fsencode(path) for path in columns[0]], *columns[1:]])
        group.clear()

    for row in rows:
        group.append(row)
        count += 1
        if len(group) == _ROWS_PER_GROUP:
            write()
    if group:
        write()
    writer.close()
    return count


def read_index(file: Any, *, name: str, tar_size: int | None = None) -> Iterator[IndexRow]:
    """Yield the rows of an index in the order of the tar, in bounded memory.

    ``file`` is a path or a binary file that can seek, ``name`` what messages call it, ``tar_size``
    the size of the tar in bytes if it is known. Raises ``PackageError``, at the latest after the
    last row, for a file that isn't an index, and for rows that can't be those of one tar: paths
    that aren't relative, wrong numbers, members that overlap or lie outside. Whether two rows have
    one path is left to the caller.
    """
    import pyarrow as pa

    end = 0
    try:
        with open_parquet(file, **SMALL_METADATA) as table:
            _require_index(table)
            for batch in batches_of(table, rows=_READ_ROWS):
                columns = {key: batch.column(key) for key, _ in COLUMNS}
                lacking = [key for key, column in columns.items() if column.null_count]
                if lacking:
                    raise ValueError(f"expected a value in each row; column {lacking[0]!r} lacks")
                for row in zip(*(c.to_pylist() for c in columns.values()), strict=True):
                    found = IndexRow(os.fsdecode(row[0]), *row[1:])
                    _require_row(found, end)
                    end = found.offset + padded(found.size)
                    if tar_size is not None and end > tar_size:
                        raise ValueError(
                            f"{quote(found.path)}: expected a member within the {tar_size} bytes "
                            f"of the tar; found one that ends at {end}"
                        )
                    yield found
    except (pa.ArrowException, ValueError, OSError) as error:
        raise PackageError(
            f"{quote(name)} can't be read as the index of a package: {error}. Make it again from "
            "the tar, or pack again."
        ) from None


def _require_index(table: Any) -> None:
    """Raise ``ValueError`` unless a Parquet file has the columns of an index, in small groups."""
    found = {field.name: str(field.type) for field in table.schema_arrow}
    expected = {key: str(kind) for key, kind in COLUMNS}
    wrong = [f"{key} ({kind})" for key, kind in expected.items() if found.get(key) != kind]
    if wrong:
        raise ValueError(f"expected the columns {', '.join(wrong)}; found {found}")
    for index in range(table.metadata.num_row_groups):
        size = table.metadata.row_group(index).total_byte_size
        if not 0 <= size <= MAX_GROUP_BYTES:
            raise ValueError(
                f"expected groups of rows of at most {MAX_GROUP_BYTES} bytes; found one of {size}"
            )


def _require_row(row: IndexRow, end: int) -> None:
    """Raise ``ValueError`` for a row that can't follow a member whose padding ends at ``end``."""
    reason = unfit_reason(row.path)
    if reason is not None:
        raise ValueError(
            f"{quote(row.path)}: expected the relative path of a member; found {reason}"
        )
    if row.size < 0 or row.offset % BLOCK_BYTES or row.offset < end + BLOCK_BYTES:
        raise ValueError(
            f"{quote(row.path)}: expected a member after a header at {end} bytes or later, at a "
            f"multiple of {BLOCK_BYTES}; found {row.size} bytes at {row.offset}"
        )
    if not _MD5.fullmatch(row.md5) or not 0 <= row.mode <= _MODE_BITS:
        raise ValueError(
            f"{quote(row.path)}: expected an MD5 of 32 hexadecimal digits and permissions up to "
            f"0o7777; found {row.md5[:40]!r} and {row.mode:#o}"
        )
