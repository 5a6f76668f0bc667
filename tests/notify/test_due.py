"""Which notices are due, by a clock of the test's: stalls, days, lists without workers."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jobtool.events import Event
from jobtool.jobs.joblist import JobList
from jobtool.jobs.workerstates import StateFile, WorkerState
from jobtool.notify.channels import channels_of
from jobtool.notify.due import day_of, due_now
from jobtool.notify.look import look_at
from jobtool.notify.markers import Markers
from jobtool.notify.telling import Teller
from jobtool.notify.watching import Watcher
from jobtool.worker.environment import Environment
from jobtool.worker.events import JobClaimed, JobFailed, JobProgress
from tests.commands import run, run_ok
from tests.notify.places import break_job, make_joblist, occasions, recorded, recorder
from tests.prepare import prepare
from tests.trees import make_items, statuses

HOUR = 3600.0


class Clock:
    """A time that the test sets. Files have times of their own: the past is a future clock."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


def tell_due(joblist: Path, clock: Callable[[], float]) -> None:
    """What ``jobtool notify`` does, at another time."""
    opened = JobList.open(str(joblist))
    markers = Markers(opened.claims_path, host="here", pid=os.getpid(), now=clock)
    teller = Teller(channels_of(opened.settings.notify), markers)
    for due in due_now(look_at(opened, clock), opened.settings.notify, markers):
        teller.tell(due.occasion, due.write, again=True)
    for path in (joblist / ".claims" / "notices").glob("*"):  # as old as the clock says
        if path.stat().st_mtime > clock() or clock() > time.time():
            age = clock() if path.stat().st_mtime > time.time() - 60 else path.stat().st_mtime
            os.utime(path, (age, age))


def hold(joblist: Path, job: str) -> None:
    """Make a job ongoing, held by this process."""
    path = joblist / f"{job}.txt"
    text = path.read_text().replace("todo", "ongoing", 1)
    now = datetime.now().astimezone().strftime("%Y-%m-%dT%H:%M:%S+00:00").replace("+00:00", "Z")
    path.write_text(f"{text}{now} claimed worker={host()}:{os.getpid()} attempt=1\n")
    (joblist / ".claims" / "workers").mkdir(exist_ok=True)
    (joblist / ".claims" / "workers" / f"{host()}-{os.getpid()}-aaa-lock.lease").touch()


def host() -> str:
    return socket.gethostname().partition(".")[0]


def write_state(joblist: Path, clock: Clock, *, still: float) -> None:
    """The state of this process, which last moved a byte ``still`` seconds ago."""
    name = f"{host()}-{os.getpid()}-aaa-lock"
    state = WorkerState(
        worker=f"{host()}:{os.getpid()}",
        started=clock() - 10 * HOUR,
        written=clock(),
        period_seconds=5,
        state="working",
        job="item000",
        job_id="item000",
        moved=clock() - still,
    )
    StateFile(str(joblist / ".claims"), name).write(state)
    for path in (joblist / ".claims" / "states" / name, joblist / ".claims" / "workers"):
        os.utime(path, (clock(), clock()))
    for path in (joblist / ".claims" / "workers").glob("*"):
        os.utime(path, (clock(), clock()))


def test_a_list_that_stands_still_is_told_once_and_again_after_it_moved(tmp_path: Path) -> None:
    joblist = make_joblist(tmp_path, f'[notify]\ncommand = "{recorder(tmp_path)}"')
    clock = Clock()
    hold(joblist, "item000")
    write_state(joblist, clock, still=29 * 60)
    tell_due(joblist, clock)
    assert occasions(tmp_path) == []
    clock.now += 120
    write_state(joblist, clock, still=31 * 60)
    tell_due(joblist, clock)
    tell_due(joblist, clock)
    (told,) = recorded(tmp_path)
    assert told["occasion"] == "stall"
    assert "No byte has moved for 31 min, though 1 job is ongoing:\n  item000" in told["text"]
    clock.now += HOUR
    write_state(joblist, clock, still=31 * 60 + HOUR)
    tell_due(joblist, clock)
    assert len(recorded(tmp_path)) == 1, "the same stall"
    clock.now += HOUR
    write_state(joblist, clock, still=35 * 60)
    tell_due(joblist, clock)
    assert occasions(tmp_path) == ["stall", "stall"], "it has moved in between"


