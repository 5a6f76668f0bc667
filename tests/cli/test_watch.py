"""``summarise-jobs`` on terminals, its live view, and ``jobtool top``, by a pseudo-terminal."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.cells import cell_len

from jobtool.jobs.workerstates import StateFile, WorkerState
from tests.cli.terminals import (
    ALTERNATE_SCREEN,
    HIDDEN_CURSOR,
    MAIN_SCREEN,
    SHOWN_CURSOR,
    Terminal,
    lines_of,
    shown,
)
from tests.commands import assert_one_line_error, finish, run, run_ok, start
from tests.report.lists import make_joblist

LOG = "2026-11-20T14:31:00Z claimed worker=node017:4711 rank=3 attempt=1\n"
ASCII = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}


@pytest.fixture
def joblist(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Jobs of all kinds, with names that need care, and a worker. Its path is short."""
    folder = make_joblist(Path("/tmp") / f"jt{os.getpid()}", 120)
    for name, status, log in (
        ("日本-plate-" + "x" * 90, "ongoing", LOG),
        ("abandoned", "ongoing", LOG.replace("4711", "4712")),
        ("denied", "error", '2026-11-20T14:32:00Z error reason="/in/x: Permission denied"\n'),
        ("spoilt", "Done", ""),
    ):
        header = f"source: /in/{name}\nfield.batch: J001\n---\n"
        (folder / f"{name}.txt").write_text(f"{status}\n{header}{log}")
    worker = "node017-4711-abcdef.lock"
    members = folder / ".claims" / "workers"
    members.mkdir(parents=True)
    (members / f"{worker}.lease").touch()
    moment = time.time()
    StateFile(str(folder / ".claims"), worker).write(
        WorkerState(
            worker="node017:4711",
            started=moment,
            written=moment,
            period_seconds=3600.0,
            state="working",
            job="日本-plate-" + "x" * 90,
            job_id="日本-plate-" + "x" * 90,
            phase="comparing with the destination",
            files_done=1,
            files_total=4,
            bytes_done=10**9,
            bytes_total=4 * 10**9,
            bytes_per_second=1e8,
            moved=moment,
        )
    )
    try:
        yield folder
    finally:
        import shutil

        shutil.rmtree(folder)


LOOKS = {"colours": {}, "16 colours": {"TERM": "xterm-16color"}, "none": {"NO_COLOR": "1"}}


@pytest.mark.parametrize(
    ("env", "columns"),
    [
        pytest.param({}, 80, id="utf-8-80"),
        pytest.param({}, 160, id="utf-8-160", marks=pytest.mark.wide),
        pytest.param(ASCII, 80, id="ascii-80", marks=pytest.mark.wide),
        pytest.param(ASCII, 160, id="ascii-160"),
    ],
)
def test_no_line_is_wider_than_the_terminal(
    joblist: Path, columns: int, env: dict[str, str]
) -> None:
    for options in (
        (),
        ("--jobs",),
        ("--status", "error", "--by", "batch", "--since", "2026-01-01"),
    ):
        with Terminal("summarise-jobs", joblist, *options, columns=columns, env=env) as terminal:
            assert terminal.end() == 1
        lines = lines_of(terminal.text)
        assert [line for line in lines if cell_len(line) > columns] == []
        text = "\n".join(lines)
        assert "Total jobs: 124" in text
        assert "left at 95.4 MiB/s" in " ".join(text.split())


@pytest.mark.parametrize("env", [*LOOKS.values(), ASCII], ids=[*LOOKS, "ascii"])
def test_the_live_view_is_drawn_in_place_and_leaves_the_summary(
    joblist: Path, env: dict[str, str]
) -> None:
    with Terminal("summarise-jobs", "--watch", "0.2", joblist, env=env) as terminal:
        terminal.wait_for("Workers alive: 1")
        (joblist / "denied.txt").unlink()
        terminal.wait_for("12 error")
        (joblist / "new.txt").write_text("success\nsource: /in/new\n---\n")
        terminal.wait_for("97 success")
        terminal.resize(100, 30)
        terminal.wait_for("97 success")
        terminal.press("\x03")
        assert terminal.end() == 1
        assert terminal.modes == terminal.before
    assert terminal.text.count(ALTERNATE_SCREEN) == terminal.text.count(MAIN_SCREEN) == 1
    live, after = terminal.text.split(MAIN_SCREEN)
    assert "Total jobs: 124" in shown(after)
    assert "\x1b[2J" not in live.partition(ALTERNATE_SCREEN)[2]  # it isn't cleared: no flicker
    lines = lines_of(live.replace("^C", ""))  # the terminal's echo
    assert [line for line in lines if cell_len(line) > 100] == []
    assert ("\x1b[3" in live) == (env not in (LOOKS["none"],))
    assert SHOWN_CURSOR in terminal.text[terminal.text.rindex(HIDDEN_CURSOR) :]


