"""Workers are paused, resumed and stopped while they run: real processes, also under mpirun.

A limit of bandwidth makes a transfer last. What happened is read from job files, exit codes and
events, not from a clock.
"""

import json
import os
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

import jobtool
from tests.commands import (
    BIN,
    assert_one_line_error,
    finish,
    run,
    run_ok,
    run_without_superpowers,
    start,
    start_ranks,
    wait_for,
)
from tests.prepare import prepare
from tests.trees import contents, events, make_items, status_of, statuses, write

MEBIBYTE = 1024 * 1024

#: Large enough for several parts of the least size.
LARGE = 24 * MEBIBYTE

SLOW = ("--bandwidth", "4MB/s", "--threads", 2)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A joblist whose job ``a`` has a large file, and ``b`` and ``c`` a small one each."""
    write(tmp_path / "in" / "a" / "large", os.urandom(LARGE))
    for name in "bc":
        write(tmp_path / "in" / name / "small", name.encode())
    prepare("generate-joblist", "-i", tmp_path / "in", "-o", tmp_path / "list", "-d",
           tmp_path / "out", "-l", "tree")  # fmt: skip
    toml = tmp_path / "list" / "joblist.toml"
    toml.write_text(toml.read_text() + f"\n[transfer]\npart_size_bytes = {5 * MEBIBYTE}\n")
    return tmp_path / "list"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    make_items(tmp_path / "in", 6)
    prepare("generate-joblist", "-i", tmp_path / "in", "-o", tmp_path / "list", "-d",
           tmp_path / "out", "-l", "tree")  # fmt: skip
    return tmp_path / "list"


def start_worker(joblist: Path, *options: object) -> subprocess.Popen[str]:
    return start("transfer-worker", "-i", joblist, "--json", *options)


def is_moving(joblist: Path, job: str = "a") -> bool:
    """Whether a job is under way and some of it has been written."""
    if status_of(joblist / f"{job}.txt") != "ongoing":
        return False
    parts = (joblist.parent / "out").rglob(".jobtool-*.part")
    return any(path.stat().st_blocks for path in parts if path.exists())


def is_handed_back(joblist: Path, times: int = 1, job: str = "a") -> bool:
    path = joblist / f"{job}.txt"
    return status_of(path) == "todo" and len(events(path, "handed-back")) == times


def told(done, kind: str) -> list[dict]:
    return [each for each in map(json.loads, done.lines) if each["event"] == kind]


def is_complete(joblist: Path) -> bool:
    root = joblist.parent
    return set(statuses(joblist).values()) == {"success"} and contents(root / "out") == contents(
        root / "in"
    )


def test_a_pause_in_the_middle_of_a_file_keeps_its_parts_and_costs_no_attempt(large):
    worker = start_worker(large, *SLOW)
    wait_for(lambda: is_moving(large))
    paused = run_ok("jobtool", "pause", large)
    assert "1 worker is running: within seconds it finishes" in paused.stdout
    wait_for(lambda: is_handed_back(large))
    (handed_back,) = events(large / "a.txt", "handed-back")
    assert 'reason="paused by ' in handed_back
    assert "parts_bytes=" in handed_back
    assert worker.poll() is None
    assert statuses(large) == {"a": "todo", "b": "todo", "c": "todo"}
    run_ok("jobtool", "set", large, "bandwidth=unlimited")
    resumed = run_ok("jobtool", "resume", large)
    assert "1 worker is running" in resumed.stdout
    done = finish(worker)
    assert done.exit_code == 0
    assert is_complete(large)
    assert "failures:" not in (large / "a.txt").read_text()
    assert len(told(done, "paused")) == len(told(done, "resumed")) == 1
    kept = int(handed_back.split("parts_bytes=")[1].split()[0])
    last = told(done, "progress")[-1:] or [{"bytes_sent": 0}]
    assert last[0]["bytes_sent"] <= LARGE - kept + 2


def test_workers_that_start_while_it_is_paused_wait_and_say_so(small):
    run_ok("jobtool", "pause", small)
    worker = start_worker(small)
    wait_for(lambda: "1 worker is running" in run_ok("jobtool", "stop", small, "--dry-run").stdout)
    summary = run_ok("summarise-jobs", small)
    assert "The joblist is paused, by " in summary.stdout
    assert json.loads(run_ok("jobtool", "show", small, "item000", "--json").stdout)["pause"]
    run_ok("jobtool", "resume", small)
    done = finish(worker)
    assert done.exit_code == 0
    assert len(told(done, "paused")) == len(told(done, "resumed")) == 1
    assert is_complete(small)
    assert json.loads(run_ok("summarise-jobs", small, "--json").stdout)["paused"] == []


def test_a_paused_worker_ends_with_3_when_its_time_is_up_and_with_0_if_all_is_done(small):
    run_ok("jobtool", "pause", small)
    done = run("transfer-worker", "-i", small, "--json", "--time-limit", "2s", "--grace", 1)
    assert done.exit_code == 3
    (paused,) = told(done, "paused")
    assert paused["by"]
    (finished,) = told(done, "finished")
    assert (finished["paused"], finished["left_todo"], finished["handed_back"]) == (6, 6, 0)
    assert set(statuses(small).values()) == {"todo"}
    run_ok("jobtool", "resume", small)
    run_ok("transfer-worker", "-i", small)
    run_ok("jobtool", "pause", small)
    assert run("transfer-worker", "-i", small).exit_code == 0


def test_a_stop_ends_the_workers_that_run_and_none_that_starts_later(large):
    workers = [start_worker(large, *SLOW, "--no-share", "--wait") for _ in range(2)]
    wait_for(lambda: is_moving(large))
    wait_for(
        lambda: "2 workers are running" in run_ok("jobtool", "stop", large, "--dry-run").stdout
    )
    stopped = run_ok("jobtool", "stop", large)
    assert "Workers that start later aren't concerned." in stopped.stdout
    ended = [finish(worker) for worker in workers]
    assert [done.exit_code for done in ended] == [3, 3]
    assert all(told(done, "finished")[0]["stopped"].startswith("stopped by ") for done in ended)
    assert status_of(large / "a.txt") == "todo"
    assert run("transfer-worker", "-i", large).exit_code == 0
    assert is_complete(large)


def test_a_job_that_is_stopped_in_the_middle_becomes_error_until_it_is_retried(large):
    worker = start_worker(large, *SLOW)
    wait_for(lambda: is_moving(large))
    stopped = run_ok("jobtool", "stop", large, "--job", "a")
    assert "1 job is held by a worker" in stopped.stdout
    done = finish(worker)
    assert done.exit_code == 1
    assert statuses(large) == {"a": "error", "b": "success", "c": "success"}
    assert 'reason="stopped by ' in events(large / "a.txt", "error")[-1]
    again = run_ok("jobtool", "stop", large, "--match", "*")
    assert "No job was stopped. 3 jobs are left alone" in again.stdout
    run_ok("jobtool", "retry", large)
    run_ok("transfer-worker", "-i", large)
    assert is_complete(large)


def test_a_job_that_nobody_holds_is_stopped_at_once_and_one_that_is_done_is_left_alone(small):
    run_ok("transfer-worker", "-i", small, "--job", "item000")
    would = run_ok("jobtool", "stop", small, "--job", "item001", "--dry-run").stdout
    assert "Would stop job item001. What is stopped would be in error." in would
    assert "held by a worker" not in would
    done = run_ok("jobtool", "stop", small, "--job", "item000", "--job", "item001", "--json")
    (event,) = map(json.loads, done.lines)
    assert (event["jobs"], event["ended"], event["left_alone"]) == (["item001"], ["item001"], 1)
    assert statuses(small)["item000"] == "success"
    assert statuses(small)["item001"] == "error"
    assert not (small / "control.json").exists()


def test_a_stop_of_a_job_whose_worker_was_killed_is_heeded_by_the_next(large):
    worker = start_worker(large, *SLOW, "--claims", "lease")
    wait_for(lambda: is_moving(large))
    os.kill(worker.pid, signal.SIGSTOP)  # it holds the claim and can't heed anything
    try:
        assert "1 job is held" in run_ok("jobtool", "stop", large, "--job", "a").stdout
    finally:
        os.kill(worker.pid, signal.SIGKILL)
    finish(worker)
    toml = large / "joblist.toml"
    toml.write_text("lease_seconds = 2.0\n" + toml.read_text())
    done = run("transfer-worker", "-i", large, "--claims", "lease", "--wait")
    assert done.exit_code == 1
    assert statuses(large) == {"a": "error", "b": "success", "c": "success"}


def test_paused_jobs_are_left_alone_and_others_go_on(large):
    worker = start_worker(large, *SLOW)
    wait_for(lambda: is_moving(large))
    run_ok("jobtool", "pause", large, "--job", "a", "--match", "c*")
    done = finish(worker)
    assert done.exit_code == 5
    (finished,) = told(done, "finished")
    assert (finished["paused"], finished["left_todo"]) == (2, 2)
    assert statuses(large) == {"a": "todo", "b": "success", "c": "todo"}
    summary = run_ok("summarise-jobs", large)
    assert "2 jobs (a, c) are paused, by " in summary.stdout
    run_ok("jobtool", "resume", large, "--job", "c")
    assert run("transfer-worker", "-i", large).exit_code == 5
    run_ok("jobtool", "resume", large)
    run_ok("transfer-worker", "-i", large)
    assert is_complete(large)


def test_a_paused_job_whose_worker_was_killed_is_left_and_not_called_done(large):
    worker = start_worker(large, *SLOW)
    wait_for(lambda: is_moving(large))
    worker.kill()
    finish(worker)
    run_ok("jobtool", "pause", large, "--job", "a")
    done = run("transfer-worker", "-i", large, "--json")
    assert done.exit_code == 5
    (finished,) = told(done, "finished")
    assert (finished["paused"], finished["left_todo"], finished["left_ongoing"]) == (1, 1, 0)
    assert statuses(large) == {"a": "ongoing", "b": "success", "c": "success"}
    run_ok("jobtool", "resume", large)
    run_ok("transfer-worker", "-i", large)
    assert is_complete(large)


def test_a_worker_that_waits_for_jobs_stays_until_paused_ones_are_resumed(small):
    run_ok("jobtool", "pause", small, "--job", "item003")
    worker = start_worker(small, "--wait")
    wait_for(lambda: list(statuses(small).values()).count("success") == 5)
    assert worker.poll() is None
    run_ok("jobtool", "resume", small, "--job", "item003")
    assert finish(worker).exit_code == 0
    assert is_complete(small)


def test_a_worker_that_is_killed_while_paused_leaves_nothing_behind(large):
    worker = start_worker(large, *SLOW)
    wait_for(lambda: is_moving(large))
    run_ok("jobtool", "pause", large)
    wait_for(lambda: is_handed_back(large))
    worker.kill()
    finish(worker)
    assert "No worker is running. Start one" in run_ok("jobtool", "resume", large).stdout
    run_ok("transfer-worker", "-i", large)
    assert is_complete(large)


def test_after_pause_resume_and_pause_in_a_row_it_is_paused(large):
    worker = start_worker(large, *SLOW)
    wait_for(lambda: is_moving(large))
    for command in ("pause", "resume", "pause"):
        run_ok("jobtool", command, large)
    wait_for(lambda: is_handed_back(large))
    assert worker.poll() is None
    run_ok("jobtool", "set", large, "bandwidth=unlimited")
    run_ok("jobtool", "stop", large)
    assert finish(worker).exit_code == 3
    assert status_of(large / "a.txt") == "todo"


def test_max_jobs_counts_no_job_that_was_handed_back_for_a_pause(large):
    worker = start_worker(large, *SLOW, "--max-jobs", 1)
    wait_for(lambda: is_moving(large))
    run_ok("jobtool", "pause", large)
    wait_for(lambda: is_handed_back(large))
    run_ok("jobtool", "resume", large)
    assert finish(worker).exit_code == 3
    assert statuses(large) == {"a": "success", "b": "todo", "c": "todo"}


@pytest.mark.parametrize("content", ["{", '{"format": 2}', "[" * 5000])
def test_a_control_file_that_is_unfit_is_told_once_and_changes_nothing(small, content):
    (small / "control.json").write_text(content)
    done = run("transfer-worker", "-i", small, "--json")
    assert done.exit_code == 0
    assert len(told(done, "control-kept")) == 1
    assert is_complete(small)
    for command in ("pause", "resume", "stop"):
        assert_one_line_error(run("jobtool", command, small), 2, "control.json can't be used")
    assert "control.json can't be used" in run_ok("summarise-jobs", small).stdout
    assert (small / "control.json").read_text() == content


def test_a_joblist_that_may_only_be_read_cant_be_steered_and_is_named(small):
    (small / ".claims").chmod(0o555)
    small.chmod(0o555)
    try:
        for command in (("pause",), ("stop",), ("set", "bandwidth=3MB/s")):
            name, *rest = command
            done = run_without_superpowers("jobtool", name, small, *rest)
            assert_one_line_error(done, 4, str(small), "Permission denied", "Nothing was changed")
    finally:
        small.chmod(0o755)
        (small / ".claims").chmod(0o755)


def test_ranks_under_mpirun_are_paused_resumed_and_stopped_together(large):
    worker = (BIN / "transfer-worker", "-i", large, "--json", *SLOW)
    ranks = start_ranks(worker, worker)
    wait_for(lambda: is_moving(large))
    run_ok("jobtool", "pause", large)
    wait_for(lambda: "ongoing" not in statuses(large).values())
    assert ranks.poll() is None
    run_ok("jobtool", "resume", large)
    wait_for(lambda: is_moving(large))
    run_ok("jobtool", "stop", large)
    done = finish(ranks)
    assert done.exit_code == 3
    assert status_of(large / "a.txt") == "todo"
    run_ok("transfer-worker", "-i", large)
    assert is_complete(large)


def test_a_new_bandwidth_is_taken_up_in_the_middle_of_a_file(large):
    run_ok("jobtool", "set", large, "bandwidth=100kB/s")
    worker = start_worker(large)
    wait_for(lambda: status_of(large / "a.txt") == "ongoing")
    done = run_ok("jobtool", "set", large, "bandwidth=", "threads=3")
    assert "will notice within seconds" in done.stdout
    assert "for workers that start from now on" in done.stdout
    done = finish(worker)
    assert done.exit_code == 0
    assert [each["bytes_per_second"] for each in told(done, "limits")] == [100_000.0, None]


@pytest.mark.parametrize("name", ["pause_jobs", "resume_jobs", "stop_jobs", "transfer_jobs"])
@pytest.mark.parametrize("option", ["jobs", "match"])
def test_an_empty_choice_is_refused_and_is_not_all_jobs(
    small: Path, name: str, option: str
) -> None:
    before = contents(small)
    with pytest.raises(jobtool.UsageError, match=f"{option}: expected at least one text"):
        getattr(jobtool, name)(small, **{option: []})
    assert contents(small) == before


def test_the_command_that_ends_a_pause_of_some_jobs_names_them(small: Path) -> None:
    run_ok("jobtool", "pause", small)
    told = run_ok("jobtool", "pause", small, "--job", "item001", "--job", "item002").stdout
    command = told.partition("To go on: ")[2].strip()
    assert command.endswith("--job item001 --job item002")
    subprocess.run([BIN / "jobtool", *shlex.split(command)[1:]], check=True)
    (left,) = json.loads(run_ok("summarise-jobs", small, "--json").stdout)["paused"]
    assert left["jobs"] is None  # the pause of all is another
