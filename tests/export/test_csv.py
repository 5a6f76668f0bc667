from __future__ import annotations

import csv
import io
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import hypothesis
import pyarrow as pa
import pyarrow.csv
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool.errors import QueryFailedError, UsageError
from jobtool.export.formats.by_name import format_of
from tests.export.columns import INTERVALS, LEAVES, NESTED, columns, cut, tables
from tests.export.test_parquet import UNION
from tests.export.test_rowdigest import digest

CSV = format_of("csv")

FITS = {
    kind: values
    for kind, values in LEAVES.items()
    if "binary" not in str(kind) and not pa.types.is_duration(kind)
}

#: Types of DuckDB, which it reads by what is given here.
DUCKDB_TYPES = {
    pa.bool_(): "BOOLEAN",
    pa.string(): "VARCHAR",
    pa.float64(): "DOUBLE",
    pa.float32(): "FLOAT",
    pa.int8(): "TINYINT",
    pa.int16(): "SMALLINT",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.uint64(): "UBIGINT",
    pa.date32(): "DATE",
    pa.time64("us"): "TIME",
    pa.timestamp("us"): "TIMESTAMP",
    pa.timestamp("ns"): "TIMESTAMP_NS",
    pa.timestamp("us", "UTC"): "TIMESTAMPTZ",
    pa.decimal128(38, 10): "DECIMAL(38, 10)",
    pa.decimal128(38, 38): "DECIMAL(38, 38)",
    pa.decimal128(9, 2): "DECIMAL(9, 2)",
}
FOR_DUCKDB = {
    kind: values.filter(lambda value: not isinstance(value, str) or "\0" not in value)
    for kind, values in FITS.items()
    if kind in DUCKDB_TYPES
} | {pa.date32(): st.integers(-719_162, 2_900_000)}


def written(schema: pa.Schema, *batches: pa.RecordBatch, path: Path) -> bytes:
    CSV.check(schema)
    path.unlink(missing_ok=True)
    writer = CSV.open(str(path), schema)
    for batch in batches:
        writer.write(batch)
    writer.close()
    return path.read_bytes()


def text_of(array: Any, path: Path) -> list[str]:
    batch = pa.record_batch({"id": pa.nulls(len(array), pa.int8()), "x": array})
    lines = written(batch.schema, batch, path=path).decode().split("\n")
    assert lines[0] == '"id","x"'
    return [line.removeprefix(",") for line in lines[1:-1]]


@hypothesis.settings(max_examples=40, deadline=None)
@given(tables(FITS, min_columns=2), st.data())
def test_python_reads_each_field_however_rows_are_cut(
    tmp_path_factory: pytest.TempPathFactory,
    drawn: tuple[list[tuple[str, Any, list[Any]]], pa.RecordBatch],
    data: st.DataObject,
) -> None:
    plain, batch = drawn
    path = tmp_path_factory.getbasetemp() / "rows.csv"
    content = written(batch.schema, *data.draw(cut(batch)), path=path)
    assert content == written(batch.schema, *data.draw(cut(batch)), path=path)
    header, *rows = csv.reader(io.StringIO(content.decode(), newline=""))
    assert header == [name for name, *_ in plain]
    assert len(rows) == batch.num_rows
    for place, (_, kind, values) in enumerate(plain):
        for row, value in zip(rows, values, strict=True):
            field = row[place]
            if value is None:
                assert field == ""
            elif isinstance(value, bool):
                assert field == str(value).lower()
            elif isinstance(value, float):
                # As a value of the column's type: float32 needs fewer digits than float64.
                assert str(pa.array([float(field)], kind)) == str(pa.array([value], kind))
            elif isinstance(value, Decimal):
                assert Decimal(field) == value
                assert field == format(value, "f")
            elif isinstance(value, str):
                assert field == value
            elif pa.types.is_integer(kind):
                assert int(field) == value


@hypothesis.settings(max_examples=40, deadline=None)
@given(tables(FOR_DUCKDB, min_columns=2), st.data())
def test_duckdb_and_pyarrow_read_the_rows_that_were_written(
    tmp_path_factory: pytest.TempPathFactory,
    drawn: tuple[Any, pa.RecordBatch],
    data: st.DataObject,
) -> None:
    batch = drawn[1]
    batch = batch.rename_columns([f"c{number}" for number in range(batch.num_columns)])
    path = tmp_path_factory.getbasetemp() / "for_duckdb.csv"
    written(batch.schema, *data.draw(cut(batch)), path=path)
    types = ", ".join(f"'{field.name}': '{DUCKDB_TYPES[field.type]}'" for field in batch.schema)
    with duckdb.connect() as connection:
        found = connection.sql(
            f"FROM read_csv('{path}', columns={{{types}}}, header=true, delim=',', quote='\"', "
            "escape='\"', nullstr='', allow_quoted_nulls=false, auto_detect=false)"
        ).to_arrow_table()
    arrays = [
        found.column(place).cast(field.type).combine_chunks()
        for place, field in enumerate(batch.schema)
    ]
    assert digest(pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)) == digest(batch)
    read = pyarrow.csv.read_csv(
        path,
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=batch.schema,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            timestamp_parsers=[pyarrow.csv.ISO8601],
        ),
    )
    assert digest(batch.slice(0, 0), *read.to_batches()) == digest(batch)


