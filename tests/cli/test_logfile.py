"""A worker's log in a file: its lines, its rotation, full disks, several workers."""

from __future__ import annotations

import json
import os
import resource
import signal
from pathlib import Path

import pytest

from jobtool.cli.logfile import LogFile, log_path
from jobtool.errors import UsageError
from tests.commands import BIN, assert_one_line_error, finish, run, run_ok, start, start_ranks
from tests.prepare import prepare
from tests.trees import make_items


@pytest.fixture
def joblist(tmp_path: Path) -> Path:
    make_items(tmp_path / "in", 6)
    made = tmp_path / "list"
    prepare(
        *("generate-joblist", "-i", tmp_path / "in", "-o", made, "-d", tmp_path / "out"),
        *("-l", "tree", "-v", 0),
    )
    return made


def test_a_log_has_the_lines_of_the_terminal_with_their_times(
    joblist: Path, tmp_path: Path
) -> None:
    log = tmp_path / "worker.log"
    done = run_ok("transfer-worker", "-i", joblist, "--log-file", log)
    told = log.read_text().splitlines()
    assert all(line[10] == "T" and line[19] == "Z" for line in told)
    shown = [line[21:] for line in told]
    assert [line for line in shown if line in done.lines] == done.lines
    assert "✅ This worker finished 6 job(s)" in log.read_text()
    run_ok("transfer-worker", "-i", joblist, "--log-file", log, "-v", 0)
    assert log.read_text().splitlines()[: len(told)] == told, "the next worker appends"
    assert log.read_text().count("This worker finished") == 2, "-v 0 is about the terminal"


def test_a_log_of_json_has_the_events_of_standard_output(joblist: Path, tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    done = run_ok("transfer-worker", "-i", joblist, "--json", "--log-file", log)
    told = [json.loads(line) for line in log.read_text().splitlines()]
    times = [each.pop("time") for each in told]
    assert times == sorted(times)
    events = [each for each in told if each["event"] != "note"]
    assert events == [json.loads(line) for line in done.lines]


def test_the_error_that_ends_a_worker_is_in_its_log(tmp_path: Path, joblist: Path) -> None:
    (joblist / "joblist.toml").write_text("format = 9\n")
    log = tmp_path / "worker.log"
    done = run("transfer-worker", "-i", joblist, "--log-file", log)
    assert done.exit_code == 2
    assert "expected 'format = 1'; found 9" in log.read_text()


def test_ranks_have_a_file_each(joblist: Path, tmp_path: Path) -> None:
    worker = (BIN / "transfer-worker", "-i", joblist, "--log-file", tmp_path / "w.log", "-v", 2)
    assert finish(start_ranks(worker, worker)).exit_code == 0
    logs = sorted(path.name for path in tmp_path.glob("w*.log"))
    assert logs == ["w.0.log", "w.1.log"]
    text = "".join((tmp_path / name).read_text() for name in logs)
    assert text.count("all verified") == 6


def test_a_file_of_another_worker_is_refused(joblist: Path, tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "w.log"))
    done = run("transfer-worker", "-i", joblist, "--log-file", tmp_path / "w.log")
    assert_one_line_error(done, 2, "another one writes it", "worker-%h-%p.log")
    log.close()
    run_ok("transfer-worker", "-i", joblist, "--log-file", tmp_path / "%h-%p.log", "-v", 0)
    assert len([*tmp_path.glob("*-*.log")]) == 1


@pytest.mark.parametrize("words", [("--log-max-size", "12"), ("--log-max-size", "much")])
def test_sizes_that_make_no_sense_are_refused(joblist: Path, words: tuple[str, str]) -> None:
    assert run("transfer-worker", "-i", joblist, "--log-file", "x", *words).exit_code == 2


def test_a_folder_that_is_not_there_is_told(joblist: Path, tmp_path: Path) -> None:
    done = run("transfer-worker", "-i", joblist, "--log-file", tmp_path / "no" / "w.log")
    assert_one_line_error(done, 2, "--log-file: can't write", "no/w.log")


