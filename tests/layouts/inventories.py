"""S3 inventories, written as AWS documents them."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pyarrow as pa
import pyarrow.orc
import pyarrow.parquet

COLUMNS = (
    "Bucket",
    "Key",
    "VersionId",
    "IsLatest",
    "IsDeleteMarker",
    "Size",
    "LastModifiedDate",
    "ETag",
    "StorageClass",
)
_SNAKE = {"ETag": "e_tag"}
_MODIFIED = datetime(2024, 3, 1, 12, 30, tzinfo=UTC)
_TYPES = {
    "is_latest": pa.bool_(),
    "is_delete_marker": pa.bool_(),
    "size": pa.int64(),
    "last_modified_date": pa.timestamp("ms", "UTC"),
}


def snake(name: str) -> str:
    """Return a column's name as it is in ORC and Parquet files."""
    made = "".join(f"_{char.lower()}" if char.isupper() else char for char in name)
    return _SNAKE.get(name, made.lstrip("_"))


def row(
    bucket: str, key: str, size: int = 1, *, is_latest: bool = True, is_deleted: bool = False
) -> dict[str, Any]:
    """Return a row with all columns."""
    return {
        "Bucket": bucket,
        "Key": key,
        "VersionId": "3HL4kqtJlcpXroDTDmJ",
        "IsLatest": is_latest,
        "IsDeleteMarker": is_deleted,
        "Size": None if is_deleted else size,
        "LastModifiedDate": _MODIFIED,
        "ETag": "d41d8cd98f00b204e9800998ecf8427e",
        "StorageClass": "STANDARD",
    }


def _csv(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    for each in rows:
        values = {
            **each,
            "Key": quote_plus(each["Key"], safe="/"),
            "IsLatest": str(each["IsLatest"]).lower(),
            "IsDeleteMarker": str(each["IsDeleteMarker"]).lower(),
            "LastModifiedDate": f"{each['LastModifiedDate']:%Y-%m-%dT%H:%M:%S}.000Z",
        }
        writer.writerow("" if values[name] is None else values[name] for name in columns)
    return gzip.compress(text.getvalue().encode())


def _table(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> pa.Table:
    return pa.table(
        {
            snake(name): pa.array(
                [each[name] for each in rows], _TYPES.get(snake(name), pa.string())
            )
            for name in columns
        }
    )


def data_of(form: str, rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> bytes:
    """Return the bytes of a data file."""
    if form == "CSV":
        return _csv(rows, columns)
    sink = io.BytesIO()
    if form == "ORC":
        pyarrow.orc.write_table(_table(rows, columns), sink)
    else:
        pyarrow.parquet.write_table(_table(rows, columns), sink)
    return sink.getvalue()


def write_inventory(
    root: Path,
    form: str,
    bucket: str,
    files: Sequence[Sequence[dict[str, Any]]],
    *,
    columns: Sequence[str] = COLUMNS,
    destination: str = "inventories",
) -> Path:
    """Write an inventory as AWS lays it out below ``root``; return its manifest.json."""
    config = Path("reports", bucket, "all")
    listed = []
    for number, rows in enumerate(files):
        ending = {"CSV": "csv.gz", "ORC": "orc", "Parquet": "parquet"}[form]
        key = config / "data" / f"d794c570-95bb-4271-9128-26023c8b490{number}.{ending}"
        data = data_of(form, rows, columns)
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        (root / key).write_bytes(data)
        checksum = hashlib.md5(data, usedforsecurity=False).hexdigest()
        listed.append({"key": str(key), "size": len(data), "MD5checksum": checksum})
    schema = {
        "CSV": ", ".join(columns),
        "ORC": f"struct<{','.join(f'{snake(name)}:string' for name in columns)}>",
        "Parquet": "message s3.inventory { required binary bucket (UTF8); }",
    }
    manifest = root / config / "2024-03-02T01-00Z" / "manifest.json"
    manifest.parent.mkdir(parents=True, exist_ok=True)
    described = {
        "sourceBucket": bucket,
        "destinationBucket": f"arn:aws:s3:::{destination}",
        "version": "2016-11-30",
        "creationTimestamp": "1514944800000",
        "fileFormat": form,
        "fileSchema": schema[form],
        "files": listed,
    }
    manifest.write_text(json.dumps(described, indent=1))
    return manifest