@hypothesis.settings(max_examples=40, deadline=None)
@given(columns({pa.float16(): st.floats(width=16)}, 8))
def test_half_floats_give_the_same_number_again(
    tmp_path_factory: pytest.TempPathFactory, drawn: tuple[Any, list[Any]]
) -> None:
    array = pa.array(drawn[1], pa.float16())
    texts = text_of(array, tmp_path_factory.getbasetemp() / "half.csv")
    again = pa.array([float(text) if text else None for text in texts], pa.float16())
    assert str(again) == str(array)


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (
            pa.array(["", None, 'say "a, b"', "two\nlines"]),
            ['""', "", '"say ""a, b"""', '"two', 'lines"'],
        ),
        (pa.array([0, 86_399], pa.time32("s")), ['"00:00:00"', '"23:59:59"']),
        (
            pa.array([-1, 2**40], pa.timestamp("us")),
            ['"1969-12-31T23:59:59.999999"', '"1970-01-13T17:25:11.627776"'],
        ),
        (pa.array([0], pa.timestamp("ms", "Asia/Tokyo")), ['"1970-01-01T00:00:00.000Z"']),
        (pa.array([0], pa.timestamp("ns")), ['"1970-01-01T00:00:00.000000000"']),
        (pa.array([19_000], pa.date32()), ['"2022-01-08"']),
        (
            pa.array([Decimal("-0.00000001"), Decimal(120), Decimal(0)], pa.decimal128(12, 8)),
            ['"-0.00000001"', '"120.00000000"', '"0.00000000"'],
        ),
        (
            pa.array([Decimal(1200), Decimal(0), Decimal(-100)], pa.decimal128(5, -2)),
            ['"1200"', '"0"', '"-100"'],
        ),
        (pa.array([Decimal("1.50")], pa.decimal256(50, 2)), ["1.50"]),
        (
            pa.array([0.1, -0.0, 1e300, float("nan"), float("-inf")]),
            ["0.1", "-0", "1e+300", "nan", "-inf"],
        ),
        (pa.array([0.1], pa.float32()), ["0.1"]),
        (pa.array([True, False, None]), ["true", "false", ""]),
        (pa.array(["b", None, ""]).dictionary_encode(), ['"b"', "", '""']),
        (pa.array(["b", None, ""], pa.string_view()), ['"b"', "", '""']),
    ],
    ids=lambda value: str(getattr(value, "type", "")),
)
def test_texts_of_values(array: Any, text: list[str], tmp_path: Path) -> None:
    assert text_of(array, tmp_path / "file") == text


def test_a_file_without_rows_has_the_names(tmp_path: Path) -> None:
    schema = pa.schema([("id", pa.int8()), ('a "b", c', pa.string())])
    expected = b'"id","a ""b"", c"\n'
    assert written(schema, path=tmp_path / "file") == expected
    empty = pa.RecordBatch.from_pylist([], schema)
    assert written(schema, empty, path=tmp_path / "file") == expected


@pytest.mark.parametrize("kind", [*NESTED, *INTERVALS, *LEAVES, UNION, pa.uuid()], ids=str)
def test_a_type_that_csv_cannot_hold_is_refused(kind: Any) -> None:
    schema = pa.schema([("id", pa.int64()), ("x", kind)])
    if kind in FITS:
        CSV.check(schema)
        return
    instead = "CAST(x AS VARCHAR) AS x"
    if kind in NESTED:
        instead = "to_json(x) AS x"
    elif "binary" in str(kind):
        instead = "hex(x) AS x"
    with pytest.raises(UsageError) as caught:
        CSV.check(schema)
    assert str(caught.value) == (
        f"CSV can't hold these columns:\n  column 'x' has the type {kind}; write {instead} in the "
        "query"
    )


@pytest.mark.parametrize(
    "array",
    [
        pa.array([0, 2**31 - 1], pa.date32()),
        pa.array([2**63 - 1], pa.timestamp("us")),
        pa.array([-(2**63)], pa.timestamp("us", "UTC")),
    ],
    ids=str,
)
def test_an_infinite_date_is_an_error_that_names_its_column(array: Any, tmp_path: Path) -> None:
    batch = pa.record_batch({"born": array})
    writer = CSV.open(str(tmp_path / "file"), batch.schema)
    with pytest.raises(QueryFailedError, match=r"column 'born': .*CAST\(born AS VARCHAR\)"):
        writer.write(batch)
    writer.abort()
    assert not (tmp_path / "file").exists()
