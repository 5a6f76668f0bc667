"""Exports in a broken world: no rows are lost, and nothing is called done that isn't."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import jobtool
from jobtool.jobs.joblist import JobList
from tests.commands import (
    BIN,
    Done,
    assert_one_line_error,
    environment,
    finish,
    run,
    run_ok,
    run_without_superpowers,
    start_module,
    start_ranks,
)
from tests.export.worlds import LAST, Export, rows_of
from tests.faults.test_faulty_world import as_root
from tests.faults.worlds import Bucket
from tests.trees import events, status_of, statuses

ROWS = 1000


@pytest.fixture
def export(tmp_path: Path) -> Export:
    made = Export(tmp_path)
    made.write(rows_of(ROWS))
    return made


def worker(export: Export, *options: object) -> Done:
    return run("transfer-worker", "-i", export.joblist, *options, env=export.env)


def assert_handed_back(export: Export, done: Done, *expected: str, exit_code: int = 4) -> None:
    assert_one_line_error(done, exit_code, *expected)
    assert set(statuses(export.joblist).values()) == {"todo"}
    assert not set(LAST) & export.visible().keys()
    export.assert_honest()


# Disks.


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of its own with 1 MiB."""
    path = tmp_path / "disk"
    path.mkdir()
    try:
        as_root("mount", "-t", "tmpfs", "-o", "size=1m,mode=0777", "tmpfs", path)
    except (OSError, subprocess.SubprocessError) as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"mounting a filesystem needs root: {error}")
    try:
        yield path
    finally:
        as_root("umount", path)


def wide_rows(count: int) -> str:
    """A query for rows of 256 hexadecimal digits, of which no compression saves more than half."""
    digests = " || ".join(f"sha256(range || '{name}')" for name in "abcd")
    return f"SELECT range AS id, {digests} AS text FROM range({count}) ORDER BY id"


#: 4 MB of rows that no compression makes smaller than 2 MB.
LARGE = wide_rows(15000)


def test_a_full_staging_disk_hands_the_job_back_and_with_more_room_all_ends_well(
    tmp_path: Path, small_disk: Path
) -> None:
    export = Export(tmp_path, query=LARGE)
    export.generate("--chunk-size", 12500, "--staging", small_disk)
    assert_handed_back(export, worker(export), "No space left on device", str(small_disk))
    assert list(small_disk.iterdir()) == []
    assert export.files() == {}
    as_root("mount", "-o", "remount,size=16m", small_disk)
    export.work()
    export.assert_perfect()
    assert list(small_disk.iterdir()) == []


def test_a_full_destination_hands_the_job_back_and_keeps_what_has_arrived(
    tmp_path: Path, small_disk: Path
) -> None:
    export = Export(tmp_path, query=LARGE, destination=str(small_disk))
    export.generate("--chunk-size", 4250)
    done = worker(export)
    assert_one_line_error(done, 4, "No space left on device", str(small_disk))
    assert set(statuses(export.joblist).values()) == {"todo"}
    assert len(export.receipts()) == 1
    (first,) = (name for name in export.receipts() if (small_disk / name).exists())
    before = os.stat(small_disk / first)
    assert not export.staging.exists()
    as_root("mount", "-o", "remount,size=16m", small_disk)
    export.work()
    assert os.stat(small_disk / first).st_ino == before.st_ino
    (tmp_path / "out").symlink_to(small_disk)  # where ``assert_perfect`` looks
    export.assert_perfect()


def test_a_destination_without_permission_hands_the_job_back(export: Export) -> None:
    export.generate("--chunk-size", 100)
    export.out.mkdir(mode=0o555)
    done = run_without_superpowers("transfer-worker", "-i", export.joblist)
    assert_handed_back(export, done, str(export.out), "ermission denied")
    export.out.chmod(0o755)
    export.work()
    export.assert_perfect()


# The staging folder.


def staged_in(export: Export, place: Path) -> Path:
    """Make the export with a staging place that others share; return its own folder there."""
    place.mkdir()
    place.chmod(0o1777)
    export.generate("--chunk-size", 100, "--staging", place)
    return place / f"jobtool-{JobList.open(str(export.joblist)).settings.id}"


