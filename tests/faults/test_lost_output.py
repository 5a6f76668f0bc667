"""Lost output can't fail the work: readers that leave, full disks, closed terminals."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import time
import warnings
from pathlib import Path

import pytest

from jobtool.jobs.joblist import JobList
from jobtool.worker.environment import Environment
from jobtool.worker.loop import Worker
from jobtool.worker.options import WorkerOptions
from tests.commands import BIN, Done, environment, finish, run, run_ok, start_ranks
from tests.gate import Gate, gate_before
from tests.trees import contents, make_items, receipts, status_of, statuses

JOBS = 3


@pytest.fixture
def joblist(tmp_path: Path) -> Path:
    make_items(tmp_path / "in", JOBS)
    paths = ("-i", tmp_path / "in", "-o", tmp_path / "list", "-d", tmp_path / "out", "-l", "tree")
    run_ok("generate-joblist", *paths)
    return tmp_path / "list"


def shell(line: str) -> Done:
    """Run a line of bash, with this environment's commands on the path."""
    extra = {"PATH": f"{BIN}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, env=environment(extra), timeout=120
    )
    return Done(done.returncode, done.stdout, done.stderr)


def assert_all_done(joblist: Path) -> None:
    assert set(statuses(joblist).values()) == {"success"}
    assert contents(joblist.parent / "out") == contents(joblist.parent / "in")
    assert len(receipts(joblist)) == 2 * JOBS
    assert not list(joblist.glob(".*.txt*"))


@pytest.mark.parametrize(
    "options", ["-v 3 > /dev/full", "--json > /dev/full 2>&1", "-v 3 <&- >&- 2>&-", "2>&-"]
)
def test_output_that_can_not_be_written_fails_no_job(joblist: Path, options: str) -> None:
    done = shell(f"transfer-worker -i {joblist} {options}")
    assert (done.exit_code, done.stderr) == (0, "")
    assert_all_done(joblist)


def test_a_reader_that_leaves_early_fails_no_job(joblist: Path) -> None:
    # `read` leaves for sure before the second line, other than `head`.
    line = f"transfer-worker -i {joblist} -v 3 > >(read) 2> >(read); echo $?"
    assert shell(line).stdout == "0\n"
    assert_all_done(joblist)


@pytest.mark.parametrize("redirection", ["> /dev/full 2>&1", ">&- 2>&-"])
def test_output_of_ranks_that_can_not_be_written_fails_no_job(
    joblist: Path, redirection: str
) -> None:
    rank = ["bash", "-c", f"exec {BIN}/transfer-worker -i {joblist} -v 3 {redirection}"]
    assert finish(start_ranks(rank, rank)).exit_code == 0
    assert_all_done(joblist)


def test_a_full_disk_under_the_log_leaves_the_exit_code_to_the_work(joblist: Path) -> None:
    (joblist.parent / "in" / "item001" / "0.bin").unlink()
    (joblist.parent / "in" / "item001" / "0.bin").symlink_to("/nowhere")
    done = shell(f"transfer-worker -i {joblist} > /dev/full 2>&1")
    assert done.exit_code == 1
    assert statuses(joblist) == {"item000": "success", "item001": "error", "item002": "success"}


@pytest.mark.parametrize(
    "command",
    [
        "summarise-jobs -i {}",
        "jobtool sbatch {}",
        "jobtool doctor {}",
        "transfer-worker --dry-run -i {}",
    ],
)
def test_a_result_that_can_not_be_written_is_an_error_of_its_own(
    joblist: Path, command: str
) -> None:
    done = shell(command.format(joblist) + " > /dev/full")
    assert done.exit_code == 74
    assert done.stderr == "❌ can't write to standard output: No space left on device.\n"


def test_a_result_whose_reader_left_is_no_news_but_no_success(joblist: Path) -> None:
    done = shell(f"summarise-jobs -i {joblist} | : ; echo ${{PIPESTATUS[0]}}")
    assert done.stderr == ""
    assert done.stdout in ("74\n", "0\n")  # `:` may leave after the last line was written


@pytest.fixture
def slow(tmp_path: Path, rclone_s3):
    """A job of twelve files to S3 that is held at a gate, and the environment to work on it."""
    make_items(tmp_path / "in", 1, files=12)
    bucket = rclone_s3.new_bucket()
    paths = ("-i", tmp_path / "in", "-o", tmp_path / "list", "-d", f"s3://{bucket}", "-l", "tree")
    run_ok("generate-joblist", *paths)
    with gate_before(rclone_s3.endpoint_url, allowed=3) as gate:
        yield (
            tmp_path / "list",
            gate,
            environment({**rclone_s3.environment, "AWS_ENDPOINT_URL": gate.endpoint_url}),
        )


def worker(joblist: Path) -> list[str]:
    return [str(BIN / "transfer-worker"), "-i", str(joblist), "--threads", "2"]


def open_after_signal(gate: Gate) -> None:
    """Open the gate once the worker, which is held, has had the time to take a signal."""
    time.sleep(0.5)
    gate.open()


def test_no_file_gets_the_number_of_a_closed_descriptor(slow) -> None:
    joblist, gate, env = slow
    line = 'exec "$@" <&- >&- 2>&-'
    process = subprocess.Popen(["bash", "-c", line, "-", *worker(joblist)], env=env)
    gate.wait_until_held()
    opened = {number: os.readlink(f"/proc/{process.pid}/fd/{number}") for number in range(3)}
    process.terminate()  # its message goes to descriptor 2, whatever that is
    open_after_signal(gate)
    assert process.wait(60) == 3
    assert set(opened.values()) == {os.devnull}
    assert status_of(joblist / "item000.txt") == "todo"


def test_a_terminal_that_is_closed_hands_the_job_back(slow) -> None:
    joblist, gate, env = slow
    ours, theirs = pty.openpty()

    process = subprocess.Popen(
        ["setsid", "--ctty", *worker(joblist)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**env, "TERM": "xterm"},
    )
    os.close(theirs)
    gate.wait_until_held()
    os.close(ours)  # SIGHUP comes, and each write fails with EIO
    open_after_signal(gate)
    assert process.wait(60) == 3
    assert status_of(joblist / "item000.txt") == "todo"
    assert "reason=SIGHUP" in (joblist / "item000.txt").read_text()
    assert run("transfer-worker", "-i", joblist, env=env).exit_code == 0


def test_nohup_goes_on_when_the_terminal_hangs_up(slow) -> None:
    joblist, gate, env = slow
    process = subprocess.Popen(
        ["nohup", *worker(joblist)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=env,
    )
    gate.wait_until_held()
    process.send_signal(signal.SIGHUP)
    gate.open()
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert status_of(joblist / "item000.txt") == "success"


def test_what_a_callback_raises_fails_no_job_and_is_told_once(joblist: Path) -> None:
    def refuse(what: object) -> None:
        raise OSError(f"no room for {what}")

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        options = WorkerOptions(watch=refuse)
        code = Worker(JobList.open(str(joblist)), Environment(), options, refuse).run()
    assert code == 0
    assert_all_done(joblist)
    texts = [str(one.message) for one in told if one.category is RuntimeWarning]
    assert len(texts) == 2  # one of each callback
    assert all("raised OSError: no room for" in text for text in texts)


def test_a_callback_fails_no_job_where_warnings_are_errors(joblist: Path) -> None:
    def refuse(what: object) -> None:
        raise ValueError("no")

    with warnings.catch_warnings(), contextlib.suppress(RuntimeWarning):
        warnings.simplefilter("error")
        Worker(JobList.open(str(joblist)), Environment(), WorkerOptions(), refuse).run()
    assert_all_done(joblist)
