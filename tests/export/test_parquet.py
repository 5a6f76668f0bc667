from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import hypothesis
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool.errors import QueryFailedError, UsageError
from jobtool.export.blocks import blocks
from jobtool.export.formats.by_name import format_of
from jobtool.export.formats.parquet import COMPRESSIONS
from tests.export.columns import INTERVALS, LEAVES, NESTED, cut, tables
from tests.export.test_rowdigest import digest

PARQUET = format_of("parquet")

#: What Parquet has instead of types that it hasn't.
INSTEAD = {
    pa.date64(): pa.date32(),
    pa.time32("s"): pa.time32("ms"),
    pa.timestamp("s"): pa.timestamp("ms"),
}

#: Types that DuckDB has too, or reads as one of its own without a loss.
FOR_DUCKDB = {
    kind: values
    for kind, values in (LEAVES | NESTED).items()
    if not pa.types.is_decimal(kind) or kind.bit_width == 128
    if not pa.types.is_duration(kind)
    if "decimal256" not in str(kind) and "null" not in str(kind)
    if kind not in (pa.time64("ns"), pa.date64())
}


def written(path: Path, schema: pa.Schema, *batches: pa.RecordBatch, **settings: Any) -> bytes:
    path.unlink(missing_ok=True)
    writer = format_of("parquet", **settings).open(str(path), schema)
    for batch in batches:
        writer.write(batch)
    writer.close()
    return path.read_bytes()