@pytest.mark.parametrize(
    ("pattern", "size", "name"),
    [
        ("w.log", 1, "w.log"),
        ("w.log", 2, "w.3.log"),
        ("w-%r.log", 2, "w-3.log"),
        ("%h-%p", 2, "node-77"),
        ("100%%", 1, "100%"),
        ("a.b/w", 2, "a.b/w.3"),
    ],
)
def test_names(pattern: str, size: int, name: str) -> None:
    assert log_path(pattern, host="node", pid=77, rank=3, size=size) == os.path.abspath(name)


@pytest.mark.parametrize("pattern", ["w-%x", "w-%"])
def test_other_letters_are_refused(pattern: str) -> None:
    with pytest.raises(UsageError, match="expected %h, %p, %r or %%"):
        log_path(pattern, host="node", pid=77, rank=3, size=1)


def numbers(path: Path) -> list[int]:
    return [int(line.split()[-1]) for line in path.read_text().splitlines()]


def test_files_are_put_aside_and_no_line_is_lost_or_torn(tmp_path: Path) -> None:
    path = tmp_path / "w.log"
    log = LogFile(str(path), max_bytes=4096, keep=3)
    for number in range(400):
        log.note(f"line {number}")
    log.close()
    files = [path, *(tmp_path / f"w.log.{number}" for number in (1, 2, 3))]
    assert sorted(tmp_path.iterdir()) == sorted(files), "the oldest are removed"
    assert all(each.stat().st_size <= 4096 for each in files)
    kept = [number for each in reversed(files) for number in numbers(each)]
    assert kept == [*range(kept[0], 400)]
    assert len(kept) > 300


def test_no_old_files_may_be_kept(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "w.log"), max_bytes=4096, keep=0)
    for number in range(400):
        log.note(f"line {number}")
    log.close()
    assert [each.name for each in tmp_path.iterdir()] == ["w.log"]
    assert numbers(tmp_path / "w.log")[-1] == 399


def test_what_is_in_the_way_of_rotation_lets_the_file_grow(tmp_path: Path) -> None:
    (tmp_path / "w.log.1").mkdir()
    (tmp_path / "w.log.1" / "x").touch()
    log = LogFile(str(tmp_path / "w.log"), max_bytes=4096, keep=1)
    for number in range(400):
        log.note(f"line {number}")
    log.close()
    assert numbers(tmp_path / "w.log") == [*range(400)]


def test_a_rotation_that_fails_again_and_again_pushes_no_old_file_out(tmp_path: Path) -> None:
    path, clock = tmp_path / "w.log", [1000.0]
    (tmp_path / "w.log.1").write_text("old\n")
    (tmp_path / "w.log.new").mkdir()  # no new file can be made
    log = LogFile(str(path), max_bytes=200, keep=2, now=lambda: clock[0])
    for number in range(40):
        clock[0] += 61
        log.note(f"line {number}")
    assert (tmp_path / "w.log.1").read_text() == "old\n"
    assert len(path.read_text().splitlines()) == 40
    (tmp_path / "w.log.new").rmdir()
    clock[0] += 61
    log.note("the last line")
    log.close()
    assert (tmp_path / "w.log.2").read_text() == "old\n"
    assert len((tmp_path / "w.log.1").read_text().splitlines()) == 40
    assert len(path.read_text().splitlines()) == 1


def test_a_full_disk_loses_lines_and_says_so_once_there_is_room(tmp_path: Path) -> None:
    path = tmp_path / "w.log"
    log = LogFile(str(path), max_bytes=10**9)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        log.note("first")
        resource.setrlimit(resource.RLIMIT_FSIZE, (200, before[1]))  # a write gets no further
        for number in range(20):
            log.note(f"line {number}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.stat().st_size == 200
    log.note("last")
    log.close()
    lines = path.read_text().splitlines()
    whole = [line for line in lines if "line " in line and "missing" not in line]
    (missing,) = [line for line in lines if "missing" in line]
    assert int(missing.split()[2]) >= 20 - len(whole)
    assert lines[-1].endswith("last")


def test_a_worker_goes_on_whatever_becomes_of_its_log(joblist: Path, tmp_path: Path) -> None:
    worker = start("transfer-worker", "-i", joblist, "--log-file", "/dev/full")
    assert finish(worker).exit_code == 0
