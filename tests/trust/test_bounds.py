"""Files of a joblist that are too large to be jobtool's: refused or skipped, never read whole."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobtool.errors import JobFileError, JoblistError, JobtoolError, LayoutError
from jobtool.jobs.jobfile import MAX_HEADER_LINES, decode
from jobtool.jobs.jobfolder import MAX_JOBFILE_BYTES
from jobtool.jobs.joblist import JobList
from jobtool.jobs.joblog import decode_log
from jobtool.jobs.journal import Journal
from jobtool.jobs.records import Receipt
from jobtool.jobs.settings import Settings
from jobtool.jobs.table import read_table, write_table
from jobtool.layouts.layout import load_layout
from jobtool.report.summary import summarise
from tests.commands import BIN, environment, run_ok
from tests.trees import make_items, write

GIBIBYTE = 1 << 30

#: A command that takes more memory or time than this is killed. Both are
#: several times what the commands need, and a fraction of what the files below would take.
MOST_BYTES = 1500 << 20
MOST_SECONDS = 120

RECEIPT = Receipt(
    src_path="/a",
    dst_path="/b",
    size=1,
    mtime_ns=1,
    hashsum_src="0" * 32,
    hashsum_dst="0" * 32,
    verified_by="read-back",
    verified_at="2026-11-20T14:31:00Z",
    worker="w",
    attempt=1,
)


def bounded(*command: object) -> subprocess.CompletedProcess[str]:
    """Run a command that is killed if it takes far too much memory or time."""
    name, *arguments = map(str, command)
    return subprocess.run(
        ["prlimit", f"--as={MOST_BYTES}", str(BIN / name), *arguments],
        capture_output=True,
        text=True,
        timeout=MOST_SECONDS,
        env=environment({"OPENBLAS_NUM_THREADS": "1"}),
    )


def sparse(path: Path, start: bytes) -> None:
    path.write_bytes(start)
    os.truncate(path, GIBIBYTE)


def dense(path: Path, start: bytes) -> None:
    with path.open("wb") as file:
        file.write(start)
        for _ in range(16):
            file.write(b"x" * (1 << 26))


HEADER = b"todo\nsource: /a\ndestination: /b\n---\n"


@pytest.mark.parametrize(
    ("make", "start"),
    [
        pytest.param(sparse, b"todo\n", id="header"),
        pytest.param(sparse, b"", id="nothing"),
        pytest.param(sparse, HEADER, id="log"),
        pytest.param(dense, HEADER, id="dense log", marks=pytest.mark.wide),
    ],
)
def test_a_job_file_of_a_gigabyte_is_invalid_and_the_others_are_done(
    tmp_path: Path, make: Callable[[Path, bytes], None], start: bytes
) -> None:
    make_items(tmp_path / "in", 1)
    paths = ("-i", tmp_path / "in", "-o", tmp_path / "list", "-d", tmp_path / "out", "-l", "tree")
    run_ok("generate-joblist", *paths)
    huge = tmp_path / "list" / "huge.txt"
    make(huge, start)
    done = bounded("transfer-worker", "-i", tmp_path / "list")
    assert (done.returncode, done.stderr) == (1, ""), done
    assert (tmp_path / "out" / "item000" / "0.bin").exists()
    told = bounded("summarise-jobs", "-i", tmp_path / "list")
    assert (told.returncode, told.stderr) == (1, ""), told
    for printed in (done.stdout, told.stdout):
        assert f"expected at most {MAX_JOBFILE_BYTES} bytes; found {huge.stat().st_size}" in printed
    huge.unlink()


@pytest.mark.wide
def test_what_a_job_file_of_the_allowed_size_takes_of_memory_is_bounded(tmp_path: Path) -> None:
    JobList.create(str(tmp_path / "list"), Settings())
    tail = b"2026-11-20T14:31:00Z w\n"
    worst = {
        "many": HEADER + b"\n" * (MAX_JOBFILE_BYTES - len(HEADER)),
        "records": HEADER + tail * ((MAX_JOBFILE_BYTES - len(HEADER)) // len(tail)),
        "pairs": HEADER + (b"2026-11-20T14:31:00Z w " + b"a=b " * 16_000 + b"\n") * 1000,
        "files": HEADER[:-4] + b"file: a -> b\n" * (MAX_HEADER_LINES - 10) + b"---\n",
        "lines": HEADER[:-4] + b"a:\n" * (MAX_HEADER_LINES + 1) + b"---\n",
        "quotes": b'todo\nsource: "' + b"x" * (MAX_JOBFILE_BYTES - 30) + b'"\n---\n',
    }
    for name, data in worst.items():
        (tmp_path / "list" / f"{name}.txt").write_bytes(data)
    told = bounded("summarise-jobs", "-i", tmp_path / "list")
    assert (told.returncode, told.stderr) == (1, ""), told
    assert f"at most {MAX_HEADER_LINES} lines" in told.stdout
    assert "line 2: expected at most 65536 bytes" in told.stdout


@pytest.mark.parametrize("digits", ["9" * 10, "9" * 5000, "\u00b2", "\u0663"])
def test_numbers_that_no_worker_writes_are_refused_or_unknown(tmp_path: Path, digits: str) -> None:
    with pytest.raises(JobFileError, match="expected a number of at most 9 digits"):
        decode(f"todo\nsource: /a\nattempts: {digits}\n---\n".encode(), job_id="x")
    joblist = JobList.create(str(tmp_path / "list"), Settings())
    log = f"2026-11-20T14:31:00Z success files={digits * 2} bytes=80\n"
    write(Path(joblist.path_of("x")), f"success\nsource: /a\n---\n{log}".encode())
    (line,) = summarise(joblist).jobs
    assert (line.files_done, line.bytes_done) == (None, 80)


def test_of_a_long_log_the_end_is_read_and_no_endless_line() -> None:
    first = b"2026-11-20T14:31:00Z claimed\n"
    last = b"2026-11-20T14:32:00Z success files=1\n"
    endless = b"2026-11-20T14:31:30Z error reason=" + b"x" * 70_000 + b"\n"
    assert [record.event for record in decode_log(first + endless + last)] == ["claimed", "success"]
    log = first + b"x\n" * (3 << 20) + last
    assert [record.event for record in decode_log(log)] == ["success"]


def large_toml(path: Path) -> None:
    sparse(path, b"format = 1\n")


TOML: dict[str, Callable[[Path], object]] = {
    "large": large_toml,
    "nested": lambda path: path.write_bytes(b"format = 1\nx = " + b"[" * 100_000),
    "tables": lambda path: path.write_bytes(b"format = 1\n[" + b".".join([b"x"] * 10_000) + b"]"),
    "pipe": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize("make", TOML.values(), ids=list(TOML))
def test_a_joblist_toml_or_layout_that_is_a_trap_is_one_clear_error(
    tmp_path: Path, make: Callable[[Path], object]
) -> None:
    joblist = tmp_path / "list"
    joblist.mkdir()
    make(joblist / "joblist.toml")
    with pytest.raises(JoblistError, match=r"joblist\.toml"):
        JobList.open(str(joblist))
    make(tmp_path / "layout.toml")
    with pytest.raises(LayoutError, match=r"layout\.toml"):
        load_layout(str(tmp_path / "layout.toml"))
    done = bounded("transfer-worker", "-i", joblist)
    assert done.returncode == 2, done
    assert len(done.stderr.splitlines()) == 1


def test_endless_lines_of_a_journal_are_passed_over_and_the_others_count(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    line = msgspec.json.encode(RECEIPT) + b"\n"
    most_bytes = 1 << 29
    with path.open("wb") as file:
        file.write(line)
        file.seek(most_bytes, os.SEEK_CUR)
        file.write(b"\n" + line + b"[" * 200_000 + b"\n" + line)
    code = (
        "import sys; from jobtool.jobs.journal import Journal;"
        "print(len(list(Journal(sys.argv[1]).read())))"
    )
    done = subprocess.run(
        ["prlimit", f"--as={most_bytes}", sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        timeout=MOST_SECONDS,
        env=environment(),
    )
    assert (done.stdout, done.stderr) == ("3\n", "")


def test_records_of_numbers_that_no_table_holds_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    good = msgspec.json.encode(RECEIPT)
    bad = [
        good.replace(b'"size":1', b'"size":-1'),
        good.replace(b'"size":1', b'"size":9223372036854775808'),
        good.replace(b'"mtime_ns":1', b'"mtime_ns":1e400'),
        good.replace(b'"attempt":1', b'"attempt":2147483648'),
    ]
    path.write_bytes(b"\n".join([*bad, good, b""]))
    found = list(Journal(str(path)).read())
    assert found == [RECEIPT]
    assert write_table(str(tmp_path / "t.parquet"), found) == 1


def test_a_table_that_unpacks_to_far_more_than_ours_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    write_table(str(path), [RECEIPT])
    assert list(read_table(str(path))) == [RECEIPT]
    row = pq.read_table(path)
    column = row.schema.get_field_index("worker")
    bomb = row.set_column(column, "worker", pa.array(["x" * (300 << 20)]))
    options = {"use_dictionary": False, "write_statistics": False, "compression_level": 1}
    pq.write_table(bomb, path, compression="zstd", **options)
    assert path.stat().st_size < 1 << 20, "it isn't large itself"
    with pytest.raises(JobtoolError, match="expected groups of rows of at most"):
        list(read_table(str(path)))


@pytest.mark.parametrize("table", [True, False])
def test_a_link_planted_where_we_are_about_to_write_is_not_written_through(
    tmp_path: Path, table: bool
) -> None:
    victim = write(tmp_path / "victim", b"precious")
    if table:
        (tmp_path / ".t.parquet.0.tmp").symlink_to(victim)
        (tmp_path / "t.parquet").symlink_to(victim)
        assert write_table(str(tmp_path / "t.parquet"), [RECEIPT]) == 1
        assert list(read_table(str(tmp_path / "t.parquet"))) == [RECEIPT]
    else:
        (tmp_path / "j.jsonl").symlink_to(victim)
        journal = Journal(str(tmp_path / "j.jsonl"))
        journal.append(RECEIPT)
        with pytest.raises(JobtoolError, match=r"j\.jsonl"):
            journal.flush()
        journal.discard()
    assert victim.read_bytes() == b"precious"