def test_a_staging_folder_that_is_a_link_is_refused_and_nothing_behind_it_is_touched(
    export: Export, tmp_path: Path
) -> None:
    own = staged_in(export, tmp_path / "scratch")
    victim = tmp_path / "victim"
    for job in ("rows", "manifest"):
        (victim / job).mkdir(parents=True)
        (victim / job / "precious").write_text("mine")
    own.symlink_to(victim)
    done = worker(export)
    assert_handed_back(export, done, "expected a folder of your own", str(own), "--staging")
    own.unlink()
    export.work()
    own.symlink_to(victim)
    run_ok("jobtool", "retry", "-i", export.joblist, "--job", "manifest")
    assert_one_line_error(worker(export), 4, "expected a folder of your own")
    assert [path.read_text() for path in victim.glob("*/precious")] == ["mine", "mine"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give folders to others")
def test_a_staging_folder_of_another_user_is_refused(export: Export, tmp_path: Path) -> None:
    own = staged_in(export, tmp_path / "scratch")
    own.mkdir()
    os.chown(own, 12345, 12345)
    assert_handed_back(export, worker(export), "expected a folder of your own", str(own))


def test_a_staging_folder_of_ones_own_is_closed_to_others(export: Export, tmp_path: Path) -> None:
    own = staged_in(export, tmp_path / "scratch")
    own.mkdir(mode=0o777)
    (own / "rows").mkdir()
    (own / "rows" / "part-000001.parquet").write_text("of a killed worker")
    own.chmod(0o777)
    done = finish(
        start_module("tests.faults.victim", "after a chunk's record", "1", str(export.joblist))
    )
    assert done.exit_code == -signal.SIGKILL, done
    assert [path.stat().st_mode & 0o777 for path in (own, own / "rows")] == [0o700, 0o700]
    export.work()
    assert list((tmp_path / "scratch").iterdir()) == []
    export.assert_perfect()


# A destination that takes files in parts.


class BucketExport(Export):
    """An export to a bucket."""

    bucket: Bucket

    def files(self) -> dict[str, bytes]:
        return self.bucket.files()


def test_chunks_sent_in_parts_through_kills_leave_no_upload(tmp_path: Path, rclone_s3) -> None:
    BucketExport.bucket = Bucket(rclone_s3, rclone_s3.new_bucket())
    export = BucketExport(tmp_path, rclone_s3.environment, BucketExport.bucket.url)
    export.query = wide_rows(45000)  # a chunk in parts, and a small one
    export.generate("--chunk-size", 42000, "--staged-chunks", 1)
    toml = export.joblist / "joblist.toml"
    toml.write_text(toml.read_text() + "\n[transfer]\npart_size_bytes = 5242880\nthreads = 2\n")
    for step, nth in (
        ("before an upload is begun", 1),
        ("after an upload is begun", 1),
        ("after an upload is dropped", 1),
        ("after a part is sent", 1),
        ("after a part is on record", 1),
        ("before an upload is completed", 1),
        ("after an upload is completed", 1),
    ):
        command = (step, str(nth), str(export.joblist))
        done = finish(start_module("tests.faults.victim", *command, env=export.env))
        assert done.exit_code == -signal.SIGKILL, f"{step}: {done}"
        export.assert_honest()
    export.work()
    export.assert_perfect()
    assert export.bucket.unfinished() == []


# Jobs that aren't those of the export.


def test_a_joblist_that_lacks_a_range_gets_no_manifest(export: Export) -> None:
    export.generate("--chunk-size", 100, "--split-by", "id", "--splits", 3)
    lost = export.joblist / "rows-0002.txt"
    lost.rename(export.folder / "lost")
    done = worker(export)
    assert done.exit_code == 1, done
    assert statuses(export.joblist)["manifest"] == "error"
    (line,) = events(export.joblist / "manifest.txt", "error")
    assert "no job exports range 2" in line
    assert not set(LAST) & export.visible().keys()
    (export.folder / "lost").rename(lost)
    run_ok("jobtool", "retry", "-i", export.joblist)
    export.work()
    export.assert_perfect()


FORGED = {
    "a range twice": ("rows-0009.txt", "", "", "both export range 2"),
    "another count": ("rows-0002.txt", "rows 2/3", "rows 2/4", "one number of ranges"),
    "another bound": ("rows-0002.txt", "from: int 334", "from: int 335", "begin where"),
    "no nulls": ("rows-0003.txt", "export.nulls: true\n", "", "found 0"),
}


def test_jobs_that_do_not_fit_together_get_no_manifest(export: Export) -> None:
    export.generate("--chunk-size", 500, "--split-by", "id", "--splits", 3)
    manifest = export.joblist / "manifest.txt"
    manifest.rename(export.folder / "manifest")
    export.work()
    for name, (file, old, new, expected) in FORGED.items():
        shutil.copy(export.folder / "manifest", manifest)
        path = export.joblist / file
        before = path.read_text() if path.exists() else None
        text = (export.joblist / "rows-0002.txt").read_text() if before is None else before
        assert old in text, name
        path.write_text(text.replace(old, new))
        assert worker(export).exit_code == 1, name
        assert statuses(export.joblist)["manifest"] == "error", name
        (line,) = events(manifest, "error")
        assert expected in line, name
        assert not set(LAST) & export.visible().keys(), name
        if before is None:
            path.unlink()
        else:
            path.write_text(before)


@pytest.mark.parametrize("kind", ["int", "text"])
def test_sql_in_a_bound_runs_nothing(export: Export, kind: str) -> None:
    export.generate("--chunk-size", 500, "--split-by", "id", "--splits", 2)
    path, made = export.joblist / "rows-0002.txt", export.folder / "made"
    bound = f"{kind} 5; COPY (SELECT 1) TO '{made}'; --"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(
        "".join(f"export.from: {bound}\n" if "from" in each else each for each in lines)
    )
    assert worker(export).exit_code in (1, 2)
    assert not made.exists()
    assert status_of(path) != "success"
    assert not set(LAST) & export.visible().keys()


def test_a_query_that_others_can_write_has_to_be_trusted(export: Export) -> None:
    export.generate("--chunk-size", 500)
    export.joblist.chmod(0o777)
    (export.joblist / "joblist.toml").chmod(0o666)
    assert_one_line_error(worker(export), 2, "--trust")
    assert export.files() == {}
    assert worker(export, "--trust").exit_code == 0
    export.joblist.chmod(0o755)
    (export.joblist / "joblist.toml").chmod(0o644)
    export.assert_perfect()


def test_a_version_that_does_not_know_exports_leaves_them_alone(export: Export) -> None:
    export.generate("--chunk-size", 500)
    script = (
        "import sys; from jobtool.jobs import requirements; "
        "requirements.UNDERSTOOD = {'steps': ''}; "
        "from jobtool.cli import transfer; sys.argv[0] = 'transfer-worker'; transfer.main()"
    )
    before = {path: path.read_bytes() for path in export.joblist.glob("*.t*")}
    command = [sys.executable, "-c", script, "-i", str(export.joblist)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 2, done
    assert "requires 'export'" in done.stderr
    assert before == {path: path.read_bytes() for path in export.joblist.glob("*.t*")}
    assert export.files() == {}


# Queries that fail.


def test_a_table_that_is_gone_is_told_once_and_the_job_stays(export: Export) -> None:
    export.generate("--chunk-size", 500)
    export.table.rename(export.folder / "away")
    assert_handed_back(export, worker(export), "table.parquet", exit_code=2)
    (export.folder / "away").rename(export.table)
    export.work()
    export.assert_perfect()


def test_under_mpirun_a_table_that_is_gone_is_no_reason_to_run_again(export: Export) -> None:
    """Exit code 3 would have a scheduler's script start the workers again and again."""
    export.generate("--chunk-size", 500, "--split-by", "id", "--splits", 4)
    export.table.rename(export.folder / "away")
    program = (BIN / "transfer-worker", "-i", export.joblist)
    done = finish(start_ranks(program, program))
    assert done.exit_code == 2, done
    assert "DuckDB refuses the query" in done.stdout
    assert set(statuses(export.joblist).values()) == {"todo"}


def test_a_value_that_can_not_be_computed_is_an_error_of_its_range_alone(tmp_path: Path) -> None:
    export = Export(tmp_path)
    export.query = f"SELECT id, CAST(text AS BIGINT) AS text FROM '{export.table}' ORDER BY id"
    rows = [(number, str(number)) for number in range(ROWS)]
    export.write(rows)
    export.generate("--chunk-size", 100, "--split-by", "id", "--splits", 3)
    export.write([*rows[:500], (500, "five hundred"), *rows[501:]])
    assert worker(export).exit_code == 1
    found = statuses(export.joblist)
    assert found.pop("manifest") == "todo"
    assert found == {"rows-0001": "success", "rows-0002": "error", "rows-0003": "success"}
    assert "five hundred" in events(export.joblist / "rows-0002.txt", "error")[0]
    assert not set(LAST) & export.visible().keys()
    export.write(rows)
    run_ok("jobtool", "retry", "-i", export.joblist)
    export.work()
    export.assert_perfect()


# Compression.


def test_the_files_of_an_export_are_not_compressed_again(export: Export) -> None:
    paths = (f"SELECT * FROM '{export.table}'", export.joblist)
    with pytest.raises(jobtool.UsageError, match="expected none for the transfer of an export"):
        jobtool.export_query(
            "duckdb://", *paths, destination=export.out, transfer={"compression": "gzip"}
        )
    assert not export.joblist.exists()
    export.generate("--chunk-size", 500)
    expected = "expected none for the transfer of an export"
    assert_one_line_error(worker(export, "--compression", "zstd"), 2, expected)
    toml = export.joblist / "joblist.toml"
    text = toml.read_text()
    toml.write_text(text + '\n[transfer]\ncompression = "gzip"\n')
    assert_one_line_error(worker(export), 2, expected)
    assert export.files() == {}
    toml.write_text(text)
    export.work("--compression", "none")
    export.assert_perfect()


# What is lost in the joblist.


@pytest.mark.parametrize("lost", ["chunks", "receipts"])
def test_a_lost_folder_of_the_joblist_costs_work_and_no_rows(export: Export, lost: str) -> None:
    export.generate("--chunk-size", 100)
    export.work()
    shutil.rmtree(export.joblist / lost)
    run_ok("jobtool", "retry", "-i", export.joblist, "--job", "rows", "--job", "manifest")
    if lost == "chunks":  # then nothing but the receipts says that there were ten
        export.write(rows_of(350))
        for step, nth in (("before a stale file is removed", 6), ("after a chunk's record", 2)):
            done = finish(start_module("tests.faults.victim", step, str(nth), str(export.joblist)))
            assert done.exit_code == -signal.SIGKILL, done
            export.assert_honest()
    export.work()
    export.assert_perfect()
