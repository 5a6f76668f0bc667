"""Files in a catalog that aren't of it, torn ones, other types: errors that name them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobtool.catalog.catalog import Catalog
from jobtool.catalog.compaction import compact
from jobtool.catalog.recordfile import schema
from jobtool.catalog.writer import CatalogWriter
from jobtool.errors import CatalogError
from tests.catalog.made import a_copy
from tests.commands import assert_one_line_error, run


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for number in range(2):
        writer = CatalogWriter(str(tmp_path), "w")
        writer.add([a_copy(f"item{number}")])
        writer.flush()
    return tmp_path


def files(place: Path) -> list[Path]:
    return sorted((place / "records").glob("*.parquet"))


def require_refused(place: Path, name: str, *expected: str) -> None:
    """Reading and compacting say which file it is and what is wrong, and change nothing."""
    before = {path: path.read_bytes() for path in files(place)}
    for act in (lambda: list(Catalog(str(place)).copies()), lambda: compact(str(place))):
        with pytest.raises(CatalogError) as raised:
            act()
        for text in (name, "can't be read as a file of a catalog", *expected):
            assert text in str(raised.value)
    assert {path: path.read_bytes() for path in files(place)} == before


@pytest.mark.parametrize("length", [0, 3, 100, -1])
def test_a_torn_file(place: Path, length: int) -> None:
    torn = files(place)[0]
    torn.write_bytes(torn.read_bytes()[:length])
    require_refused(place, torn.name)


def test_a_file_that_is_no_parquet(place: Path) -> None:
    (place / "records" / "notes.parquet").write_text("todo\n" * 100)
    require_refused(place, "notes.parquet")
    done = run("jobtool", "where", "item0", "--catalog", place)
    assert_one_line_error(done, 1, "notes.parquet")


def test_a_parquet_file_of_something_else(place: Path) -> None:
    pq.write_table(pa.table({"item": ["x"], "rows": [1]}), place / "records" / "other.parquet")
    require_refused(place, "other.parquet", "expected the columns package (string)", "rows (int64)")


def changed(place: Path, **values: object) -> Path:
    """Add a file like that of a writer but for some values of its one row."""
    row = pq.read_table(files(place)[0]).to_pylist()[0]
    path = place / "records" / "changed.parquet"
    pq.write_table(pa.Table.from_pylist([{**row, **values}], schema=schema()), path)
    return path


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"item": None}, "column 'item' lacks"),
        ({"state": "lost"}, "found 'lost'. A newer version"),
        ({"form": "zip"}, "found 'zip'"),
        ({"size": -5}, "column 'size': expected values from 0 on; found -5"),
        ({"verified_at": -(2**62)}, "column 'verified_at'"),
        ({"recorded_at": 2**62}, "column 'recorded_at'"),
    ],
)
def test_values_that_no_record_has(place: Path, values: dict, expected: str) -> None:
    changed(place, **values)
    require_refused(place, "changed.parquet", expected)


def test_a_name_with_an_escape_that_is_none(place: Path) -> None:
    changed(place, url='"\\q"')
    with pytest.raises(CatalogError, match=r"expected one of \\n"):
        list(Catalog(str(place)).copies())


def test_a_large_file_that_is_not_sorted(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobtool.catalog.reading.SMALL_BYTES", 0)
    path = changed(place)
    table = pq.read_table(path)
    rows = pa.concat_tables([table, table.set_column(0, "item", pa.array(["a"]))])
    for group in (1, 2):  # within a group of rows, and from group to group
        pq.write_table(rows, path, row_group_size=group)
        with pytest.raises(CatalogError, match=r"changed.parquet.*aren't sorted"):
            list(Catalog(str(place)).copies())


def test_what_lies_beside_is_passed_over(place: Path) -> None:
    records = place / "records"
    (records / ".jobtool-0123456789ab-0123456789abcdef.part").write_bytes(b"PAR1")
    (records / "README.txt").write_text("ours")
    (records / "deeper").mkdir()
    (records / "deeper" / "x.parquet").write_bytes(b"no")
    (place / "notes.parquet").write_bytes(b"no")
    assert len(list(Catalog(str(place)).copies())) == 2
    compact(str(place))
    assert len(list(Catalog(str(place)).copies())) == 2
    assert len(files(place)) == 1
    assert (records / "README.txt").exists()


def test_columns_of_a_later_version_are_passed_over(place: Path) -> None:
    path = files(place)[0]
    table = pq.read_table(path)
    pq.write_table(table.add_column(0, "later", pa.array([1] * len(table))), path)
    assert len(list(Catalog(str(place)).copies())) == 2
