"""``impala-transfer`` with an embedded database: options, state, workers, stops and kills."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool.cli.impala_transfer.connection import connection_url
from jobtool.queries.url import ConnectionUrl
from tests.commands import (
    Done,
    assert_one_line_error,
    finish,
    run,
    run_ok,
    start,
    start_module,
    wait_for,
)
from tests.trees import events, statuses

ROWS = 100_000
QUERY = f"SELECT range AS id, range * 7 % 1000 AS other FROM range({ROWS})"


class Place:
    """A folder for one export, with its state, its target and the variables of its commands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.target = folder / "out"
        self.state = folder / "state" / "jobtool" / "impala_transfer"
        self.env = {"XDG_STATE_HOME": str(folder / "state"), "SOURCE_CONNECTION": "duckdb://"}

    def command(self, *options: object, query: str = QUERY) -> tuple[object, ...]:
        return "impala-transfer", "--query", query, "--target-path", self.target, *options

    def run(self, *options: object, query: str = QUERY) -> Done:
        return run(*self.command(*options, query=query), env=self.env)

    def run_ok(self, *options: object, query: str = QUERY) -> Done:
        return run_ok(*self.command(*options, query=query), env=self.env)

    @property
    def joblist(self) -> Path:
        (found,) = self.state.iterdir()
        return found

    def parts(self) -> list[Path]:
        return sorted(self.target.rglob("part-*"))

    def rows(self) -> pa.Table:
        return pa.concat_tables(map(pq.read_table, self.parts()))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def ids(place: Place) -> list[int]:
    found: list[int] = place.rows().column("id").to_pylist()
    return found


def test_rows_arrive_and_the_same_command_says_so(place: Place) -> None:
    lines = place.run_ok("--chunk-size", 30_000, "--target-table", "t").lines
    assert lines[-1] == f"✅ All rows are at {place.target}/t"
    assert [path.relative_to(place.target).as_posix() for path in place.parts()] == [
        f"t/part-{number:06}.parquet" for number in (1, 2, 3, 4)
    ]
    assert ids(place) == [*range(ROWS)]
    assert json.loads((place.target / "t" / "_manifest.json").read_text())["rows"] == ROWS
    assert place.joblist.name.startswith("t-")
    before = {path: path.stat().st_mtime_ns for path in place.target.rglob("*")}
    again = place.run_ok("--chunk-size", 30_000, "--target-table", "t")
    assert f"All rows are at {place.target}/t already" in again.lines[-1]
    assert "--fresh" in again.lines[-1]
    assert {path: path.stat().st_mtime_ns for path in place.target.rglob("*")} == before


def test_ranges_are_exported_by_several_processes(place: Place) -> None:
    options = ("--split-by", "id", "--splits", 5, "--max-workers", 3, "--chunk-size", 7_000)
    lines = place.run_ok(*options, "--json").lines
    told = [json.loads(line) for line in lines]
    workers = {event.get("worker") for event in told if event["event"] == "finished"}
    assert workers == {None, 2, 3}
    assert ids(place) == [*range(ROWS)]
    assert {path.name.split("-")[1] for path in place.parts()} == {f"{n:04}" for n in range(1, 6)}


def test_options_win_over_the_environment(place: Place) -> None:
    place.env |= {
        "QUERY": "SELECT nothing",
        "CHUNK_SIZE": "10",
        "OUTPUT_FORMAT": "parquet",
        "MAX_WORKERS": "1",
        "SOURCE_HOST": "nowhere.invalid",
        "TARGET_HDFS_PATH": "/nowhere",
        "TARGET_CLUSTER": "nowhere.invalid",
        "USE_DISTCP": "true",
        "TARGET_TABLE": "of the environment",
    }
    options = ("--connection", "duckdb://", "--output-format", "CSV", "--chunk-size", ROWS)
    place.run_ok(*options)
    (part,) = place.parts()
    assert part == place.target / "of the environment" / "part-000001.csv"
    assert part.read_text().splitlines()[:2] == ['"id","other"', "0,0"]


