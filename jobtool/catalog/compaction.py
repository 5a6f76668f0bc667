"""Compaction: many files of records become one. And writing a whole catalog as one file."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from functools import partial
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import msgspec

from jobtool.catalog.catalog import Catalog
from jobtool.catalog.folder import CatalogFolder, folder_at
from jobtool.catalog.reading import records_of
from jobtool.catalog.recordfile import ROWS_PER_GROUP, open_records, schema
from jobtool.errors import (
    CatalogError,
    NotFoundError,
    SourceChangedError,
    StoreUnavailableError,
    reason_of,
)
from jobtool.failpoints import reach
from jobtool.md5 import hasher_for, md5_of
from jobtool.names import quote
from jobtool.packages.storefile import buffered
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.store import READ_BYTES, Entry, entry_of

if TYPE_CHECKING:
    import pyarrow as pa

COMPACTED = "compacted"

#: How often a compaction begins anew since another one has removed its inputs.
_MOST_TRIES = 20


class Compacted(msgspec.Struct, frozen=True, kw_only=True):
    """What a compaction did. ``file`` is the URL of its file; None if there was nothing to do.

    ``inputs`` and ``records`` count the files that it replaced and the records in its own.
    """

    url: str
    file: str | None
    inputs: int
    records: int


class _Whole(msgspec.Struct, frozen=True):
    """A file of records on this machine."""

    path: str
    rows: int
    size: int
    md5: str


def compact(place: str | CatalogFolder, *, stores: StoreRegistry | None = None) -> Compacted:
    """Replace all files of records by one, with the newest record of each copy.

    Writers, readers and other compactions may run meanwhile. The new file is read back and
    compared, then a mark is written, and only then are the files removed that it was made of. A
    kill leaves files that hold the same records twice, at worst. Takes room for the new file in
    the folder for temporary files. Raises ``CatalogError`` for a file that isn't one of a catalog,
    before anything is changed, and the errors of reading and writing.
    """
    folder = folder_at(place, stores, role="destination")
    for _ in range(_MOST_TRIES):
        entries = folder.listing()
        if len(entries) < 2:
            return Compacted(url=folder.url, file=None, inputs=0, records=0)
        with TemporaryDirectory(prefix="jobtool-catalog-") as temporary:
            try:
                whole = _write(temporary, records_of(folder, entries))
            except (NotFoundError, SourceChangedError):  # another compaction has removed an input
                continue
            name = publish_whole(folder, whole)
        _mark(folder, name, entries, whole)
        for entry in entries:
            reach("before an input of a compaction is removed", entry.path)
            folder.retry.call(partial(folder.records.delete, entry.path))
        folder.records.sync()
        reach("after the inputs of a compaction are removed")
        url = folder.records.url_of(name)
        return Compacted(url=folder.url, file=url, inputs=len(entries), records=whole.rows)
    raise CatalogError(
        f"{quote(folder.url)}: expected to read it while no other compaction removes its files; "
        f"that failed {_MOST_TRIES} times. Leave compactions to one program."
    )


def write_as_one(folder: CatalogFolder, source: Catalog) -> int:
    """Write the copies of another catalog as one new file; return their number.

    Nothing is written if there are none. Raises the errors of reading and writing.
    """
    with TemporaryDirectory(prefix="jobtool-catalog-") as temporary:
        whole = _write(temporary, source.tables())
        if whole.rows:
            publish_whole(folder, whole)
    return whole.rows


def publish_whole(folder: CatalogFolder, whole: _Whole) -> str:
    """Write a file of records into a catalog, read it back, and return its name."""
    store = folder.records
    name = f"{COMPACTED}-{secrets.token_hex(8)}.parquet"
    reach("before a compacted file is written")
    folder.publish(store, name, lambda: _chunks(whole.path), whole.md5)
    _require_same(folder, name, whole)
    reach("after a compacted file is written")
    return name


def _write(temporary: str, tables: Iterable[pa.Table]) -> _Whole:
    import pyarrow.parquet as pq

    path = os.path.join(temporary, "whole.parquet")
    rows = 0
    try:
        with pq.ParquetWriter(
            path, schema(), compression="gzip", compression_level=1, store_schema=False
        ) as writer:
            for table in _in_groups(tables):
                writer.write_table(table, row_group_size=ROWS_PER_GROUP)
                rows += table.num_rows
        size = os.path.getsize(path)
    except OSError as error:
        raise StoreUnavailableError(
            f"can't write {quote(path)}: {reason_of(error)}. Set TMPDIR to a folder with more room."
        ) from None
    digest = hasher_for(size)
    for chunk in _chunks(path):
        digest.update(chunk)
    return _Whole(path, rows, size, digest.hexdigest())


def _in_groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Yield the rows in whole groups: the merge yields pieces of any size."""
    import pyarrow as pa

    held: list[pa.Table] = []
    rows = 0
    for table in tables:
        held.append(table)
        rows += table.num_rows
        if rows >= ROWS_PER_GROUP:
            whole = pa.concat_tables(held)
            end = rows - rows % ROWS_PER_GROUP
            yield whole.slice(0, end)
            held, rows = [whole.slice(end)], rows - end
    if rows:
        yield pa.concat_tables(held)


def _chunks(path: str) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while data := file.read(READ_BYTES):
            yield data


def _require_same(folder: CatalogFolder, name: str, whole: _Whole) -> None:
    """Read a new file back. Remove it and raise unless it holds what was written."""
    store = folder.records
    found = folder.retry.call(lambda: store.digest(name))
    entry = folder.retry.call(lambda: entry_of(store, name))
    url = store.url_of(name)
    if (found, entry.size) == (whole.md5, whole.size):
        with open_records(buffered(store, entry, folder.retry), name=url) as opened:
            if opened.metadata.num_rows == whole.rows:
                return
    store.delete(name)
    raise CatalogError(
        f"{quote(url)}: expected {whole.rows} records in {whole.size} bytes with MD5 {whole.md5}, "
        f"as they were written; read back {entry.size} bytes with MD5 {found}. The file has been "
        "removed, and nothing else was changed. Try again."
    )


def _mark(folder: CatalogFolder, name: str, inputs: list[Entry], whole: _Whole) -> None:
    """Write the mark of a compaction: what it is about to remove, and where that is now."""
    mark = {
        "file": name,
        "md5": whole.md5,
        "records": whole.rows,
        "inputs": [entry.path for entry in inputs],
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    data = json.dumps(mark, indent=1).encode()
    folder.publish(
        folder.compactions, f"{secrets.token_hex(12)}.json", lambda: [data], md5_of(data)
    )
    reach("after a compaction is marked")