def test_work_without_workers_is_told_once_for_each_time_that_it_is_left(tmp_path: Path) -> None:
    joblist = make_joblist(tmp_path, f'[notify]\ncommand = "{recorder(tmp_path)}"')
    clock = Clock()
    tell_due(joblist, clock)
    assert recorded(tmp_path) == []
    clock.now += HOUR
    tell_due(joblist, clock)
    clock.now += HOUR
    tell_due(joblist, clock)
    (told,) = recorded(tmp_path)
    assert (told["occasion"], told["todo"]) == ("no-worker", 3)
    assert told["next"] == f"transfer-worker -i {joblist}"
    assert run("transfer-worker", "-i", joblist, "--max-jobs", 1).exit_code == 3
    workers = joblist / ".claims" / "workers"
    os.utime(workers, (clock() + 60, clock() + 60))  # it came and went in that hour
    clock.now += 2 * HOUR
    tell_due(joblist, clock)
    assert occasions(tmp_path) == ["no-worker", "no-worker"]


def test_each_day_is_told_once_from_the_first_morning_on_as_long_as_work_is_left(
    tmp_path: Path,
) -> None:
    notify = f'[notify]\non = ["daily"]\ndaily_at = "08:00"\ncommand = "{recorder(tmp_path)}"'
    joblist = make_joblist(tmp_path, notify)
    clock = Clock()
    made = datetime.fromtimestamp(clock()).replace(hour=12, minute=0, second=0, microsecond=0)
    os.utime(joblist / "joblist.toml", (made.timestamp(), made.timestamp()))

    def at(day: int, hour: int) -> None:
        clock.now = (made + timedelta(days=day, hours=hour - 12)).timestamp()
        tell_due(joblist, clock)

    at(0, 13)
    assert recorded(tmp_path) == [], "the list was made after eight"
    at(1, 7)
    assert recorded(tmp_path) == []
    at(1, 8)
    at(1, 20)
    at(2, 9)
    assert [told["title"] for told in recorded(tmp_path)] == ["list: 0 of 3 jobs done"] * 2
    run_ok("transfer-worker", "-i", joblist, "-v", 0)
    at(3, 9)
    assert len(recorded(tmp_path)) == 2, "nothing is left"


def test_the_last_time_of_day_is_never_in_the_future() -> None:
    noon = datetime(2026, 3, 29, 12, 0).timestamp()
    assert day_of(noon, 8 * 60) == datetime(2026, 3, 29, 8, 0)
    assert day_of(noon, 12 * 60) == datetime(2026, 3, 29, 12, 0)
    assert day_of(noon, 12 * 60 + 1) == datetime(2026, 3, 28, 12, 1)


def test_a_finish_is_told_again_only_after_more_work(tmp_path: Path) -> None:
    joblist = make_joblist(
        tmp_path, f'[notify]\non = ["finish", "first-error"]\ncommand = "{recorder(tmp_path)}"'
    )
    break_job(tmp_path)
    clock = Clock()
    assert run("transfer-worker", "-i", joblist).exit_code == 1
    assert occasions(tmp_path) == ["finish", "first-error"]
    assert run("transfer-worker", "-i", joblist).exit_code == 1
    tell_due(joblist, clock)
    assert len(recorded(tmp_path)) == 2, "nothing new"
    finish = recorded(tmp_path)[-1]
    assert finish["title"] == "list has ended with 1 job in error"
    assert finish["next"].startswith(f"jobtool retry {joblist} && transfer-worker")
    run_ok("jobtool", "retry", joblist)
    assert run("transfer-worker", "-i", joblist).exit_code == 1
    assert occasions(tmp_path) == ["finish", "finish", "first-error", "first-error"]
    (tmp_path / "in" / "item001" / "loop").unlink()
    run_ok("jobtool", "retry", joblist)
    run_ok("transfer-worker", "-i", joblist, "-v", 0)
    make_items(tmp_path / "in", 4)
    prepare("generate-joblist", "-i", tmp_path / "in", "-o", joblist, "-d", tmp_path / "out",
           "-l", "tree", "-v", 0)  # fmt: skip
    run_ok("transfer-worker", "-i", joblist, "-v", 0)
    titles = [told["title"] for told in recorded(tmp_path)]
    assert titles[-2:] == ["list is done"] * 2, titles
    assert set(statuses(joblist).values()) == {"success"}
    tell_due(joblist, clock)
    assert len(recorded(tmp_path)) == 6