WITHOUT_TARGET = ("--query", "SELECT 1")
HDFS = ("--target-hdfs-path", "hdfs://127.0.0.1:1/target")


@pytest.mark.parametrize(
    ("options", "env", "expected"),
    [
        ((), {}, ("--query", "QUERY")),
        (WITHOUT_TARGET, {}, ("TARGET_HDFS_PATH", "SCP_TARGET", "--target-path")),
        (WITHOUT_TARGET, {"TARGET_CLUSTER": "c"}, ("--target-hdfs-path", "TARGET_CLUSTER c")),
        (("--target-path", "x"), {"QUERY": "x", "SOURCE_CONNECTION": ""}, ("SOURCE_HOST",)),
        (
            (*WITHOUT_TARGET, "--target-path", "x", "--source-host", "h"),
            {},
            ("--source-host", "--connection", "found both"),
        ),
        (
            (*WITHOUT_TARGET, "--target-path", "x", "--scp-target", "h:/y"),
            {},
            ("--target-path x", "--scp-target h:/y"),
        ),
        (WITHOUT_TARGET, {"TARGET_PATH": "x", "SCP_TARGET": "h:/y"}, ("TARGET_PATH x", "h:/y")),
        (WITHOUT_TARGET, {"USE_DISTCP": "maybe"}, ("USE_DISTCP", "true or false", "'maybe'")),
        (WITHOUT_TARGET, {"CHUNK_SIZE": "2e6"}, ("CHUNK_SIZE", "'2e6'", "whole number")),
        (WITHOUT_TARGET, {"MAX_WORKERS": "0"}, ("MAX_WORKERS", "from 1 to 256", "found 0")),
        (WITHOUT_TARGET, {"OUTPUT_FORMAT": "orc"}, ("OUTPUT_FORMAT", "'orc'", "parquet")),
        ((*WITHOUT_TARGET, *HDFS, "--use-distcp"), {}, ("SOURCE_HDFS_PATH", "--no-distcp")),
        ((*WITHOUT_TARGET, *HDFS), {"USE_DISTCP": "1"}, ("--source-hdfs-path", "USE_DISTCP")),
        (
            (*WITHOUT_TARGET, *HDFS, "--source-hdfs-path", "hdfs://h:1/s", "--use-distcp"),
            {},
            ("hadoop on the PATH", "--no-distcp"),
        ),
        (
            (*WITHOUT_TARGET, "--target-path", "x", "--use-distcp"),
            {},
            ("--use-distcp", "a target in HDFS"),
        ),
        (
            (*WITHOUT_TARGET, "--target-hdfs-path", "/data"),
            {"HADOOP_CONF_DIR": "", "HADOOP_HOME": ""},
            ("--target-hdfs-path /data", "HADOOP_CONF_DIR", "fs.defaultFS"),
        ),
        ((*WITHOUT_TARGET, "--target-hdfs-path", "data"), {}, ("an absolute path",)),
        ((*WITHOUT_TARGET, "--target-hdfs-path", "s3://b/x"), {}, ("a path in HDFS",)),
        (
            (*WITHOUT_TARGET, *HDFS, "--target-cluster", "c"),
            {},
            ("names a cluster itself", "--target-cluster c"),
        ),
        (
            (*WITHOUT_TARGET, "--target-hdfs-path", "/x", "--target-cluster", "c/x"),
            {},
            ("--target-cluster c/x", "HOST:PORT"),
        ),
        ((*WITHOUT_TARGET, "--scp-target", "host:relative"), {}, ("HOST:/ABSOLUTE/PATH",)),
        ((*WITHOUT_TARGET, "--scp-target", "/only/a/path"), {}, ("HOST:/ABSOLUTE/PATH",)),
        (
            (*WITHOUT_TARGET, "--target-path", "x", "--target-table", "../t"),
            {},
            ("--target-table ../t", "a name"),
        ),
        (
            (*WITHOUT_TARGET, "--target-path", "x"),
            {"OMPI_COMM_WORLD_SIZE": "2"},
            ("--make-only", "mpirun transfer-worker"),
        ),
        (
            ("--target-path", "x", "--query", "SELEC 1"),
            {},
            ("syntax error",),
        ),
        (
            ("--target-path", "x", "--query", "SELECT 1 AS id", "--splits", 3),
            {},
            ("--splits: expected --split-by",),
        ),
    ],
    ids=str,
)
def test_what_is_missing_or_wrong_is_named(
    place: Place, options: tuple[object, ...], env: dict[str, str], expected: tuple[str, ...]
) -> None:
    done = run("impala-transfer", *options, env={**place.env, **env}, cwd=place.folder)
    assert_one_line_error(done, 2, *expected)
    assert not place.state.exists() or not [*place.state.iterdir()]
    assert not (place.folder / "x").exists()


