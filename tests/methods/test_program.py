"""Programs of methods: their output, their end, and that nothing of them is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from jobtool.methods.program.log import FIRST_BYTES, LAST_LINES, ProgramLog
from jobtool.methods.program.running import Running
from jobtool.methods.program.surroundings import environment_for, why_missing
from jobtool.redact import redact
from jobtool.stop import Stop

VICTIM = "tests.methods.program_victim"

#: Prints the process ids of itself and of one that it starts.
FAMILY = """
import os, signal, subprocess, sys, time
child = subprocess.Popen(["sleep", "600"])
print("ids", os.getpid(), child.pid, flush=True)
"""

#: The same of two that ignore SIGTERM.
STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen(["sleep", "600"])
print("ids", os.getpid(), child.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def log(tmp_path: Path) -> ProgramLog:
    return ProgramLog(str(tmp_path / "logs" / "job.1.method.log"))


def running(
    log: ProgramLog, *arguments: str, stop: Stop | None = None, stall_seconds: float = 600
) -> Running:
    return Running(
        arguments,
        environment=environment_for(),
        log=log,
        stop=stop or Stop(),
        stall_seconds=stall_seconds,
    )


def python(code: str) -> tuple[str, ...]:
    return sys.executable, "-c", code


def is_running(process_id: int) -> bool:
    try:
        stat = Path(f"/proc/{process_id}/stat").read_bytes()
    except OSError:
        return False
    return stat.rpartition(b")")[2].split()[0] not in (b"Z", b"X")


def wait_until(condition: Callable[[], bool]) -> None:
    while not condition():  # the suite's own time limit ends it
        time.sleep(0.02)


def ids_of(line: str) -> list[int]:
    return [int(word) for word in line.split()[1:]]


def test_a_program_gets_its_arguments_as_they_are_and_its_output_is_kept(log: ProgramLog) -> None:
    hostile = ("a b", "$(touch x)", "'\"", "new\nline", "--", "é", "*")
    code = "import sys; print(ascii(sys.argv[1:])); print('to stderr', file=sys.stderr)"
    with running(log, *python(code), *hostile) as program:
        lines = [line for line in program.lines() if line is not None]
    log.close()
    assert sorted(lines) == sorted([ascii(list(hostile)), "to stderr"])
    assert program.exit_code == 0
    kept = Path(log.path).read_text().splitlines()
    assert kept[0].startswith("$ ")
    assert {ascii(list(hostile)), "to stderr"} <= set(kept)
    assert kept[-1].startswith("[exit code 0 after ")


def test_carriage_returns_end_lines_as_in_displays_of_progress(log: ProgramLog) -> None:
    with running(log, "printf", r"10%%\r20%%\rlast without an end") as program:
        lines = [line for line in program.lines() if line is not None]
    assert lines == ["10%", "20%", "last without an end"]


def test_a_failure_is_told_by_exit_code_and_last_lines(log: ProgramLog) -> None:
    with running(log, *python("print('disk full'); raise SystemExit(23)")) as program:
        assert program.wait() == 23
    assert "exit code 23: disk full" in program.failure


def test_a_program_that_is_missing_is_told(log: ProgramLog) -> None:
    with running(log, "no-such-program-here") as program:
        assert program.wait() == 127
    assert "No such file or directory" in program.failure
    missing = why_missing("no-such-program-here")
    assert missing is not None
    assert "isn't installed here" in missing
    assert why_missing("sh") is None


def test_a_signal_shows_in_the_exit_code(log: ProgramLog) -> None:
    with running(log, *python("import os; os.kill(os.getpid(), 11)")) as program:
        assert program.wait() == 128 + 11


def test_a_stop_ends_the_whole_group_even_what_ignores_sigterm(log: ProgramLog) -> None:
    stop, ids = Stop(), []
    with running(log, *python(STUBBORN), stop=stop) as program:
        for line in program.lines():
            if line is not None and line.startswith("ids"):
                ids = ids_of(line)
                stop.set("enough")
    assert len(ids) == 2
    assert not any(map(is_running, ids))
    assert program.why_ended == "enough"
    assert "was ended: enough" in program.failure


def test_what_a_program_leaves_behind_is_ended(log: ProgramLog) -> None:
    with running(log, *python(FAMILY)) as program:
        (line,) = [line for line in program.lines() if line is not None]
    assert program.exit_code == 0
    assert not any(map(is_running, ids_of(line)))


def test_an_error_of_the_caller_ends_the_program(log: ProgramLog) -> None:
    ids: list[int] = []

    def use() -> None:
        with running(log, *python(FAMILY + "time.sleep(600)")) as program:
            for line in program.lines():
                if line is not None:
                    ids.extend(ids_of(line))
                    raise KeyError(line)

    with pytest.raises(KeyError):
        use()
    assert len(ids) == 2
    assert not any(map(is_running, ids))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_worker_leaves_no_process(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", VICTIM, str(tmp_path), *python(FAMILY + "time.sleep(600)")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        ids = ids_of(worker.stdout.readline())
        worker.send_signal(number)
        assert worker.wait() == -number
    assert len(ids) == 2
    wait_until(lambda: not any(map(is_running, ids)))


def test_a_silent_program_is_ended_and_one_that_moves_is_not(log: ProgramLog) -> None:
    with running(log, "sleep", "600", stall_seconds=0.5) as program:
        program.wait()
    assert program.why_ended == "no progress for 0 s"
    code = "import time\nfor n in range(12): print(n, flush=True); time.sleep(0.25)"
    with running(log, *python(code), stall_seconds=2) as program:
        assert program.wait() == 0
    code = "import time\nfor n in range(600): print('same', flush=True); time.sleep(0.1)"
    with running(log, *python(code), stall_seconds=1) as program:
        program.wait()
    assert program.why_ended


def test_progress_that_output_does_not_show_counts(log: ProgramLog) -> None:
    with running(log, "sleep", "2", stall_seconds=1) as program:
        for _ in program.lines():
            program.moved()
    assert program.exit_code == 0


def test_a_program_sees_no_secrets_and_no_rank(
    log: ProgramLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "PMIX_RANK", "OMPI_COMM_WORLD_SIZE", "SOMETHING"):
        monkeypatch.setenv(name, "hidden")
    monkeypatch.setenv("HADOOP_CONF_DIR", "/etc/hadoop")
    with running(log, "env") as program:
        names = {line.partition("=")[0] for line in program.lines() if line is not None}
    assert {"PATH", "HOME"} <= names
    assert not {name for name in names if name.startswith(("AWS_", "PMIX", "OMPI", "SOME", "HAD"))}
    assert environment_for(("HADOOP_",))["HADOOP_CONF_DIR"] == "/etc/hadoop"


def test_the_log_keeps_the_beginning_and_the_end_without_secrets(log: ProgramLog) -> None:
    redact.learn("my-very-own-secret")
    line = "x" * 100
    for number in range(20_000):
        log.add(f"{number:06d} my-very-own-secret {line}")
    log.close()
    kept = Path(log.path).read_text().splitlines()
    assert Path(log.path).stat().st_size < FIRST_BYTES + (LAST_LINES + 1) * 200
    assert kept[0].startswith("000000 [redacted] x")
    assert kept[-1].startswith("019999 ")
    (left_out,) = [line for line in kept if "left out" in line]
    assert len(kept) - 1 + int(left_out.strip("[").split()[0]) == 20_000


def test_a_log_that_cannot_be_written_fails_nothing(tmp_path: Path) -> None:
    (tmp_path / "logs").write_bytes(b"a file where the folder would be")
    log = ProgramLog(str(tmp_path / "logs" / "job.log"))
    with running(log, "echo", "well") as program:
        assert [line for line in program.lines() if line] == ["well"]
    log.close()
    assert program.exit_code == 0


def test_a_named_pipe_in_place_of_the_log_holds_nothing_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "job.log")
    log = ProgramLog(str(tmp_path / "job.log"))
    with running(log, "echo", "well") as program:
        assert program.wait() == 0
    log.close()


def test_no_other_user_may_write_to_a_log(log: ProgramLog) -> None:
    before = os.umask(0)
    try:
        log.add("line")
    finally:
        os.umask(before)
    log.close()
    assert Path(log.path).stat().st_mode & 0o777 == 0o644


def test_much_output_after_the_end_is_asked_for_blocks_nothing(log: ProgramLog) -> None:
    stop = Stop()
    code = "while True: print('y' * 10000)"
    with running(log, *python(code), stop=stop) as program:
        for count, _ in enumerate(program.lines()):
            if count > 50:
                stop.set("enough")
    assert program.exit_code == 128 + signal.SIGTERM


def test_the_pipe_of_the_guard_is_not_passed_to_the_program(log: ProgramLog) -> None:
    with running(log, *python("import os; print(sorted(os.listdir('/proc/self/fd')))")) as program:
        (line,) = [line for line in program.lines() if line]
    assert line in ("['0', '1', '2', '3']",), line