class Ticks:
    """A monotonic clock of the test's."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def watched(tmp_path: Path) -> tuple[Watcher, Ticks, Clock, list[Event]]:
    """A watcher without its thread: the test looks."""
    joblist = make_joblist(
        tmp_path,
        f'[notify]\non = ["stall", "daily"]\nstall_minutes = 10\ncommand = "{recorder(tmp_path)}"',
    )
    ticks, clock, emitted = Ticks(), Clock(), list[Event]()
    environment = Environment(host=host(), pid=os.getpid())
    opened = JobList.open(str(joblist))
    watcher = Watcher(opened, environment, emitted.append, now=clock, monotonic=ticks)
    return watcher, ticks, clock, emitted


def progress(sent: int) -> JobProgress:
    counts: dict[str, Any] = dict.fromkeys(
        ("files_done", "files_total", "bytes_done", "bytes_total", "files_sent"), 1
    )
    return JobProgress(job="item000", bytes_sent=sent, rate_mb_s=0.0, **counts)


def test_a_worker_tells_that_nothing_moves_whatever_its_jobs_thread_does(
    tmp_path: Path, watched: tuple[Watcher, Ticks, Clock, list[Event]]
) -> None:
    watcher, ticks, clock, emitted = watched
    joblist = tmp_path / "list"
    ticks.seconds = 7000
    watcher.look()
    assert recorded(tmp_path) == [], "it has no job"
    watcher.observe(JobClaimed(job="item000", stem="item000", status="todo", attempt=1))
    watcher.progress(progress(5))
    ticks.seconds += 599
    watcher.progress(progress(5))
    watcher.look()
    assert recorded(tmp_path) == []
    ticks.seconds += 2
    hold(joblist, "item000")
    write_state(joblist, clock, still=60)
    watcher.look()
    assert recorded(tmp_path) == [], "another worker moves bytes"
    write_state(joblist, clock, still=900)
    ticks.seconds += 539
    watcher.look()
    assert recorded(tmp_path) == [], "it needn't look before all can have stood still so long"
    ticks.seconds += 2
    watcher.look()
    watcher.look()
    assert occasions(tmp_path) == ["stall"]
    assert [event.kind for event in emitted] == ["notice-sent"]
    watcher.progress(progress(6))
    watcher.look()
    assert occasions(tmp_path) == ["stall"]


def test_a_worker_whose_jobs_all_fail_asks_once_a_minute_whether_that_was_told(
    tmp_path: Path,
) -> None:
    joblist = make_joblist(tmp_path, f'[notify]\ncommand = "{recorder(tmp_path)}"')
    ticks, environment = Ticks(), Environment(host=host(), pid=os.getpid())
    opened = JobList.open(str(joblist))
    watcher = Watcher(opened, environment, lambda event: None, monotonic=ticks)
    for seconds in (0, 1, 59, 60, 61):
        ticks.seconds = seconds
        watcher.observe(
            JobFailed(job="item000", reason="no", failed_files=1, will_be_tried_again=False)
        )
    assert watcher._tasks.qsize() == 2  # the thread, which would ask, isn't started


def test_a_worker_tells_each_day_from_the_next_morning_on(
    tmp_path: Path, watched: tuple[Watcher, Ticks, Clock, list[Event]]
) -> None:
    watcher, _, clock, _ = watched
    watcher.observe(JobClaimed(job="item000", stem="item000", status="todo", attempt=1))
    watcher.look()
    assert recorded(tmp_path) == []
    for _ in range(3):
        clock.now += 24 * HOUR
        watcher.look()
        watcher.look()
    assert occasions(tmp_path) == ["daily"] * 3


def test_a_joblist_that_can_not_be_written_tells_that_and_sends_nothing(tmp_path: Path) -> None:
    joblist = make_joblist(tmp_path, f'[notify]\ncommand = "{recorder(tmp_path)}"')
    run_ok("transfer-worker", "-i", joblist, "-v", 0)
    for path in (joblist / ".claims" / "notices").glob("*"):
        path.unlink()
    (joblist / ".claims" / "notices").rmdir()
    (joblist / ".claims" / "notices").write_text("in the way")
    done = run("jobtool", "notify", joblist)
    assert done.exit_code == 4
    assert "can't write in the joblist" in done.stdout
    assert len(recorded(tmp_path)) == 1