def test_a_dry_run_changes_nothing(place: Place) -> None:
    done = place.run_ok("--dry-run", "--split-by", "id")
    assert str(place.target) in done.lines[0]
    assert done.lines[-1] == f"💡 Would create 9 job(s) for {ROWS:,} rows."
    assert not place.target.exists()
    assert not [*place.state.iterdir()]


def test_a_joblist_is_made_for_other_workers(place: Place) -> None:
    joblist = place.folder / "list"
    done = place.run_ok("--make-only", "--joblist", joblist)
    assert done.lines[-1] == f"✅ Run: transfer-worker -i {joblist}"
    assert not place.parts()
    run_ok("transfer-worker", "-i", joblist)
    assert ids(place) == [*range(ROWS)]
    assert "already" in place.run_ok("--joblist", joblist).lines[-1]
    other = place.run("--joblist", joblist, query="SELECT 1 AS id")
    assert_one_line_error(other, 2, "another query", "another folder for the joblist")
    more = place.run("--joblist", joblist, "--split-by", "id")
    assert_one_line_error(more, 2, "another split_by")


def test_two_exports_are_not_mixed_in_one_target(place: Place) -> None:
    place.run_ok()
    before = {path.name: path.stat().st_mtime_ns for path in place.target.iterdir()}
    for options in ((), ("--fresh",)):
        other = place.run(*options, query=f"SELECT range AS id FROM range({ROWS + 1})")
        assert_one_line_error(other, 2, str(place.target), "--existing-data ignore")
    assert {path.name: path.stat().st_mtime_ns for path in place.target.iterdir()} == before
    place.run_ok("--target-table", "next")


def test_other_settings_of_stores_are_not_passed_over(place: Place) -> None:
    place.run_ok("--make-only", "--set", "s3.region=here", "--set", "credentials.provider=default")
    assert_one_line_error(place.run("--set", "s3.region=there"), 2, "[s3]", "joblist.toml")
    place.run_ok("--make-only", "--set", "s3.region=here")
    place.run_ok()


# Exporting anew.


@pytest.fixture
def table(place: Place) -> Path:
    """A table of five ranges. ``write`` changes it."""
    path = place.folder / "table.parquet"
    write(path, ROWS)
    return path


def write(path: Path, count: int, start: int = 0) -> None:
    pq.write_table(pa.table({"id": pa.array(range(start, start + count))}), path)


def options_of(table: Path) -> dict[str, Any]:
    return {"query": f"SELECT * FROM '{table}' ORDER BY id"}


ALONE = ("--split-by", "id", "--splits", 5, "--max-workers", 1, "--chunk-size", 4_000)
SPLIT = (*ALONE, "--max-workers", 2)


