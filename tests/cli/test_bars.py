"""Bars at the bottom of a terminal: never wider than it, and with what matters most."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import struct
import termios
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from jobtool.cli.bars import BarLine, drawn
from jobtool.worker.events import RunProgress
from tests.cli.terminals import Terminal
from tests.commands import environment, run_ok, start_on_terminal
from tests.prepare import prepare
from tests.trees import write

LINES = [
    BarLine(
        name="whole list",
        share=0.436,
        texts=[(6, "93/216 jobs"), (5, "1.8 TiB of about 4.1 TiB"), (7, "210 MiB/s"),
               (8, "about 3 h left")],
    ),
    BarLine(
        name="BR00117010__2020-11-08T18_18_00",
        share=1.0,
        texts=[(7, "copying"), (5, "1,234/5,678 files"), (8, "100 MiB/s")],
    ),
]  # fmt: skip


def plain(width: int, *, is_ascii: bool = True) -> list[str]:
    return [line.plain for line in drawn(LINES, width, is_ascii=is_ascii)]


def test_all_is_shown_where_there_is_room() -> None:
    whole, job = plain(160)
    assert "  43 %  93/216 jobs  1.8 TiB of about 4.1 TiB  210 MiB/s  about 3 h left" in whole
    assert job.startswith("BR00117010__2020-11-08T18_18_00  ####")
    assert whole.index("#") == job.index("#"), "bars stand below each other"


def test_what_matters_most_stays_where_there_is_little() -> None:
    whole, job = plain(60)
    assert "about 3 h left" in whole
    assert "TiB" not in whole
    assert "100 MiB/s" in job
    assert "T18_18_00" in job, "the end of a long name"
    assert plain(20)[0].split()[-2:] == ["43", "%"]


texts = st.text(max_size=40)
lines = st.lists(
    st.builds(
        BarLine,
        name=texts,
        share=st.none() | st.floats(0, 1),
        texts=st.lists(st.tuples(st.integers(1, 9), texts), max_size=5),
    ),
    max_size=5,
)


@given(lines, st.integers(1, 200), st.booleans())
def test_no_line_is_wider_than_the_terminal(
    found: list[BarLine], width: int, is_ascii: bool
) -> None:
    shown = drawn(found, width, is_ascii=is_ascii)
    assert len(shown) == len(found)
    assert all(cell_len(line.plain) <= max(width - 1, 1) for line in shown)


@given(st.integers(0, 10**15), st.integers(1, 10**15), st.integers(0, 100))
def test_a_list_is_never_said_to_be_done_before_it_is(done: int, total: int, jobs: int) -> None:
    told = RunProgress(
        workers=1, jobs_done=0, jobs_total=1, files_sent=0, bytes_sent=0, rate_mb_s=0.0,
        list_jobs=100, list_jobs_done=jobs, list_bytes=total, list_bytes_done=done,
    )  # fmt: skip
    assert ("100 %" in told.whole_text()) == (done >= total)
    assert told.text().endswith(f". Whole list: {told.whole_text()}")


@pytest.fixture
def joblist(tmp_path: Path) -> Path:
    for job in ("plate_1", "plate_2"):
        for name in ("a", "b"):
            write(tmp_path / "in" / job / "0" / name, os.urandom(20_000_000))
    made = tmp_path / "list"
    prepare(
        *("generate-joblist", "-i", tmp_path / "in", "-o", made, "-d", tmp_path / "out"),
        *("-l", "tree", "-v", 0),
    )
    return made


@pytest.mark.parametrize(
    ("variables", "has_colours", "sign"),
    [
        ({"TERM": "xterm-16color", "LC_ALL": "C.UTF-8"}, True, "━"),
        ({"TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "NO_COLOR": "1"}, False, "━"),
        ({"TERM": "xterm", "LC_ALL": "C", "PYTHONIOENCODING": "ascii"}, True, "#"),
    ],
)
def test_a_terminal_shows_the_list_the_job_and_its_files(
    joblist: Path, variables: dict[str, str], has_colours: bool, sign: str
) -> None:
    shown = on_terminal(joblist, 80, variables)
    assert ("\x1b[3" in shown) == has_colours
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    for line in ("whole list  ", "plate_1  ", "0/a  "):
        assert re.search(rf"^\r?{re.escape(line)}", text, re.MULTILINE), line
    assert sign in text
    drawn_lines = [line for line in re.split(r"[\r\n]+", text) if re.search(r" \d+ %", line)]
    assert all(cell_len(line) < 80 for line in drawn_lines)
    if sign == "#":
        assert shown.isascii()
    assert "This worker finished 2 job(s), 0 in error." in text


def test_a_dumb_terminal_gets_lines(joblist: Path) -> None:
    shown = on_terminal(joblist, 80, {"TERM": "dumb"})
    assert "\x1b" not in shown
    assert "1 worker(s)" not in shown or "Whole list" in shown
    assert "This worker finished 2 job(s)" in shown


def on_terminal(
    joblist: Path, width: int, variables: dict[str, str], *, is_stopped: bool = False
) -> str:
    """What a worker writes to a terminal, also if it is stopped once it shows a file."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    process = start_on_terminal(
        *("transfer-worker", "-i", joblist, "--bandwidth", "20MB/s"),
        terminal=theirs,
        env=environment(variables),
    )
    os.close(theirs)
    pieces = []
    try:
        while piece := os.read(ours, 65536):
            pieces.append(piece)
            if is_stopped and b" copying " in piece:
                process.send_signal(signal.SIGINT)
                is_stopped = False
    except OSError:  # the worker has ended
        pass
    os.close(ours)
    assert process.wait(60) in (0, 3)
    return b"".join(pieces).decode()


def test_what_a_signal_says_stands_above_the_bars(joblist: Path) -> None:
    shown = on_terminal(joblist, 80, {"TERM": "xterm"}, is_stopped=True)
    assert re.search(r"\x1b\[2KSIGINT: finishing files in progress; Ctrl-C again", shown)
    assert "handed back" in shown


def test_a_job_that_was_handed_back_is_shown_no_more(joblist: Path) -> None:
    with Terminal("transfer-worker", "-i", joblist, "--bandwidth", "4MB/s") as terminal:
        terminal.wait_for("whole list")
        terminal.wait_for("copying")
        run_ok("jobtool", "pause", joblist)
        terminal.wait_for("Paused by")
        frame = "copying"
        for _ in range(40):
            terminal.wait_for("whole list")
            *_, frame, _ = terminal.text.split("whole list")  # the last one is read in part
            if "copying" not in frame and "Paused by" not in frame:
                break
        run_ok("jobtool", "stop", joblist)
        assert terminal.end() == 3
    assert "copying" not in frame