def test_a_joblist_that_goes_and_comes_back_is_watched_on(joblist: Path) -> None:
    away = joblist.with_name(f"{joblist.name}-away")
    with Terminal("summarise-jobs", joblist, "--watch", "0.2") as terminal:
        terminal.wait_for("96 success")
        joblist.rename(away)
        terminal.wait_for("expected the joblist still at")
        away.rename(joblist)
        (joblist / "new.txt").write_text("success\nsource: /in/new\n---\n")
        terminal.wait_for("97 success")
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.end() == 128 + signal.SIGTERM
    assert MAIN_SCREEN in terminal.text
    assert "Total jobs: 125" in shown(terminal.text.split(MAIN_SCREEN)[1])


def test_without_a_terminal_it_prints_a_block_now_and_then(joblist: Path) -> None:
    for options, wanted in (((), "Total jobs: 124"), (("--json",), '"total": 124')):
        process = start("summarise-jobs", joblist, "--watch", "0.2", *options)
        assert process.stdout is not None
        found = 0
        while found < 2:
            line = process.stdout.readline()
            assert line, finish(process)
            found += wanted in line
        process.send_signal(signal.SIGINT)
        done = finish(process)
        assert (done.exit_code, done.stderr) == (1, "")
        assert "\x1b" not in done.stdout


def test_a_reader_that_leaves_ends_it(joblist: Path) -> None:
    process = start("summarise-jobs", joblist, "--watch", "0.2")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(60) in (1, 74)  # 74 if it left before the first summary


def test_a_word_after_watch_that_is_no_number_is_the_joblist(joblist: Path) -> None:
    for words in (("--watch", "x", "-i", joblist), ("--watch", "0", joblist)):
        done = run("summarise-jobs", *words)
        assert done.exit_code == 2
        assert "--watch" in done.stderr
    process = start("summarise-jobs", "--watch", joblist)
    assert process.stdout is not None
    while "Total jobs: 124" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert finish(process).exit_code == 1


def test_fields_statuses_and_times_are_chosen(joblist: Path) -> None:
    told = json.loads(run("summarise-jobs", joblist, "--json", "--status", "error").stdout)
    assert {job["status"] for job in told["jobs"]} == {"error"}
    assert (told["total"], told["field"]) == (124, "batch")
    assert [(each["value"], each["jobs"]) for each in told["by_field"]] == [
        *(("J000", 48), ("J001", 51), ("J002", 24))
    ]
    assert told["workers"][0]["worker"] == "node017:4711"
    assert told["estimate"]["is_estimated"]
    hints = {cause["cause"]: cause["hint"] for cause in told["causes"]}
    assert "jobtool doctor" in hints["…: Permission denied"]

    told = json.loads(run("summarise-jobs", joblist, "--json", "--since", "2026-11-20").stdout)
    assert told["since"]["succeeded"] == 96
    assert told["since"]["bytes"] > 0
    told = json.loads(run("summarise-jobs", joblist, "--json", "--since", "1s").stdout)
    assert told["since"] | {"time": ""} == {
        "time": "",
        "succeeded": 0,
        "failed": 0,
        "attempts": 0,
        "bytes": 0,
    }
    done = run("summarise-jobs", joblist, "--by", "bach")
    assert_one_line_error(done, 2, "one of batch, plate", "Did you mean batch?")
    for text in ("soon", "2999-01-01"):
        assert run("summarise-jobs", joblist, "--since", text).exit_code == 2