@pytest.mark.parametrize("more", [("--chunk-size", 4_000), SPLIT], ids=["whole", "split"])
def test_rows_are_exported_anew(place: Place, table: Path, more: tuple[object, ...]) -> None:
    place.run_ok(*more, **options_of(table))
    write(table, 30_000, start=20_000)
    assert "already" in place.run_ok(*more, **options_of(table)).lines[-1]
    place.run_ok("--fresh", *more, **options_of(table))
    assert ids(place) == [*range(20_000, 50_000)]
    assert json.loads((place.target / "_manifest.json").read_text())["rows"] == 30_000
    assert "already" in place.run_ok(*more, **options_of(table)).lines[-1]


@pytest.mark.parametrize(
    ("point", "count"),
    [
        pytest.param("after the mark of an export anew", 1, marks=pytest.mark.wide),
        ("after a job is to be exported anew", 2),
        pytest.param("after a job is to be exported anew", 5, marks=pytest.mark.wide),
    ],
)
def test_a_killed_export_anew_is_completed_by_the_same_command(
    place: Place, table: Path, point: str, count: int
) -> None:
    place.run_ok(*ALONE, **options_of(table))
    write(table, ROWS, start=7)
    _, *arguments = map(str, place.command(*ALONE, "--fresh", **options_of(table)))
    victim = start_module("tests.cli.impala_victim", point, str(count), *arguments, env=place.env)
    assert finish(victim).exit_code == -signal.SIGKILL
    place.run_ok(*ALONE, **options_of(table))
    assert ids(place) == [*range(7, ROWS + 7)]


def test_no_worker_mixes_two_states_after_a_killed_export_anew(place: Place, table: Path) -> None:
    """A ``transfer-worker`` that is started by hand knows nothing of ``--fresh``."""
    place.run_ok(*ALONE, **options_of(table))
    write(table, ROWS, start=7)
    _, *arguments = map(str, place.command(*ALONE, "--fresh", **options_of(table)))
    for point, count, exit_code in (
        ("after the chunks of a job count no more", 2, 0),
        ("after a job is to be exported anew", 2, 1),
    ):
        victim = start_module(
            "tests.cli.impala_victim", point, str(count), *arguments, env=place.env
        )
        assert finish(victim).exit_code == -signal.SIGKILL
        done = run("transfer-worker", "-i", place.joblist)
        assert done.exit_code == exit_code, done
        if exit_code == 0:
            assert ids(place) == [*range(ROWS)]
        assert (place.target / "_SUCCESS").exists() == (exit_code == 0)
    (line,) = events(place.joblist / "manifest.txt", "error")
    assert f"jobtool retry {place.joblist} --job rows-0003 --job manifest" in line
    place.run_ok(*ALONE, **options_of(table))
    assert ids(place) == [*range(7, ROWS + 7)]


def test_nothing_is_exported_anew_while_it_is_worked_on(place: Place) -> None:
    process = start(*place.command("--chunk-size", 10), env=place.env)
    wait_for(lambda: len(place.parts()) > 3)
    assert_one_line_error(place.run("--chunk-size", 10, "--fresh"), 2, "a worker is on it")
    process.kill()
    finish(process)
    assert not (place.joblist / "export-anew").exists()


# Stops and kills.

SIX = ("--split-by", "id", "--splits", 6, "--max-workers", 3)
CHUNK = 200
MANY = (*SIX, "--chunk-size", CHUNK)


