"""When the time is up: durations, the scheduler's variables, no job that can't be done in time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobtool.jobs.joblist import JobList
from jobtool.stop import Stop
from jobtool.worker.deadline import Deadline, find_deadline
from jobtool.worker.duration import parse_duration
from jobtool.worker.environment import Environment
from jobtool.worker.events import JobProgress, NoTimeLeft
from jobtool.worker.loop import Worker
from jobtool.worker.options import WorkerOptions
from jobtool.worker.pace import Pace
from tests.commands import assert_one_line_error, run, run_ok
from tests.prepare import prepare
from tests.trees import make_items, statuses, write


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def joblist(tmp_path: Path) -> Path:
    make_items(tmp_path / "in", 10)
    paths = ("-i", tmp_path / "in", "-o", tmp_path / "list", "-d", tmp_path / "out", "-l", "tree")
    prepare("generate-joblist", *paths)
    return tmp_path / "list"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("11h30m", 41400),
        ("90m", 5400),
        ("45s", 45),
        ("1d2h3m4s", 93784),
        ("12:00:00", 43200),
        ("1-12:00:00", 129600),
        (" 2H ", 7200),
    ],
)
def test_durations_are_read_in_every_usual_form(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "90", "soon", "1h30", "12:00", "-1h", "1.5h", "h", "0", "0s", "00:00:00"]
)
def test_what_is_no_clear_duration_is_refused(joblist: Path, text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        parse_duration(text)
    done = run("transfer-worker", "-i", joblist, f"--time-limit={text}")
    assert_one_line_error(done, 2, "--time-limit", "expected a duration")


def test_what_the_worker_was_told_goes_before_the_schedulers_word() -> None:
    slurm = {"SLURM_JOB_END_TIME": "1700000600"}
    assert find_deadline(None, {}, now=1700000000) is None
    assert find_deadline(None, slurm, now=1700000000).seconds == 600
    told = find_deadline(60.0, slurm, now=1700000000)
    assert (told.seconds, told.source) == (60.0, "--time-limit")
    assert find_deadline(None, {"SLURM_JOB_END_TIME": "NONE"}, now=1700000000) is None


@pytest.mark.parametrize("name", ["SLURM_JOB_END_TIME", "PBS_WALLTIME"])
@pytest.mark.parametrize("value", ["9" * 20, "9" * 400, "9" * 5000, "²", "-5", "1e9", " ", "soon"])
def test_a_time_that_can_be_none_is_nobodys_word(name: str, value: str) -> None:
    warnings: list[str] = []
    assert find_deadline(None, {name: value}, now=1700000000, warn=warnings.append) is None
    assert all(f"{name} is ignored: " in text and value[:18] in text for text in warnings)
    assert len(warnings) == (0 if value == " " else 1)
    both = {"SLURM_JOB_END_TIME": "1700000600", name: value}
    if name == "PBS_WALLTIME":
        assert find_deadline(None, both, now=1700000000).seconds == 600


def test_an_end_that_is_far_away_counts() -> None:
    env = {"SLURM_JOB_END_TIME": str(1700000000 + 5 * 365 * 86400)}
    assert find_deadline(None, env, now=1700000000).seconds == 5 * 365 * 86400


@pytest.mark.parametrize(
    "env",
    [
        {"SLURM_JOB_END_TIME": "0"},
        {"SLURM_JOB_END_TIME": "1700000000"},
        {"PBS_WALLTIME": "0"},
        {"SLURM_JOB_END_TIME": "0", "PBS_WALLTIME": "0"},
    ],
)
def test_an_end_that_is_over_is_ignored_with_a_warning_and_the_work_is_done(
    joblist: Path, env: dict[str, str]
) -> None:
    done = run_ok("transfer-worker", "-i", joblist, env=env)
    for name, value in env.items():
        expected = (
            f"❗ {name} is ignored: expected an end in the future; found {value}, which is in "
            "the past"
        )
        assert expected in done.stdout
    assert " left (" not in done.stdout
    assert set(statuses(joblist).values()) == {"success"}


def test_a_good_word_counts_after_a_bad_one() -> None:
    env = {"SLURM_JOB_END_TIME": "5", "PBS_WALLTIME": str(9 * 365 * 86400)}
    assert find_deadline(None, env, now=1700000000).source == "PBS_WALLTIME"


def test_a_worker_works_where_the_scheduler_tells_nonsense(joblist: Path) -> None:
    env = {"SLURM_JOB_END_TIME": "9" * 20, "PBS_WALLTIME": "9" * 20, "SLURM_ARRAY_TASK_ID": "²"}
    env["OMPI_COMM_WORLD_SIZE"] = "²"
    assert "left (" not in run_ok("transfer-worker", "-i", joblist, env=env).stdout
    assert set(statuses(joblist).values()) == {"success"}


def test_torques_walltime_counts_from_the_start_of_the_session() -> None:
    code = (
        "import os, time; from jobtool.worker.deadline import find_deadline; time.sleep(2);"
        "print(find_deadline(None, {'PBS_WALLTIME': '100'}, now=0).seconds)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, start_new_session=True
    )
    assert 60 < float(done.stdout) <= 98.1


def test_torques_walltime_counts_from_now_where_the_batch_script_can_not_be_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "getsid", lambda pid: 0)  # what the kernel says inside a container
    told: list[str] = []
    found = find_deadline(None, {"PBS_WALLTIME": "100"}, now=0, warn=told.append)
    assert (found, told) == (Deadline(seconds=100, source="PBS_WALLTIME"), [])
    assert find_deadline(None, {"PBS_WALLTIME": "0"}, now=0, warn=told.append) is None
    assert "which is in the past" in told[0]


def test_a_short_time_leaves_most_of_it_for_work() -> None:
    assert find_deadline(3600.0, {}, now=0).grace_seconds == 120
    assert find_deadline(60.0, {}, now=0).grace_seconds == 15


def work(joblist: Path, clock: Clock, job_seconds: float, drain_at: float) -> tuple[int, list]:
    """Run a worker whose jobs take some seconds each; return its exit code and events."""

    def watch(progress: JobProgress) -> None:
        if progress.files_done == progress.files_total:
            clock.now = started + job_seconds * (len(done) + 1)

    started, done, told = clock.now, [], []

    def emit(event: object) -> None:
        told.append(event)
        if event.kind == "success":
            done.append(event)

    options = WorkerOptions(
        stop=Stop(at=drain_at, monotonic=clock), drain_at=drain_at, monotonic=clock, watch=watch
    )
    worker = Worker(JobList.open(str(joblist)), Environment(pid=os.getpid()), options, emit)
    return worker.run(), told


def test_no_job_is_begun_that_would_take_longer_than_is_left(joblist: Path) -> None:
    clock = Clock()
    code, told = work(joblist, clock, 100, drain_at=1000 + 350)
    assert code == 3
    assert sorted(statuses(joblist).values()) == ["success"] * 3 + ["todo"] * 7
    (said,) = (event for event in told if isinstance(event, NoTimeLeft))
    assert (round(said.seconds_left), round(said.job_seconds)) == (50, 100)
    assert said.text() == (
        "50 s are left, and the shortest job so far took 1 min 40 s: claiming no more jobs."
    )


def test_a_job_that_is_too_long_by_its_size_is_left_and_a_shorter_one_is_done(
    tmp_path: Path,
) -> None:
    for number, files in enumerate([1, 60, 2]):
        for name in range(files):
            write(tmp_path / "in" / f"item{number}" / str(name), b"x")
    paths = ("-i", tmp_path / "in", "-o", tmp_path / "list", "-d", tmp_path / "out", "-l", "tree")
    prepare("generate-joblist", *paths)
    clock, told, sent = Clock(), [], {}

    def watch(progress: JobProgress) -> None:  # each file takes ten seconds
        sent[progress.job] = progress.files_sent
        clock.now = 1000 + 10 * sum(sent.values())

    options = WorkerOptions(drain_at=1500, monotonic=clock, watch=watch)
    joblist = JobList.open(str(tmp_path / "list"))
    worker = Worker(joblist, Environment(pid=os.getpid()), options, told.append)
    assert worker.run() == 3
    assert statuses(tmp_path / "list") == {"item0": "success", "item1": "todo", "item2": "success"}
    (said,) = (event for event in told if event.kind == "handed-back")
    assert said.job == "item1"
    assert said.reason == "it would take 600 s at the rate so far, and 490 are left"
    assert not (tmp_path / "out" / "item1").exists()


def test_a_rate_is_taken_for_what_it_is() -> None:
    pace = Pace(1000.0, lambda: 0.0)
    assert pace.seconds_for(files=10**6, size_bytes=10**12) == 0  # the first job is begun
    pace.add(1000.0, files=1, size_bytes=10**11)
    assert pace.seconds_for(files=1, size_bytes=2 * 10**11) == 1000
    assert pace.seconds_for(files=10**5, size_bytes=10**9) == 10  # many small files
    pace.add(10.0, files=0, size_bytes=0)  # all was there
    assert pace.shortest_seconds == 10
    assert pace.seconds_for(files=2, size_bytes=2 * 10**11) == 2020


def test_a_list_that_fits_is_finished(joblist: Path) -> None:
    code, told = work(joblist, Clock(), 100, drain_at=1000 + 1050)
    assert code == 0
    assert set(statuses(joblist).values()) == {"success"}
    assert not [event for event in told if isinstance(event, NoTimeLeft)]


def test_when_the_time_is_up_nothing_is_begun(joblist: Path) -> None:
    env = {"SLURM_JOB_END_TIME": str(int(time.time()) + 100)}
    done = run("transfer-worker", "-i", joblist, "--grace", "86400", env=env)
    assert done.exit_code == 3
    assert "left (SLURM_JOB_END_TIME); workers begin to stop 86400 s before the end." in done.stdout
    assert set(statuses(joblist).values()) == {"todo"}


@pytest.mark.parametrize(("limit", "grace"), [("10s", 100), ("30s", 30), ("1m", 60)])
def test_a_grace_that_leaves_nothing_of_the_time_is_refused(
    joblist: Path, limit: str, grace: int
) -> None:
    done = run("transfer-worker", "-i", joblist, "--time-limit", limit, "--grace", grace)
    assert_one_line_error(done, 2, f"--grace {grace} leaves nothing of --time-limit", "expected")
    assert set(statuses(joblist).values()) == {"todo"}
    assert not (joblist / ".claims" / "workers").exists()


@pytest.mark.parametrize("grace", ["nan", "-nan", "inf", "-1", "86401", "soon"])
def test_a_grace_that_is_no_time_is_refused(joblist: Path, grace: str) -> None:
    done = run("transfer-worker", "-i", joblist, "--time-limit=1h", f"--grace={grace}")
    assert_one_line_error(done, 2, "--grace", grace)
    assert set(statuses(joblist).values()) == {"todo"}
    done = run("jobtool", "sbatch", joblist, "--time=01:00:00", f"--grace={grace}")
    assert_one_line_error(done, 2, "--grace", grace)


def test_slurms_end_is_known_from_the_environment(joblist: Path) -> None:
    env = {"SLURM_JOB_END_TIME": str(int(time.time()) + 100)}
    done = run("transfer-worker", "-i", joblist, "--grace", 200, env=env)
    assert done.exit_code == 3
    assert "left (SLURM_JOB_END_TIME)" in done.stdout
    assert run("transfer-worker", "-i", joblist, env=env).exit_code == 0  # a quarter of the time