def in_place_of(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a batch with the types that Parquet has."""
    columns = [
        array.cast(INSTEAD[array.type]) if array.type in INSTEAD else array
        for array in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


@hypothesis.settings(max_examples=40, deadline=None)
@given(tables(LEAVES | NESTED), st.data())
def test_pyarrow_reads_the_rows_and_types_that_were_written(
    tmp_path_factory: pytest.TempPathFactory,
    drawn: tuple[Any, pa.RecordBatch],
    data: st.DataObject,
) -> None:
    batch = drawn[1]
    path = tmp_path_factory.getbasetemp() / "rows.parquet"
    PARQUET.check(batch.schema)
    written(path, batch.schema, *data.draw(cut(batch)))
    expected = in_place_of(batch)
    found = pq.read_table(path)
    assert found.schema.equals(expected.schema)
    assert digest(expected.slice(0, 0), *found.to_batches()) == digest(expected)


@hypothesis.settings(max_examples=40, deadline=None)
@given(tables(FOR_DUCKDB), st.data())
def test_duckdb_reads_the_rows_that_were_written(
    tmp_path_factory: pytest.TempPathFactory,
    drawn: tuple[Any, pa.RecordBatch],
    data: st.DataObject,
) -> None:
    batch = in_place_of(drawn[1])
    batch = batch.rename_columns([f"c{number}" for number in range(batch.num_columns)])
    path = tmp_path_factory.getbasetemp() / "for_duckdb.parquet"
    written(path, batch.schema, *data.draw(cut(batch)))
    with duckdb.connect() as connection:
        found = connection.sql(f"FROM read_parquet('{path}')").to_arrow_table()
    columns = [
        found.column(place).cast(field.type).combine_chunks()
        for place, field in enumerate(batch.schema)
    ]
    assert digest(pa.RecordBatch.from_arrays(columns, names=batch.schema.names)) == digest(batch)


@pytest.mark.parametrize("kind", LEAVES | NESTED, ids=str)
def test_each_type_is_kept(kind: Any, tmp_path: Path) -> None:
    batch = pa.record_batch({"x": pa.nulls(2, kind)})
    PARQUET.check(batch.schema)
    written(tmp_path / "file", batch.schema, batch)
    assert pq.read_schema(tmp_path / "file").field("x").type == INSTEAD.get(kind, kind)


@hypothesis.settings(max_examples=40, deadline=None)
@given(tables(LEAVES | NESTED), st.data(), st.integers(1, 5), st.sampled_from(COMPRESSIONS))
def test_the_same_rows_give_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory,
    drawn: tuple[Any, pa.RecordBatch],
    data: st.DataObject,
    rows: int,
    compression: str,
) -> None:
    batch = drawn[1]
    path = tmp_path_factory.getbasetemp() / "same.parquet"
    first, second = (
        written(path, batch.schema, *blocks(pieces, rows), compression=compression)
        for pieces in (data.draw(cut(batch)), data.draw(cut(batch)))
    )
    assert first == second


def test_dictionaries_are_written_as_their_values(tmp_path: Path) -> None:
    texts = pa.array(["b", "a", None, "b"])
    other = pa.DictionaryArray.from_arrays(pa.array([2, 1, None, 2]), pa.array(["z", "a", "b"]))
    runs = pa.RunEndEncodedArray.from_arrays(pa.array([1, 4], pa.int32()), pa.array([7, None]))
    files = []
    for encoded in (texts.dictionary_encode(), other.cast(texts.dictionary_encode().type)):
        lists = pa.ListArray.from_arrays(pa.array([0, 1, 1, 3, 4], pa.int32()), encoded)
        batch = pa.record_batch({"text": encoded, "lists": lists, "runs": runs})
        PARQUET.check(batch.schema)
        files.append(written(tmp_path / "file", batch.schema, batch))
    assert files[0] == files[1]
    assert pq.read_table(tmp_path / "file").to_pydict() == {
        "text": ["b", "a", None, "b"],
        "lists": [["b"], [], ["a", None], ["b"]],
        "runs": [7, None, None, None],
    }


def test_row_groups_end_at_blocks_by_rows_or_bytes(tmp_path: Path) -> None:
    narrow = pa.record_batch({"x": pa.array([1], pa.int8()).take(pa.array([0] * 300_000))})
    written(tmp_path / "rows", narrow.schema, *[narrow] * 6)
    found = pq.read_metadata(tmp_path / "rows")
    groups = [found.row_group(place).num_rows for place in range(found.num_row_groups)]
    assert groups == [1_200_000, 600_000]
    wide = pa.record_batch({"x": ["x" * 1024 * 1024] * 16})
    written(tmp_path / "bytes", wide.schema, *[wide] * 6)
    found = pq.read_metadata(tmp_path / "bytes")
    groups = [found.row_group(place).num_rows for place in range(found.num_row_groups)]
    assert groups == [32, 32, 32]


def test_files_have_statistics_compression_and_no_metadata_of_drivers(tmp_path: Path) -> None:
    schema = pa.schema([pa.field("x", pa.int32(), metadata={"a": "b"})], {"pandas": "{}"})
    batch = pa.RecordBatch.from_arrays([pa.array([3, None, 1], pa.int32())], schema=schema)
    names = {"zstd": "ZSTD", "snappy": "SNAPPY", "gzip": "GZIP", "none": "UNCOMPRESSED"}
    for compression in (None, *COMPRESSIONS):
        written(tmp_path / "file", schema, batch, compression=compression)
        found = pq.read_metadata(tmp_path / "file")
        column = found.row_group(0).column(0)
        assert column.compression == names[compression or "zstd"]
        statistics = column.statistics
        assert (statistics.min, statistics.max, statistics.null_count) == (1, 3, 1)
        assert not pq.read_schema(tmp_path / "file").metadata


def test_without_rows_a_file_has_the_columns(tmp_path: Path) -> None:
    schema = pa.schema([("id", pa.int64()), ("when", pa.timestamp("us", "UTC"))])
    for number, batches in enumerate(([], [schema.empty_table().combine_chunks().to_batches()])):
        path = tmp_path / str(number)
        written(path, schema, *(batch for some in batches for batch in some))
        assert pq.read_table(path).num_rows == 0
        assert pq.read_schema(path) == schema
        described = duckdb.sql(f"DESCRIBE FROM read_parquet('{path}')").fetchall()
        assert [row[:2] for row in described] == [
            ("id", "BIGINT"),
            ("when", "TIMESTAMP WITH TIME ZONE"),
        ]


UNION = pa.sparse_union([pa.field("a", pa.int32())])
REFUSED = {
    **dict.fromkeys(INTERVALS, "CAST(x AS VARCHAR) AS x"),
    UNION: "CAST(x AS VARCHAR) AS x",
    pa.list_(UNION): "CAST(x AS VARCHAR) AS x",
    pa.list_(pa.month_day_nano_interval()): "CAST(x AS VARCHAR) AS x",
    pa.struct([]): "CAST(x AS VARCHAR) AS x",
    pa.binary(0): "CAST(x AS VARCHAR) AS x",
    pa.list_(pa.int32(), 0): "CAST(x AS VARCHAR) AS x",
    pa.struct([("a", pa.list_(pa.int32(), 0))]): "CAST(x AS VARCHAR) AS x",
    pa.decimal128(5, -2): "CAST(x AS DECIMAL(7, 0)) AS x",
    pa.list_(pa.run_end_encoded(pa.int32(), pa.int64())): "CAST(x AS VARCHAR) AS x",
}


@pytest.mark.parametrize("kind", REFUSED, ids=str)
def test_a_type_that_parquet_cannot_hold_is_refused(kind: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        PARQUET.check(pa.schema([("id", pa.int64()), ("x", kind)]))
    assert str(caught.value) == (
        "Parquet can't hold these columns:\n"
        f"  column 'x' has the type {kind}; write {REFUSED[kind]} in the query"
    )
    if not pa.types.is_fixed_size_list(kind) and not pa.types.is_struct(kind):
        with pytest.raises((pa.ArrowException, OSError)):
            pq.write_table(pa.table({"x": pa.nulls(1, kind)}), tmp_path / "file")


def test_each_misfit_is_named_and_names_are_quoted() -> None:
    interval = pa.month_day_nano_interval()
    schema = pa.schema([("a", interval), ("b", pa.int8()), ('the "c"', interval)])
    with pytest.raises(UsageError) as caught:
        PARQUET.check(schema)
    assert str(caught.value).splitlines()[1:] == [
        "  column 'a' has the type month_day_nano_interval; write "
        "CAST(a AS VARCHAR) AS a in the query",
        "  column 'the \"c\"' has the type month_day_nano_interval; write "
        'CAST("the ""c""" AS VARCHAR) AS "the ""c""" in the query',
    ]