@pytest.fixture
def top(joblist: Path) -> Iterator[Terminal]:
    """``jobtool top`` of the joblist, which shows its jobs."""
    with Terminal("jobtool", "top", joblist, "--every", "0.2", columns=120) as terminal:
        terminal.wait_for("q quit")
        terminal.wait_for("124 jobs")
        yield terminal


def test_keys_pause_resume_and_set_the_bandwidth(joblist: Path, top: Terminal) -> None:
    top.press("p")
    top.wait_for("The joblist is paused")
    assert (joblist / "control.json").exists()
    top.press("r")
    top.wait_for("Resumed")
    top.press("b")
    top.wait_for("Bandwidth of all workers")
    top.press("200MB/x\x7fs\r")
    top.wait_for('"200MB/s"')
    assert "200MB/s" in (joblist / "joblist.toml").read_text()
    top.press("b")
    top.wait_for("Bandwidth of all workers")
    top.press("fast\r")
    top.wait_for("expected a rate")
    top.press("q")
    assert top.end() == 1
    assert top.modes == top.before
    assert "Total jobs: 124" in shown(top.text.split(MAIN_SCREEN)[1])


def test_it_asks_before_it_stops_anything(joblist: Path, top: Terminal) -> None:
    top.press("s")
    top.wait_for("Stop all running workers?")
    top.press("n")
    top.wait_for("Nothing was changed")
    top.press("S")
    top.wait_for("Stop the job")
    top.press("\x1b")
    top.wait_for("Nothing was changed")
    assert not (joblist / "control.json").exists()
    top.press("s")
    top.wait_for("Stop all running workers?")
    top.press("y")
    top.wait_for("Asked")
    assert json.loads((joblist / "control.json").read_text())["stop"]
    top.press("q")
    top.end()


def test_the_chosen_job_says_why_it_is_in_error(top: Terminal) -> None:
    top.press("jj")
    top.wait_for("/in/A1170008: Permission denied")  # whole: its row has the ends of it
    top.press("q")
    top.end()


def test_a_job_is_chosen_and_shown(top: Terminal) -> None:
    top.press("jj\x1b[B\x1b[A")  # the third: ongoing ones come first, then those in error
    top.press("\r")
    top.wait_for("job file:")
    top.press("q")
    top.wait_for("124 jobs")
    top.press("\x03")
    assert top.end() == 1
    assert top.modes == top.before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_the_terminal_is_restored_however_it_ends(top: Terminal, number: signal.Signals) -> None:
    assert top.modes != top.before
    top.process.send_signal(number)
    assert top.end() == 128 + signal.SIGTERM
    assert top.modes == top.before
    assert MAIN_SCREEN in top.text
    assert SHOWN_CURSOR in top.text


def test_the_terminal_is_restored_after_a_crash(joblist: Path) -> None:
    crash = (
        "import jobtool.cli.watch as w, jobtool.cli.main as m, sys\n"
        "def lines(*a): raise RuntimeError('a bug')\n"
        "import jobtool.cli.top as t; t._Top.lines = lines\n"
        f"sys.argv = ['jobtool', 'top', {str(joblist)!r}]; m.main()\n"
    )
    with Terminal("python", "-c", crash) as terminal:
        assert terminal.end() == 1
        assert terminal.modes == terminal.before
    assert "a bug" in terminal.text
    assert MAIN_SCREEN in terminal.text


def test_top_needs_a_terminal(joblist: Path) -> None:
    assert_one_line_error(run("jobtool", "top", joblist), 2, "expects a terminal", "--watch")
    with Terminal("jobtool", "top", joblist, env={"TERM": "dumb"}) as terminal:
        assert terminal.end() == 2
    assert "expects a terminal" in terminal.text


def test_nothing_is_written_by_watching(joblist: Path) -> None:
    def listed() -> list[tuple[str, int]]:
        return sorted((str(path), path.lstat().st_mtime_ns) for path in joblist.rglob("*"))

    before = listed()
    with Terminal("summarise-jobs", "--watch", "0.2", joblist) as terminal:
        terminal.wait_for("124 jobs")
        terminal.press("\x03")
        terminal.end()
    run_ok("summarise-jobs", joblist, "--help")
    assert listed() == before
