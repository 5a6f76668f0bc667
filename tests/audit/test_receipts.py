"""`jobtool receipts`: one table of the whole joblist, and the folder of tables that others read."""

from __future__ import annotations

import hashlib
import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.csv
import pyarrow.dataset
import pyarrow.parquet
import pytest

from jobtool.names import unquote
from tests.audit.conftest import FILES, Place, make_joblist, send
from tests.commands import assert_one_line_error, finish, run, run_ok, start
from tests.gate import gate_before
from tests.prepare import prepare
from tests.trees import contents, make_items, write

PROMISED = [
    *("src_path", "dst_path", "size", "mtime", "hashsum_src", "hashsum_dst"),
    *("verified_by", "verified_at", "worker", "attempt"),
]


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_the_merged_table_tells_of_every_file(
    tmp_path: Path, joblist: Path, place: Place, ending: str
) -> None:
    output = write(tmp_path / f"all.{ending}", b"an older one, which is replaced")
    done = run_ok("jobtool", "receipts", joblist, "-o", output)
    assert done.lines == [f"✅ Wrote {3 * FILES} receipt(s) to {output}."]
    reader = pyarrow.parquet.read_table if ending == "parquet" else pyarrow.csv.read_csv
    table = reader(output)
    assert set(PROMISED) <= set(table.column_names)
    source = contents(tmp_path / "in")
    rows = {row["src_path"]: row for row in table.to_pylist()}
    assert set(rows) == {str(tmp_path / "in" / name) for name in source}
    for name, data in source.items():
        row = rows[str(tmp_path / "in" / name)]
        found = (tmp_path / "in" / name).stat()
        md5 = hashlib.md5(data).hexdigest()
        assert row["dst_path"] == f"{place.url}/{name}"
        assert (row["size"], row["mtime_ns"]) == (len(data), found.st_mtime_ns)
        assert row["mtime"].timestamp() == pytest.approx(found.st_mtime, abs=1e-5)
        assert (row["hashsum_src"], row["hashsum_dst"]) == (md5, md5)
        assert row["verified_by"] == ("read-back" if place.is_local else "etag-md5")
        assert 0 <= (datetime.now(UTC) - row["verified_at"]).total_seconds() < 600
        assert row["worker"].partition(":")[2].isdigit()
        assert row["attempt"] == 1


def test_the_folder_of_tables_is_one_data_set(tmp_path: Path, joblist: Path) -> None:
    found = pyarrow.dataset.dataset(joblist / "receipts", format="parquet").to_table()
    run_ok("jobtool", "receipts", joblist, "-o", tmp_path / "all.parquet")
    merged = pyarrow.parquet.read_table(tmp_path / "all.parquet")
    assert found.schema == merged.schema
    assert found.sort_by("dst_path") == merged.sort_by("dst_path")
    assert found.num_rows == 3 * FILES


def test_jobs_under_way_are_in_the_merged_table_and_not_in_the_folder(
    tmp_path: Path, s3: Place, rclone_s3
) -> None:
    joblist = make_joblist(tmp_path, s3, count=1)
    send(joblist, s3)
    make_items(tmp_path / "in", 2, files=8)
    prepare("generate-joblist", "-i", tmp_path / "in", "-o", joblist)
    with gate_before(rclone_s3.endpoint_url, allowed=4) as gate:
        env = {**s3.env, "AWS_ENDPOINT_URL": gate.endpoint_url}
        process = start("transfer-worker", "-i", joblist, "--threads", 1, env=env)
        gate.wait_until_held()
        deadline = time.monotonic() + 60
        journal = joblist / "journals" / "item001.jsonl"
        while not journal.exists() or journal.read_bytes().count(b"\n") < 4:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        found = pyarrow.dataset.dataset(joblist / "receipts", format="parquet").to_table()
        run_ok("jobtool", "receipts", joblist, "-o", tmp_path / "all.parquet")
        gate.open()
        assert finish(process).exit_code == 0
    merged = pyarrow.parquet.read_table(tmp_path / "all.parquet")
    assert (found.num_rows, merged.num_rows) == (FILES, FILES + 4)
    assert list((joblist / "journals").iterdir()) == []


def test_a_file_that_was_sent_twice_is_told_of_once(tmp_path: Path, local: Place) -> None:
    joblist = make_joblist(tmp_path, local, count=1)
    send(joblist, local)
    write(tmp_path / "in" / "item000" / "0.bin", b"another content")
    (tmp_path / "in" / "item000" / "link").symlink_to("nowhere")  # the job ends in error, later
    with (joblist / "joblist.toml").open("a") as file:
        file.write('\n[transfer]\nlinks = "skip"\n')
    run_ok("jobtool", "retry", joblist, "--job", "item000")
    send(joblist, local)
    run_ok("jobtool", "receipts", joblist, "-o", tmp_path / "all.parquet")
    rows = pyarrow.parquet.read_table(tmp_path / "all.parquet").to_pylist()
    assert {Path(row["dst_path"]).name: row["attempt"] for row in rows} == {
        "0.bin": 2,
        "1.bin": 1,
        "2.bin": 1,
    }
    assert len(rows) == FILES


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_any_name_survives_the_table(tmp_path: Path, folder: Path, ending: str) -> None:
    name = 'new\nline "quoted", \udcff -> #\u2713'
    write(folder / "in" / "item" / name)
    paths = ("-i", folder / "in", "-o", folder / "list", "-d", folder / "out", "-l", "tree")
    prepare("generate-joblist", *paths)
    prepare("transfer-worker", "-i", folder / "list")
    output = tmp_path / f"all.{ending}"
    run_ok("jobtool", "receipts", folder / "list", "-o", output)
    if ending == "parquet":
        table = pyarrow.parquet.read_table(output)
    else:
        parsing = pyarrow.csv.ParseOptions(newlines_in_values=True)
        table = pyarrow.csv.read_csv(output, parse_options=parsing)
    (row,) = table.to_pylist()
    assert unquote(row["src_path"]) == str(folder / "in" / "item" / name)
    assert unquote(row["dst_path"]) == str(folder / "out" / "item" / name)


def test_a_joblist_without_receipts_gives_an_empty_table(tmp_path: Path, local: Place) -> None:
    joblist = make_joblist(tmp_path, local, count=1)
    done = run_ok("jobtool", "receipts", joblist, "-o", tmp_path / "all.parquet", "--json")
    output = str(tmp_path / "all.parquet")
    expected = {"event": "receipts", "files": 0, "output": output, "format": "table"}
    assert [json.loads(line) for line in done.lines] == [expected]
    table = pyarrow.parquet.read_table(tmp_path / "all.parquet")
    assert table.num_rows == 0
    assert set(PROMISED) <= set(table.column_names)


def test_an_output_that_can_not_be_is_wrong_usage(tmp_path: Path, local: Place) -> None:
    joblist = make_joblist(tmp_path, local, count=1)
    for output in (tmp_path / "all.txt", tmp_path / "no" / "such" / "folder.csv"):
        done = run("jobtool", "receipts", joblist, "-o", output)
        assert_one_line_error(done, 2, str(output))
        assert not output.exists()
    assert run("jobtool", "receipts", joblist).exit_code == 2
