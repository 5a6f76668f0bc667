"""``jobtool export`` and the other commands on its joblists, as people see them."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import signal
import struct
import subprocess
import termios
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.commands import BIN, Done, assert_one_line_error, environment, run, run_ok, start

pytest.importorskip("duckdb")

ROWS = "SELECT range AS id, 'row ' || range AS name FROM range(30000)"

#: It takes minutes, and no row comes before the end.
SLOW = (
    "SELECT a.range AS id, sum(sin(a.range * b.range)) AS x "
    "FROM range(300000) a, range(100000) b GROUP BY ALL"
)


def export(folder: Path, *options: object, query: str = ROWS, **more: Any) -> Done:
    return run("jobtool", "export", *arguments(folder, query), *options, **more)


def arguments(folder: Path, query: str = ROWS) -> list[object]:
    places = ["--destination", folder / "out", "--output-path", folder / "list"]
    return ["--connection", "duckdb://", "--query", query, *places]


@pytest.fixture
def split(tmp_path: Path) -> Path:
    """The joblist of three ranges with two chunks each."""
    done = export(tmp_path, "--split-by", "id", "--splits", 3, "--chunk-size", 5000)
    assert (done.exit_code, done.stderr) == (0, "")
    return tmp_path / "list"


# Bad input.


@pytest.mark.parametrize(
    ("query", "options", "expected"),
    [
        ("SELEC 1", (), ["syntax error", "SELEC"]),
        ("SELECT * FROM nowhere", (), ["nowhere", "does not exist"]),
        ("SELECT * FROM '/nowhere/*.parquet'", (), ["/nowhere/*.parquet"]),
        (" ; ", (), ["--query: expected the SQL of a query; found nothing"]),
        ("@none.sql", (), ["--query: can't read none.sql: No such file"]),
        (ROWS, ("--chunk-size", 0), ["--chunk-size", "0"]),
        (ROWS, ("--chunk-size", 5, "--chunk-bytes", "2MB"), ["found both"]),
        (ROWS, ("--chunk-bytes", "5"), ["at least 1MiB"]),
        (ROWS, ("--chunk-bytes", "5 parsecs"), ["a size such as 256MiB", "5 parsecs"]),
        (ROWS, ("--splits", 3), ["--splits: expected --split-by"]),
        (ROWS, ("--output-format", "csv", "--compression", "zstd"), ["none for csv; found 'zstd'"]),
        (ROWS, ("--split-by", "nam"), ["can't split by nam", "'name'"]),
        (ROWS, ("--split-by", "n\n\x1b[31m"), [r'split by "n\n\u001b[31m"', "no such column"]),
        ("SELECT 1 AS a, 2 AS a", (), ["more than one column named 'a'", "a AS a_2"]),
        (ROWS, ("--order-by", "nam"), ["can't order by nam", "Did you mean 'name'?"]),
        (ROWS, ("--existing-data", "mix"), ["--existing-data"]),
    ],
)
def test_bad_input_is_one_clear_line(
    tmp_path: Path, query: str, options: tuple[object, ...], expected: list[str]
) -> None:
    done = export(tmp_path, *options, query=query, cwd=tmp_path)
    assert_one_line_error(done, 2, *expected)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("connection", "expected"),
    [
        ("dukdb://", ["dukdb"]),
        ("duckdb", ["without ://"]),
        ("postgres:/me:hunter2hunter@host/db", ["without ://"]),
        ("postgresql://me:hunter2hunter@host/db", ["has a password", "JOBTOOL_QUERY_PASSWORD"]),
        ("postgresql://host/db?password=hunter2hunter", ["'password' is a secret"]),
        ("postgresql://host:99999/db", ["a port from 1 to 65535", "99999"]),
    ],
)
def test_bad_connections_are_one_clear_line(
    tmp_path: Path, connection: str, expected: list[str]
) -> None:
    done = export(tmp_path, "--connection", connection)
    assert_one_line_error(done, 2, *expected)
    assert "hunter2" not in done.stdout + done.stderr
    assert os.listdir(tmp_path) == []


def test_columns_that_csv_cannot_hold_are_named_with_what_to_write(tmp_path: Path) -> None:
    done = export(tmp_path, "--output-format", "csv", query="SELECT [1, 2] AS numbers, 1 AS one")
    assert done.exit_code == 2
    assert "numbers" in done.stderr
    assert "to_json(numbers)" in done.stderr
    assert "Traceback" not in done.stderr
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("text", [b"\xef\xbb\xbfSELECT 7 AS seven;\n", b"SELECT 7 AS seven"])
def test_a_query_comes_from_a_file_or_from_standard_input(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "query.sql"
    path.write_bytes(text)
    from_file = export(tmp_path, "--dry-run", query=f"@{path}")
    assert (from_file.exit_code, from_file.stderr) == (0, "")
    assert "seven int32" in from_file.stdout
    command = [BIN / "jobtool", "export", *map(str, arguments(tmp_path, "-")), "--dry-run"]
    with path.open("rb") as file:
        from_input = subprocess.run(
            command, stdin=file, capture_output=True, text=True, env=environment()
        )
    assert (from_input.returncode, from_input.stdout) == (0, from_file.stdout)


def test_a_query_file_must_be_utf8(tmp_path: Path) -> None:
    path = tmp_path / "query.sql"
    path.write_bytes("SELECT 'ä' AS letter".encode("latin-1"))
    done = export(tmp_path, query=f"@{path}")
    assert_one_line_error(done, 2, "expected text in UTF-8", "query.sql", "Save it as UTF-8")


# Places.


@pytest.mark.parametrize(
    ("destination", "joblist", "staging", "other"),
    [
        ("out", "out/list", None, "folder for the joblist"),
        ("out", "out", None, "folder for the joblist"),
        ("list/out", "list", None, "destination"),
        ("out", "list", "out/staging", "staging folder"),
        ("out", "list", "out", "staging folder"),
    ],
)
def test_places_are_apart(
    tmp_path: Path, destination: str, joblist: str, staging: str | None, other: str
) -> None:
    staged = () if staging is None else ("--staging", tmp_path / staging)
    places = ("-d", tmp_path / destination, "-o", tmp_path / joblist, *staged)
    done = run("jobtool", "export", "--connection", "duckdb://", "--query", ROWS, *places)
    assert_one_line_error(done, 2, f"another {other}")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["part-000001.parquet", "old.csv", "_SUCCESS", "_manifest.json"])
def test_a_destination_with_other_data_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_bytes(b"of another export")
    for dry_run in (("--dry-run",), ()):
        assert_one_line_error(export(tmp_path, *dry_run), 2, name, "--existing-data ignore")
    assert os.listdir(tmp_path) == ["out"]
    assert export(tmp_path, "--existing-data", "ignore").exit_code == 0


def test_other_files_and_the_own_chunks_are_no_other_data(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    for name in ("README.md", ".hidden.parquet", "_metadata.csv"):
        (tmp_path / "out" / name).write_bytes(b"for people")
    assert export(tmp_path).exit_code == 0
    run_ok("transfer-worker", tmp_path / "list")
    again = export(tmp_path)
    assert (again.exit_code, again.stderr) == (0, "")
    assert "It stays as it is" in again.stdout


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--splits", 4), "another splits: expected 3; found 4"),
        (("--chunk-size", 4), "another chunk_rows: expected 5000; found 4"),
        (("--methods", "scp"), "another 'methods' in [transfer]"),
        (("--set", "s3.region=there"), "another 'region' in [s3]"),
        (("--set", "s3.endpoint_url=http://127.0.0.1:9"), "another 'endpoint_url' in [s3]"),
    ],
)
def test_another_export_is_no_second_time(
    tmp_path: Path, options: tuple[str, object], expected: str
) -> None:
    same = {"--split-by": "id", "--splits": 3, "--chunk-size": 5000, "--set": "s3.region=here"}
    first = [word for option in same.items() for word in option]
    assert export(tmp_path, *first).exit_code == 0
    before = (tmp_path / "list" / "joblist.toml").read_bytes()
    assert "It stays as it is" in export(tmp_path, *first).stdout
    other = [word for option in {**same, options[0]: options[1]}.items() for word in option]
    assert_one_line_error(export(tmp_path, *other), 2, expected)
    assert (tmp_path / "list" / "joblist.toml").read_bytes() == before


def test_a_destination_out_of_reach_is_told_and_prevents_nothing(tmp_path: Path) -> None:
    places = ("-d", "s3://bucket/rows", "--set", "s3.endpoint_url=http://127.0.0.1:9")
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    done = export(tmp_path, *places, "--dry-run", env=keys)
    assert (done.exit_code, done.stderr) == (0, "")
    assert "❗ Can't look for other data in s3://bucket/rows" in done.stdout


# The end of a question.


@pytest.mark.parametrize("option", ["--count", "--split-by=id"])
def test_an_interrupt_ends_a_question_at_once_and_leaves_nothing(
    tmp_path: Path, option: str
) -> None:
    process = start("jobtool", "export", *arguments(tmp_path, SLOW), option, "--json")
    assert process.stdout is not None
    told = ""
    while '"splitting"' not in told and '"counting"' not in told:
        told = process.stdout.readline()
        assert told, "it ended by itself"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "SIGINT: ending the query" in errors
    assert "❌ stopped while the database" in errors
    assert "Traceback" not in errors
    assert os.listdir(tmp_path) == []


# What workers tell.


def test_a_worker_tells_which_rows_it_exports(split: Path) -> None:
    would = run_ok("transfer-worker", split, "--dry-run").stdout
    where = split.parent / "out"
    assert "Would export rows-0002: rows 2/3 of the query (id from 10000 below 20000)" in would
    assert f"Would then write the manifest and _SUCCESS: {where}" in would
    text = run_ok("transfer-worker", split).stdout
    told = [
        f"Exporting rows 1/3 of the query (id below 10000) to '{where}'...",
        f"Exporting rows 3/3 of the query (id from 20000, or NULL) to '{where}'...",
        f"Writing the manifest and _SUCCESS to '{where}'...",
    ]
    for line in told:
        assert line in text
    assert re.search(r"✅ rows-0001: 2 chunks, 10,000 rows, [\d.]+ KiB in [\d.]+ s, all ver", text)
    assert re.search(r" success .*rows=10000", (split / "rows-0001.txt").read_text())


def test_events_have_the_same_numbers(tmp_path: Path) -> None:
    assert export(tmp_path, "--chunk-size", 10_000).exit_code == 0
    lines = run_ok("transfer-worker", tmp_path / "list", "--json", "-v", 3).lines
    events = [json.loads(line) for line in lines]
    started = [one for one in events if one["event"] == "started"]
    assert [(one["what"], one["source"]) for one in started] == [
        ("rows", "all rows of the query"),
        ("manifest", "manifest"),
    ]
    done = [one for one in events if one["event"] == "success"]
    assert [(one["files"], one["rows"]) for one in done] == [(3, 30_000), (2, None)]
    phases = [one["phase"] for one in events if one["event"] == "phase" and one["job"] == "rows"]
    assert phases[1] == "running the query"
    assert "syncing" in phases


def test_a_summary_counts_the_rows_of_finished_jobs(split: Path) -> None:
    run("transfer-worker", split, "--max-jobs", 2)
    text = run_ok("summarise-jobs", split).stdout
    assert text.endswith("💡 Rows of finished jobs: 20,000 of 30,000\n")
    told = json.loads(run_ok("summarise-jobs", split, "--json").stdout)
    assert (told["rows_done"], told["rows_total"]) == (20_000, 30_000)
    rows = {job["job"]: (job["rows_done"], job["rows_total"]) for job in told["jobs"]}
    assert rows["rows-0001"] == (10_000, 10_000)
    assert rows["rows-0003"] == (None, 10_000)
    assert rows["manifest"] == (None, None)
    assert "0/10,000" in run_ok("summarise-jobs", split, "-v", 2).stdout


def test_a_refused_query_is_told_by_the_database_and_ends_workers(split: Path) -> None:
    toml = split / "joblist.toml"
    toml.write_text(toml.read_text().replace("FROM range(30000)", "FROM nowhere"))
    done = run("transfer-worker", split)
    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == 1
    assert "nowhere" in done.stderr
    assert "handed back: the database refuses its query\n" in done.stdout
    assert "nowhere" not in done.stdout
    assert "nowhere" in (split / "rows-0001.txt").read_text()
    assert "Once the cause is fixed: transfer-worker" in done.stdout
    assert "2 todo" not in done.stdout
    looked = run("jobtool", "doctor", split)
    assert looked.exit_code == 4
    assert "❌ fail  query" in looked.stdout


# Other commands.


@pytest.mark.parametrize("is_done", [False, True])
def test_every_command_takes_a_joblist_of_an_export(split: Path, is_done: bool) -> None:
    if is_done:
        run_ok("transfer-worker", split)
    told = {}
    for command in (
        ("doctor", split),
        ("methods", split),
        ("sbatch", split),
        ("receipts", split, "-o", split.parent / "receipts.csv"),
        ("clean", split),
        ("verify", split),
        ("retry", split),
        ("transfer", split, "--dry-run"),
        ("summarise", split, "-v", 2),
    ):
        done = run("jobtool", *command)
        code = 3 if command[0] == "verify" and not is_done else 0
        assert (done.exit_code, done.stderr) == (code, ""), done
        told[command[0]] = done.stdout
    for line in ("connect", "query", "column types"):
        assert f"✅ pass  {line}" in told["doctor"]
    assert f"staging {split}/staging" in told["doctor"]
    assert f"rows-0001  {split}/staging → {split.parent}/out" in told["methods"]
    assert ("Verified 8 file(s)" in told["verify"]) is is_done


def test_doctor_tries_a_staging_folder(tmp_path: Path) -> None:
    assert export(tmp_path, "--staging", tmp_path / "scratch").exit_code == 0
    told = run_ok("jobtool", "doctor", tmp_path / "list").stdout
    after = told.partition(f"staging {tmp_path}/scratch")[2].partition("destination")[0]
    assert re.findall("pass  ([a-z ]+?)  ", after) == ["space", "reach and write", "digest"]
    assert not (tmp_path / "scratch").exists()


# Terminals.


def shown_on_a_terminal(
    joblist: Path, columns: int, env: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with subprocess.Popen(
        [BIN / "transfer-worker", joblist],
        stdout=theirs,
        stdin=theirs,
        stderr=theirs,
        # Variables of the tests' own terminal would count more than the size.
        env=environment({"TERM": "xterm", "COLUMNS": str(columns), "LINES": "24", **(env or {})}),
    ) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # EIO at the end
            while data := os.read(ours, 65536):
                shown += data
    os.close(ours)
    return process.returncode, re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", shown)


@pytest.mark.parametrize(
    ("columns", "is_counted", "line"),
    [
        (80, True, rb"[\d.]+[kM]?/2M rows  \d+ chunks  [\d.]+ \w+"),
        (80, False, rb" [\d.]+[kM]? rows  \d+ chunks  [\d.]+ \w+"),
        (160, True, rb"[\d,]+/2,000,000 rows  \d+ chunks  [\d.]+ \w+  [\d.]+ \w+/s"),
    ],
)
def test_the_bar_counts_rows(tmp_path: Path, columns: int, is_counted: bool, line: bytes) -> None:
    query = "SELECT range AS id, sin(range) AS x FROM range(2000000)"
    options = ["--chunk-size", 200_000, *(["--count"] if is_counted else [])]
    assert export(tmp_path, *options, query=query).exit_code == 0
    code, shown = shown_on_a_terminal(tmp_path / "list", columns)
    assert code == 0
    assert re.search(line, shown), shown[-2000:]
    assert b"10 chunks, 2,000,000 rows" in shown


def test_the_locale_c_gets_plain_symbols_and_no_colours(tmp_path: Path) -> None:
    assert export(tmp_path, query=ROWS.replace("'row '", "'ä'")).exit_code == 0
    env = {"LC_ALL": "C", "NO_COLOR": "1"}
    code, shown = shown_on_a_terminal(tmp_path / "list", 80, env)
    assert code == 0
    assert shown.isascii()
    assert b"[ok] rows: 1 chunks, 30,000 rows" in shown