@pytest.mark.parametrize(
    ("field", "array", "found"),
    [
        (
            pa.field("x", pa.timestamp("s")),
            pa.array([2**62], pa.timestamp("s")),
            "out of bounds timestamp: 4611686018427387904",
        ),
        (pa.field("x", pa.int8(), nullable=False), pa.array([None], pa.int8()), "contains nulls"),
    ],
    ids=["overflow", "null"],
)
def test_a_value_that_parquet_cannot_hold_is_an_error_of_the_query(
    field: Any, array: Any, found: str, tmp_path: Path
) -> None:
    batch = pa.RecordBatch.from_arrays([array], schema=pa.schema([field]))
    writer = PARQUET.open(str(tmp_path / "file"), batch.schema)
    with pytest.raises(QueryFailedError, match=f"Parquet can't hold a value.*{found}"):  # noqa: PT012
        writer.write(batch)
        writer.close()
    writer.abort()


@pytest.mark.parametrize("name", ["parquet", "csv"])
def test_columns_need_names_of_their_own(name: str) -> None:
    chosen = format_of(name)
    with pytest.raises(UsageError, match="expected at least one column; found none"):
        chosen.check(pa.schema([]))
    twice = pa.schema([("id", pa.int8()), ("a", pa.int8()), ("id", pa.int8())])
    with pytest.raises(UsageError, match=r"more than one column named 'id'.* id AS id_2"):
        chosen.check(twice)
    chosen.check(pa.schema([("id", pa.int8()), ("ID", pa.int8())]))


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """As on a full disk, no byte can be added to any file; just the error has another name."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("name", ["parquet", "csv"])
def test_a_full_disk_is_an_oserror_and_nothing_stays_open(name: str, tmp_path: Path) -> None:
    path = tmp_path / "chunk"
    batch = pa.record_batch({"x": [os.urandom(4096).hex() for _ in range(500)]})
    for blocks_before_close in (0, 1):
        opened = os.listdir("/proc/self/fd")
        writer = format_of(name).open(str(path), batch.schema)
        with full_disk(), pytest.raises(OSError, match="File too large"):  # noqa: PT012
            for _ in range(blocks_before_close * 100):
                writer.write(batch)
            writer.close()
        writer.abort()
        assert os.listdir("/proc/self/fd") == opened
        path.unlink(missing_ok=True)


@pytest.mark.parametrize("name", ["parquet", "csv"])
def test_a_file_that_is_given_up_is_removed_and_a_complete_one_stays(
    name: str, tmp_path: Path
) -> None:
    path = tmp_path / "chunk"
    batch = pa.record_batch({"x": list(range(1000))})
    opened = os.listdir("/proc/self/fd")
    for rows in ([], [batch]):
        writer = format_of(name).open(str(path), batch.schema)
        for one in rows:
            writer.write(one)
        writer.abort()
        writer.abort()
        del writer
        assert not path.exists()
    writer = format_of(name).open(str(path), batch.schema)
    writer.write(batch)
    writer.close()
    complete = path.read_bytes()
    writer.close()
    writer.abort()
    assert path.read_bytes() == complete
    assert os.listdir("/proc/self/fd") == opened
    with pytest.raises(FileNotFoundError):
        format_of(name).open(str(tmp_path / "missing" / "chunk"), batch.schema)


def test_names_and_settings_of_formats() -> None:
    assert [format_of(name).suffix for name in ("parquet", "csv")] == [".parquet", ".csv"]
    with pytest.raises(UsageError, match=r"expected one of parquet, csv; found 'paquet'\. Did you"):
        format_of("paquet")
    with pytest.raises(
        UsageError, match=r"compression: expected one of zstd, .*; found 'zst'\. Did"
    ):
        format_of("parquet", compression="zst")
    with pytest.raises(UsageError, match="compression: expected none for csv; found 'gzip'"):
        format_of("csv", compression="gzip")
