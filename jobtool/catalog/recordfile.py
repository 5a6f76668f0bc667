"""The files of records of a catalog: their columns, writing and reading them.

Text is as ``jobtool.names.quote`` writes it, so that any name fits. Rows are sorted by the bytes of
``item``, then of ``url``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, BinaryIO

from jobtool.catalog.copy import FORMS, STATES, Copy, Record, microseconds, time_at
from jobtool.errors import CatalogError, JobFileError
from jobtool.jobs.parquet import Kind, ParquetWriter
from jobtool.jobs.table import MAX_GROUP_BYTES
from jobtool.names import quote, unquote
from jobtool.parquetreading import groups_of, open_parquet

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS: tuple[tuple[str, Kind], ...] = (
    ("item", "string"),
    ("package", "string"),
    ("site", "string"),
    ("location", "string"),
    ("url", "string"),
    ("form", "string"),
    ("size", "int64"),
    ("files", "int64"),
    ("digest", "string"),
    ("verified_at", "us"),
    ("state", "string"),
    ("recorded_at", "us"),
    ("writer", "string"),
)
NAMES = [name for name, _ in COLUMNS]

_MAY_BE_NULL = ("package", "digest")

#: Rows in a group. Readers hold a group of each large file in memory.
ROWS_PER_GROUP = 32768

#: Times outside the years 1 to 9999 have no datetime.
_FIRST_TIME, _LAST_TIME = -62_135_596_800_000_000, 253_402_300_799_999_999

#: How much of a file's metadata is read: strings in bytes, lists in items.
_METADATA = {"thrift_string_size_limit": 64 << 20, "thrift_container_size_limit": 1 << 22}


def write_records(file: BinaryIO, records: Iterable[Record]) -> int:
    """Write records as a file of a catalog, sorted; return their number. They fit into memory."""
    rows = sorted((row_of(record) for record in records), key=lambda row: (row[0], row[4]))
    writer = ParquetWriter(file, COLUMNS)
    for start in range(0, len(rows), ROWS_PER_GROUP):
        group = rows[start : start + ROWS_PER_GROUP]
        writer.write(list(zip(*group, strict=True)))
    writer.close()
    return len(rows)


def row_of(record: Record) -> tuple[Any, ...]:
    """Return the values of the columns for a record. Its copy fits ``require_copy``."""
    copy = record.copy
    return (
        quote(copy.item),
        None if copy.package is None else quote(copy.package),
        quote(copy.site),
        quote(copy.location),
        quote(copy.url),
        copy.form,
        copy.size,
        copy.files,
        copy.digest,
        microseconds(copy.verified_at),
        copy.state,
        microseconds(record.recorded_at),
        quote(record.writer),
    )


def copies_of(table: pa.Table) -> Iterator[Copy]:
    """Yield the copies of a table of records. Raises ``CatalogError`` for text that isn't quoted
    as ``quote`` does.
    """
    import pyarrow as pa

    for batch in table.select(NAMES[:11]).to_batches(max_chunksize=8192):
        columns = [
            column.cast(pa.int64()).to_pylist() if name == "verified_at" else column.to_pylist()
            for name, column in zip(NAMES, batch.columns, strict=False)
        ]
        try:
            for row in zip(*columns, strict=True):
                item, package, site, location, url, form, size, files, digest, at, state = row
                yield Copy(
                    item=unquote(item),
                    package=None if package is None else unquote(package),
                    site=unquote(site),
                    location=unquote(location),
                    url=unquote(url),
                    form=form,
                    size=size,
                    files=files,
                    digest=digest,
                    verified_at=time_at(at),
                    state=state,
                )
        except JobFileError as error:
            raise CatalogError(f"a record of a catalog can't be read: {error}") from None


def open_records(file: Any, *, name: str) -> Any:
    """Open a file of records as a ``pyarrow.parquet.ParquetFile``.

    ``file`` is a path or a binary file that can seek, ``name`` what messages call it. Raises
    ``CatalogError`` for one without the columns of a catalog, and the errors of reading.
    """
    import pyarrow as pa

    try:
        found = open_parquet(file, **_METADATA)
        _require_columns(found)
    except (pa.ArrowException, ValueError, OSError) as error:
        raise unreadable(name, error) from None
    return found


def read_groups(found: Any, groups: Sequence[int], *, name: str) -> pa.Table:
    """Return groups of rows of an open file. Raises ``CatalogError`` for values that don't fit."""
    import pyarrow as pa

    try:
        table = groups_of(found, groups, NAMES).select(NAMES)
        require_values(table)
    except (pa.ArrowException, ValueError, OSError) as error:
        raise unreadable(name, error) from None
    return table


def unreadable(name: str, why: object) -> CatalogError:
    """Return the error for a file that isn't one of a catalog."""
    return CatalogError(
        f"{quote(name)} can't be read as a file of a catalog: {why}. Fetch it again if it was "
        "copied here, or move it away: the catalog then lacks its records, until it is rebuilt."
    )


@cache
def schema() -> pa.Schema:
    """Return the columns as pyarrow has them."""
    import pyarrow as pa

    types = {"string": pa.string(), "int64": pa.int64(), "us": pa.timestamp("us", tz="UTC")}
    return pa.schema([(name, types[kind]) for name, kind in COLUMNS])


def _require_columns(found: Any) -> None:
    types = {field.name: field.type for field in found.schema_arrow}
    wrong = [f"{each.name} ({each.type})" for each in schema() if types.get(each.name) != each.type]
    if wrong:
        shown = ", ".join(f"{name} ({kind})" for name, kind in types.items())[:500]
        raise ValueError(f"expected the columns {', '.join(wrong)}; found {shown or 'none'}")
    for index in range(found.metadata.num_row_groups):
        size = found.metadata.row_group(index).total_byte_size
        if not 0 <= size <= MAX_GROUP_BYTES:
            raise ValueError(
                f"expected groups of rows of at most {MAX_GROUP_BYTES} bytes; found one of {size}"
            )


def require_values(table: pa.Table) -> None:
    """Raise ``ValueError`` for values that no record has."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not table.num_rows:
        return
    for name, column in zip(NAMES, table.columns, strict=True):
        if column.null_count and name not in _MAY_BE_NULL:
            raise ValueError(f"expected a value in each row; column {name!r} lacks some")
    for name, known in (("form", FORMS), ("state", STATES)):
        odd = set(pc.unique(table[name]).to_pylist()) - set(known)
        if odd:
            raise ValueError(
                f"column {name!r}: expected {', '.join(known)}; found {sorted(odd)[0][:40]!r}. A "
                "newer version of jobtool may have written it"
            )
    for name, first, last in (
        ("size", 0, None),
        ("files", 0, None),
        ("verified_at", _FIRST_TIME, _LAST_TIME),
        ("recorded_at", _FIRST_TIME, _LAST_TIME),
    ):
        bounds = pc.min_max(table[name].cast(pa.int64())).as_py()
        if bounds["min"] < first or (last is not None and bounds["max"] > last):
            raise ValueError(
                f"column {name!r}: expected values from {first} on; found {bounds['min']} to "
                f"{bounds['max']}"
            )
