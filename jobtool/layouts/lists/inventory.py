"""S3 Inventory: ``manifest.json`` with data files in CSV, ORC or Parquet.

Source: AWS, "Locating your inventory list" and "Amazon S3 Inventory list" of the S3 User Guide.
``fileSchema`` has the columns of CSV files, which have no header: ``Bucket, Key, VersionId,
IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag, …``. In ORC and Parquet files these are
``bucket``, ``key``, ``version_id``, ``is_latest``, ``is_delete_marker``, ``size``,
``last_modified_date``, ``e_tag``. Keys are URL-encoded in CSV files alone. The columns about
versions are there only if the inventory lists all versions.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, BinaryIO
from urllib.parse import unquote_to_bytes

import msgspec

from jobtool import typed
from jobtool.errors import LayoutError
from jobtool.layouts.lists.listed import ListCounts, ListedFile, malformed
from jobtool.names import quote
from jobtool.parquetreading import batches_of, open_parquet

#: A larger manifest.json isn't read.
MOST_MANIFEST_BYTES = 64 * 1024 * 1024

_COLUMNS = {
    "Bucket": "bucket",
    "Key": "key",
    "IsLatest": "is_latest",
    "IsDeleteMarker": "is_delete_marker",
    "Size": "size",
    "LastModifiedDate": "last_modified_date",
}
_WANTED = tuple(_COLUMNS.values())
_NEEDED = ("bucket", "key")


class DataFile(msgspec.Struct, frozen=True, kw_only=True):
    """A data file of an inventory, by its key in the inventory's bucket."""

    key: str
    size: int | None = None
    md5: str | None = msgspec.field(default=None, name="MD5checksum")


class InventoryManifest(msgspec.Struct, frozen=True, kw_only=True):
    """The ``manifest.json`` of an inventory."""

    source_bucket: str = msgspec.field(name="sourceBucket")
    destination_bucket: str = msgspec.field(name="destinationBucket")
    file_format: str = msgspec.field(name="fileFormat")
    file_schema: str = msgspec.field(name="fileSchema", default="")
    files: list[DataFile]

    @property
    def bucket(self) -> str:
        """The bucket with the data files; the manifest has its ARN."""
        return self.destination_bucket.rpartition(":")[2]


def decode_manifest(data: bytes, shown: str) -> InventoryManifest:
    """Return the manifest of some bytes; raises ``LayoutError``."""
    try:
        manifest = typed.decode(data, InventoryManifest)
    except (msgspec.DecodeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise malformed(shown, "", "the manifest.json of an S3 Inventory", str(error)) from None
    if manifest.file_format.upper() not in ("CSV", "ORC", "PARQUET"):
        raise malformed(shown, ", fileFormat", "CSV, ORC or Parquet", repr(manifest.file_format))
    return manifest


def read_data(
    file: BinaryIO, form: str, schema: str, shown: str, counts: ListCounts
) -> Iterator[ListedFile]:
    """Yield the newest version of each object in a data file, but delete markers.

    ``form`` is CSV, ORC or PARQUET. Raises ``LayoutError``.
    """
    rows = _csv_rows(file, schema, shown) if form == "CSV" else _arrow_rows(file, form, shown)
    for row in rows:
        if row.get("is_latest") is False:
            counts.old_versions += 1
        elif row.get("is_delete_marker"):
            counts.delete_markers += 1
        elif row["key"].endswith(b"/"):
            counts.folders += 1
        else:
            yield ListedFile(
                row["key"], row["bucket"], row.get("size"), row.get("last_modified_date")
            )


def _csv_rows(file: BinaryIO, schema: str, shown: str) -> Iterator[Mapping[str, Any]]:
    names = [_COLUMNS.get(name.strip(), "") for name in schema.split(",")]
    _require_columns(names, shown)
    try:
        is_packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        binary: Any = gzip.GzipFile(fileobj=file) if is_packed else file
        text = io.TextIOWrapper(binary, "utf-8", "surrogateescape", newline="")
        for number, values in enumerate(csv.reader(text), start=1):
            if len(values) != len(names):
                where = f", row {number}"
                raise malformed(shown, where, f"{len(names)} columns", str(len(values)))
            yield _csv_row(dict(zip(names, values, strict=True)), shown, number)
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        raise LayoutError(f"can't read {quote(shown)}: {error}") from None


def _csv_row(row: dict[str, Any], shown: str, number: int) -> Mapping[str, Any]:
    # A space is %20 or +, and a plus is %2B.
    row["key"] = unquote_to_bytes(row["key"].replace("+", " ").encode("utf-8", "surrogateescape"))
    for name in ("is_latest", "is_delete_marker"):
        if name in row:
            if row[name].lower() not in ("true", "false", ""):
                raise malformed(shown, f", row {number}", "true or false", repr(row[name]))
            row[name] = {"true": True, "false": False, "": None}[row[name].lower()]
    if "size" in row:
        row["size"] = int(row["size"]) if row["size"].isdigit() else None
    if "last_modified_date" in row:
        row["last_modified_date"] = _time_of(row["last_modified_date"])
    return row


def _time_of(text: str) -> int | None:
    try:
        return round(datetime.fromisoformat(text).timestamp() * 1000) * 1_000_000
    except (ValueError, OverflowError):
        return None


def _arrow_rows(file: BinaryIO, form: str, shown: str) -> Iterator[Mapping[str, Any]]:
    import pyarrow as pa
    import pyarrow.orc

    try:
        if form == "ORC":
            table = pyarrow.orc.ORCFile(file)
            names = _present(table.schema.names, shown)
            stripes = (table.read_stripe(n, columns=names) for n in range(table.nstripes))
            batches: Iterator[Any] = stripes
        else:
            parquet = open_parquet(file)
            names = _present(parquet.schema_arrow.names, shown)
            batches = batches_of(parquet, names)
        for batch in batches:
            columns = {name: _values(name, batch.column(name)) for name in names}
            for values in zip(*columns.values(), strict=True):
                row = dict(zip(columns, values, strict=True))
                if row["key"] is None or row["bucket"] is None:
                    raise malformed(shown, "", "a bucket and a key in each row", "none")
                yield row
    except (pa.ArrowException, OSError) as error:
        line = str(error).partition("\n")[0]
        raise LayoutError(f"can't read {quote(shown)} as {form}: {line}") from None


def _values(name: str, column: Any) -> list[Any]:
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if name == "key":
        return list(column.cast(pa.binary()).to_pylist())
    if name == "last_modified_date" and pa.types.is_timestamp(column.type):
        return list(column.cast(pa.timestamp("ns", column.type.tz)).cast(pa.int64()).to_pylist())
    if name == "last_modified_date":
        return [None] * len(column)
    return list(column.to_pylist())


def _present(names: list[str], shown: str) -> list[str]:
    _require_columns(names, shown)
    return [name for name in _WANTED if name in names]


def _require_columns(names: list[str], shown: str) -> None:
    for name in _NEEDED:
        if name not in names:
            expected = "the columns of an S3 Inventory, with Bucket and Key"
            raise malformed(shown, "", expected, ", ".join(filter(None, names)) or "none")