def helpers_of(joblist: Path) -> list[Path]:
    """The further processes that work on a joblist."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if b"impala_transfer.helper" in (line := (path / "cmdline").read_bytes()):
                found += [path] * (os.fsencode(joblist) in line)
    return found


@pytest.mark.parametrize(
    "number",
    [signal.SIGKILL, signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.wide)],
)
def test_a_stopped_command_ends_all_workers_and_goes_on(
    place: Place, number: signal.Signals
) -> None:
    process = start(*place.command(*MANY), env=place.env)
    wait_for(lambda: len(place.parts()) > 20 or process.poll() is not None)
    wait_for(lambda: len(helpers_of(place.joblist)) == 2 or process.poll() is not None)
    os.kill(process.pid, number)
    done = finish(process)
    wait_for(lambda: not helpers_of(place.joblist))
    if number == signal.SIGKILL:
        assert done.exit_code == -signal.SIGKILL
    else:
        assert done.exit_code == 3, done
        assert "The same command goes on" in done.lines[-1]
        assert done.stderr.count("finishing files in progress") == 1, done
        assert "ongoing" not in statuses(place.joblist).values()
    assert not (place.target / "_SUCCESS").exists()
    there = len(place.parts())
    assert there < ROWS // CHUNK
    place.run_ok(*MANY, "--max-workers", 1)
    assert ids(place) == [*range(ROWS)]


def test_workers_that_fail_alike_say_so_once(place: Place) -> None:
    place.run_ok(*SIX, "--make-only")
    place.target.write_text("in the way")
    done = place.run(*SIX, "--max-workers", 2)
    assert_one_line_error(done, 4, str(place.target))
    assert not helpers_of(place.joblist)
    assert set(statuses(place.joblist).values()) == {"todo"}
    place.target.unlink()
    place.run_ok(*SIX, "--max-workers", 1)
    assert ids(place) == [*range(ROWS)]


def test_a_database_that_does_not_answer_can_be_left(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        del place.env["SOURCE_CONNECTION"]
        options = ("--source-host", "127.0.0.1", "--source-port", port)
        process = start(*place.command(*options), env=place.env)
        accepted, _ = server.accept()
        process.send_signal(signal.SIGINT)
        done = finish(process)
        accepted.close()
    assert done.exit_code == 3, done
    assert "ending the query" in done.stderr
    assert "stopped while the database didn't answer" in done.stderr
    assert not [*place.state.iterdir()]


def test_what_has_failed_is_tried_again_by_the_same_command(place: Place) -> None:
    query = "SELECT * FROM read_csv('{}', columns = {{'id': 'BIGINT'}})"
    query = query.format(place.folder / "numbers.csv")
    (place.folder / "numbers.csv").write_text("id\n1\nword\n")
    done = place.run(query=query)
    assert done.exit_code == 1, done
    assert "The same command goes on" in done.lines[-1]
    (place.folder / "numbers.csv").write_text("id\n1\n2\n")
    place.run_ok(query=query)
    assert ids(place) == [1, 2]


# The URL of the database.


@given(
    host=st.from_regex(r"[a-z][a-z0-9.-]{0,20}|fe80::[0-9a-f]{1,4}", fullmatch=True),
    port=st.none() | st.integers(1, 65535),
    database=st.none() | st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    user=st.none() | st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    value=st.text(st.characters(exclude_categories=["Cs"])),
)
def test_the_parts_of_a_connection_are_those_of_its_url(
    host: str, port: int | None, database: str | None, user: str | None, value: str
) -> None:
    text = connection_url(
        None,
        host=host,
        port=port,
        database=database,
        user=user,
        options={"kerberos_service_name": value, "use_ssl": True, "ca_cert": None},
        is_url_preferred=False,
    )
    url = ConnectionUrl.parse(text)
    assert (url.scheme, url.host, url.port) == ("impala", host, port or 21050)
    assert (url.database, url.user) == (database or "", user)
    assert url.options == {"kerberos_service_name": value, "use_ssl": "true"}


def test_a_password_in_a_connection_is_refused_and_not_shown(place: Place) -> None:
    options = ("--connection", "postgresql://me:secret123@h/d")
    done = place.run(*options)
    assert_one_line_error(done, 2, "JOBTOOL_QUERY_PASSWORD")
    assert "secret123" not in done.stderr


@pytest.mark.parametrize("host", ["a b", "h/x", "user@h", "h?x", "h%2fx"])
def test_a_host_is_a_name_and_nothing_else(host: str) -> None:
    text = connection_url(
        None, host=host, port=1, database=None, user=None, options={}, is_url_preferred=False
    )
    url = ConnectionUrl.parse(text)
    assert (url.host, url.port, url.user, url.database, url.options) == (host, 1, None, "", {})
