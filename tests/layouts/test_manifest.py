"""Manifests: a table of sources and destinations becomes jobs of some files each."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobtool.errors import LayoutError
from jobtool.layouts.manifesttable import ManifestTable, is_list
from jobtool.names import quote
from tests.commands import assert_one_line_error, run, run_ok
from tests.trees import contents, write

Rows = list[tuple[str | None, str | None]]


def write_table(
    path: Path, rows: Rows, columns: tuple[str, str] = ("src_path", "dst_path")
) -> None:
    if path.suffix == ".parquet":
        values = zip(*rows, strict=True)
        pq.write_table(pa.table(dict(zip(columns, map(list, values), strict=True))), path)
        return
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


@pytest.fixture(params=["csv", "parquet"])
def table(request, place) -> Path:
    return place.root / f"schedule.{request.param}"


def generate(place, table: Path, **values: object):
    texts = {key: str(value) for key, value in values.items()}
    return place.generate("manifest", source=str(table), values=texts)


def rows_of(place, count: int) -> Rows:
    return [
        (str(write(place.source / f"{n:02d}.bin", b"x" * n)), f"s3://bucket/{n:02d}.bin")
        for n in range(count)
    ]


def pairs(place) -> dict[str, Rows]:
    return {
        name: [(pair.source, pair.destination) for pair in job.files]
        for name, job in place.jobs().items()
    }


def test_rows_become_jobs_of_at_most_so_many_files(place, table: Path) -> None:
    rows = rows_of(place, 5)
    write_table(table, rows)
    assert generate(place, table, max_files=2).counts == (3, 0)
    assert pairs(place) == {
        "schedule__00001": rows[:2],
        "schedule__00002": rows[2:4],
        "schedule__00003": rows[4:],
    }


def test_rows_become_jobs_of_at_most_so_many_bytes(place, table: Path) -> None:
    rows = rows_of(place, 7)  # of 0 to 6 bytes
    write_table(table, rows)
    generate(place, table, max_bytes=6)
    assert list(pairs(place).values()) == [rows[:4], rows[4:5], rows[5:6], rows[6:]]


def test_a_file_larger_than_the_bound_is_a_job_of_its_own(place, table: Path) -> None:
    rows = rows_of(place, 4)
    write_table(table, rows)
    generate(place, table, max_bytes=1)
    assert list(pairs(place).values()) == [rows[:2], rows[2:3], rows[3:]]


def test_generating_again_makes_jobs_of_appended_rows_only(place, table: Path) -> None:
    rows = rows_of(place, 5)
    write_table(table, rows[:3])
    generate(place, table, max_files=2)
    before = place.files()
    assert generate(place, table, max_files=2).generated.created == 0
    assert place.files() == before
    write_table(table, rows)
    assert generate(place, table, max_files=2).generated.created == 1
    after = place.files()
    assert {path: after[path] for path in before} == before
    assert pairs(place)["schedule__00003"] == rows[3:]


def test_relative_paths_are_below_the_table_and_the_destination(place, table: Path) -> None:
    write(table.parent / "in" / "a -> b.bin", b"a")
    write_table(table, [("in/a -> b.bin", "deep/c d.bin")])
    generate(place, table)
    assert list(pairs(place).values()) == [
        [(f"{table.parent}/in/a -> b.bin", f"{place.destination}/deep/c d.bin")]
    ]
    run_ok("transfer-worker", "-i", place.joblist)
    assert contents(Path(place.destination)) == {"deep/c d.bin": b"a"}


def test_names_that_are_no_utf_8_are_written_between_quotes(place) -> None:
    name = os.fsdecode(b"caf\xe9.bin")
    write(place.source / name, b"coffee")
    table = place.root / "schedule.csv"
    write_table(table, [(f'"{place.source}/caf\\xe9.bin"', "coffee.bin")])
    generate(place, table)
    run_ok("transfer-worker", "-i", place.joblist)
    assert contents(Path(place.destination)) == {"coffee.bin": b"coffee"}


def test_a_table_in_a_folder_that_is_no_utf_8_is_read(place, table: Path) -> None:
    folder = place.root / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    write_table(table, rows_of(place, 2))
    table.rename(folder / table.name)
    assert generate(place, folder / table.name).counts == (1, 0)


@pytest.mark.parametrize(
    ("row", "column", "expected"),
    [
        (("", "/out/x"), "src_path", "an empty one"),
        (("/in/x", ""), "dst_path", "an empty one"),
        (("/in/../x", "/out/x"), "src_path", "'..'"),
        (("/in/x", "/out/../x"), "dst_path", "'..'"),
        (("../x", "x"), "src_path", "'..'"),
        (("x", "../x"), "dst_path", "'..'"),
        (("x", "a//b"), "dst_path", "a//b"),
        (("x", "/out/a/"), "dst_path", "a slash at its end"),
        (("x", "s3://bucket/../x"), "dst_path", "'..'"),
        (("x", "s3://bucket//x"), "dst_path", "Did you mean s3://bucket/x?"),
        (("s3://bucket/./x", "x"), "src_path", "Did you mean s3://bucket/x?"),
        (("x", "s3:/bucket/x"), "dst_path", "Did you mean s3://bucket/x?"),
        (("file:/in/x", "x"), "src_path", "Did you mean file:///in/x?"),
        (("x", "gopher://x/y"), "dst_path", "gopher"),
        (('"x', "y"), "src_path", "closing double quote"),
        (("/in/other", "s3://bucket/00.bin"), "", "an earlier row"),
    ],
)
def test_a_row_that_makes_no_sense_is_named_and_nothing_written(
    place, table: Path, row: tuple[str, str], column: str, expected: str
) -> None:
    write_table(table, [*rows_of(place, 2), row])
    message = place.refused("manifest", source=str(table))
    assert f"{table}, row 3{', ' * bool(column)}{column}: " in message
    assert expected in message


def test_a_missing_value_in_parquet_is_an_empty_cell(place) -> None:
    table = place.root / "schedule.parquet"
    write_table(table, [("/in/x", "/out/x"), (None, "/out/y")])
    assert "row 2, src_path: " in place.refused("manifest", source=str(table))


@pytest.mark.parametrize("missing", ["src_path", "dst_path"])
def test_a_missing_column_is_named_with_those_found(place, table: Path, missing: str) -> None:
    columns = ("other" if missing == "src_path" else "src_path", "dst_path")
    if missing == "dst_path":
        columns = ("src_path", "other")
    write_table(table, [("/in/x", "/out/x")], columns)
    message = place.refused("manifest", source=str(table))
    assert str(table) in message
    assert "src_path and dst_path" in message
    assert "other" in message


def test_other_columns_are_left_alone(place) -> None:
    table = place.root / "schedule.csv"
    table.write_text("size,dst_path,src_path,note\n1,/out/x,/in/x,NULL\n")
    generate(place, table)
    assert list(pairs(place).values()) == [[("/in/x", "/out/x")]]


@pytest.mark.parametrize(
    "content", [b"", b"PAR1 not really", b"\xff\xfe\x00", b"src_path,dst_path\nx\n"]
)
def test_a_file_that_is_no_table_is_named(place, table: Path, content: bytes) -> None:
    table.write_bytes(content)
    message = place.refused("manifest", source=str(table))
    assert str(table) in message


def test_a_table_without_rows_lists_no_files(place) -> None:
    table = place.root / "schedule.csv"
    table.write_text("src_path,dst_path\n")
    assert "lists no files" in place.refused("manifest", source=str(table))


def test_a_relative_destination_asks_for_what_it_is_below(place, table: Path) -> None:
    write_table(table, [("/in/x", "x")])
    message = place.refused("manifest", source=str(table), destination=None)
    assert "row 1, dst_path: " in message
    assert "--destination" in message


@pytest.mark.parametrize("bound", ["0", "-1", "many", "1.5", "²"])
@pytest.mark.parametrize("name", ["max_files", "max_bytes"])
def test_a_bound_that_is_no_number_is_named(place, table: Path, name: str, bound: str) -> None:
    write_table(table, rows_of(place, 1))
    message = place.refused("manifest", source=str(table), values={name: bound})
    assert f"--set {name}={bound}" in message


def test_a_folder_is_no_manifest(place) -> None:
    done = run("generate-joblist", "-i", place.source, "-o", place.joblist, "-l", "manifest")
    assert_one_line_error(done, 2, str(place.source), "CSV or Parquet")


NAME = os.fsdecode("Zürich ".encode() + b"\xe9.bin")
BYTES = os.fsencode(NAME)
COLUMNS = {
    "string": pa.array(["Zürich.bin"], pa.string()),
    "large_string": pa.array(["Zürich.bin"], pa.large_string()),
    "string_view": pa.array(["Zürich.bin"], pa.string_view()),
    "dictionary": pa.array(["Zürich.bin"]).dictionary_encode(),
    "dictionary of large strings": pa.array(["Zürich.bin"], pa.large_string()).dictionary_encode(),
    "binary": pa.array([BYTES], pa.binary()),
    "large_binary": pa.array([BYTES], pa.large_binary()),
    "binary_view": pa.array([BYTES], pa.binary_view()),
    "fixed_size_binary": pa.array([BYTES], pa.binary(len(BYTES))),
    "dictionary of binary": pa.array([BYTES], pa.binary()).dictionary_encode(),
    "string that is no UTF-8": pa.Array.from_buffers(
        pa.string(), 1, pa.array([BYTES], pa.binary()).buffers()
    ),
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_a_column_of_text_or_bytes_of_any_type_is_read(place, kind: str) -> None:
    table = place.root / "schedule.parquet"
    pq.write_table(pa.table(dict.fromkeys(("src_path", "dst_path"), COLUMNS[kind])), table)
    generate(place, table)
    name = NAME if "binary" in kind or "no UTF-8" in kind else "Zürich.bin"
    assert list(pairs(place).values()) == [
        [(f"{place.root}/{name}", f"{place.destination}/{name}")]
    ]


@pytest.mark.parametrize(
    ("column", "found"),
    [
        (pa.array([1]), "int64"),
        (pa.array([1.5]), "double"),
        (pa.array([["/in/x"]]), "list<"),
        (pa.array([1]).dictionary_encode(), "int64"),
    ],
    ids=["int", "float", "list", "dictionary"],
)
@pytest.mark.parametrize("name", ["src_path", "dst_path"])
def test_a_column_of_another_type_is_named(place, column: pa.Array, found: str, name: str) -> None:
    table = place.root / "schedule.parquet"
    columns = dict.fromkeys(("src_path", "dst_path"), pa.array(["/in/x"]))
    pq.write_table(pa.table({**columns, name: column}), table)
    message = place.refused("manifest", source=str(table))
    assert f"{table}, column {name}: expected text; found {found}" in message


@pytest.mark.parametrize(
    ("name", "separator", "start"),
    [
        ("schedule.CSV", ",", b""),
        ("schedule.csv", ",", b"\xef\xbb\xbf"),
        ("schedule.tsv", "\t", b""),
        ("schedule.Tsv", "\t", b"\xef\xbb\xbf"),
        ("schedule.PARQUET", "", b""),
        ("schedule.pq", "", b""),
    ],
)
def test_the_ending_says_how_a_table_is_read(
    place, name: str, separator: str, start: bytes
) -> None:
    table = place.root / name
    rows = [("src_path", "dst_path"), ("a b.bin", "x"), (NAME, "y")]
    if separator:
        lines = (os.fsencode(separator.join(row) + "\n") for row in rows)
        table.write_bytes(start + b"".join(lines))
    else:
        columns = zip(*([os.fsencode(text) for text in row] for row in rows[1:]), strict=True)
        pq.write_table(pa.table(dict(zip(rows[0], columns, strict=True))), table)
    generate(place, table)
    assert pairs(place) == {
        "schedule__00001": [
            (f"{place.root}/{source}", f"{place.destination}/{target}")
            for source, target in rows[1:]
        ]
    }


@pytest.mark.parametrize("name", ["schedule.txt", "schedule.csv.gz", "schedule.xlsx", "schedule"])
def test_another_ending_is_refused_by_name(place, name: str) -> None:
    table = place.root / name
    table.write_text("src_path,dst_path\n/in/x,/out/x\n")
    arguments = ("-i", table, "-o", place.joblist, "-d", place.destination)
    done = run("generate-joblist", *arguments)
    assert_one_line_error(done, 2, str(table), "ends in .csv, .tsv, .parquet, .pq; found")
    assert not place.joblist.exists()


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("put", "expected"),
    [
        (lambda path: None, "No such file or directory"),
        (os.mkdir, "Is a directory"),
        (os.mkfifo, "expected a regular file; found a pipe, socket or device"),
    ],
    ids=["missing", "folder", "pipe"],
)
def test_what_is_no_file_is_named_on_one_printable_line(
    tmp_path: Path, put: Callable[[Path], None], expected: str, ending: str
) -> None:
    path = tmp_path / f"red\x1b[31m\n\udce9.{ending}"
    put(path)
    assert not is_list(str(path))
    with pytest.raises(LayoutError) as caught:
        list(ManifestTable(str(path)).rows())
    assert str(caught.value).startswith(f"{quote(str(path))}: expected a ")
    assert str(caught.value).endswith(expected)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("src_path,dst_path\n/in/x,/out/x\n".encode("utf-16"), "UTF-16. Save it as UTF-8."),
        (b"src_path,dst_path,dst_path\n/in/x,/out/x,/out/y\n", "each once"),
        (b"src_path;dst_path\n/in/x;/out/x\n", "found src_path;dst_path"),
        (b"src_path,dst_path\n/in/x,/out/x,more\n", "expected a CSV table"),
        (b"", "expected a CSV table"),
    ],
    ids=["utf-16", "twice", "semicolons", "ragged", "empty"],
)
def test_a_csv_that_is_none_is_named_with_its_fault(place, data: bytes, expected: str) -> None:
    table = place.root / "schedule.csv"
    table.write_bytes(data)
    message = place.refused("manifest", source=str(table))
    assert str(table) in message
    assert expected in message
