"""Each worker tells what it does in a small file, and removes it at its end."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from jobtool.events import Amount, Event
from jobtool.jobs.workerstates import (
    ENDING,
    HELPING,
    IDLE,
    PAUSED,
    STATES_FOLDER,
    WORKING,
    StateFile,
    StateReader,
    WorkerState,
)
from jobtool.worker.environment import Environment
from jobtool.worker.events import (
    Helped,
    JobClaimed,
    JobFailed,
    JobHandedBack,
    JobListed,
    JobPhase,
    JobProgress,
    JobSucceeded,
    WorkerPaused,
    WorkerResumed,
)
from jobtool.worker.ownstate import OwnState
from tests.commands import finish, run_ok, start
from tests.prepare import prepare

MB = 10**6


class World:
    """A worker's state with clocks that stand still."""

    def __init__(self, tmp_path: Path) -> None:
        self.at, self.is_ending = 1000.0, False
        self.told: list[Event] = []
        self.own = OwnState(
            StateFile(str(tmp_path), "node1-17-ab.lock"),
            Environment(host="node1", pid=17, rank=3),
            lambda: self.is_ending,
            lambda: self.at,
            lambda: self.at,
        )
        self.emit = self.own.observed(self.told.append)

    def progress(self, *, sent: int, done: int | None = None) -> None:
        self.own.progress(
            JobProgress(
                job="a job",
                files_done=1,
                files_total=9,
                bytes_done=sent if done is None else done,
                bytes_total=90 * MB,
                files_sent=1,
                bytes_sent=sent,
                rate_mb_s=1.0,
            )
        )

    @property
    def state(self) -> WorkerState:
        return self.own.state()


def claimed(job: str) -> JobClaimed:
    return JobClaimed(job=job, stem=f"{job}%", status="todo", attempt=1)


def test_a_job_is_followed_from_its_claim_to_its_end(tmp_path: Path) -> None:
    world = World(tmp_path)
    idle = world.state
    assert (idle.worker, idle.rank, idle.started, idle.state) == ("node1:17", 3, 1000.0, IDLE)
    assert (idle.job, idle.moved, idle.bytes_per_second) == (None, None, None)

    world.emit(claimed("a job"))
    world.emit(JobPhase(job="a job", phase="listing"))
    state = world.state
    assert (state.state, state.job, state.job_id) == (WORKING, "a job", "a job%")
    assert (state.phase, state.bytes_total) == ("listing", None)
    world.emit(JobListed(job="a job", files=9, bytes=90 * MB, files_done=1, bytes_done=10 * MB))
    state = world.state
    assert (state.files_total, state.bytes_done, state.moved) == (9, 10 * MB, None)

    world.at += 10
    world.progress(sent=30 * MB, done=40 * MB)
    state = world.state
    assert (state.bytes_sent, state.bytes_done, state.moved) == (30 * MB, 40 * MB, 1010.0)
    assert state.bytes_per_second == 3 * MB
    world.at += 40
    world.progress(sent=30 * MB, done=40 * MB)
    world.at += 40
    assert (world.state.moved, world.state.bytes_per_second) == (1010.0, 0.0)

    world.emit(JobSucceeded(job="a job", files=9, bytes=90 * MB, seconds=90.0))
    state = world.state
    assert (state.state, state.job, state.phase, state.jobs_done) == (IDLE, None, "", 1)
    assert state.bytes_sent == 30 * MB
    assert len(world.told) == 4


def test_the_bytes_of_all_jobs_are_added_up(tmp_path: Path) -> None:
    world = World(tmp_path)
    for sent in (20, 50):
        world.emit(claimed("a job"))
        world.progress(sent=sent * MB)
        world.emit(JobHandedBack(job="a job", reason="tired"))
    world.emit(claimed("a job"))
    world.progress(sent=5 * MB)
    world.progress(sent=2 * MB)  # its next step
    for again in (True, False):
        world.emit(JobFailed(job="x", reason="y", failed_files=1, will_be_tried_again=again))
    assert (world.state.bytes_sent, world.state.jobs_done) == (77 * MB, 1)


def test_the_word_for_what_a_worker_does(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.emit(Helped(stem="other", block=1, bytes=5))
    assert (world.state.state, world.state.phase, world.state.moved) == (WORKING, HELPING, 1000.0)
    world.own.idle()
    world.emit(WorkerPaused(by="ann", host="node1", since="2026-11-20T14:31:00Z", path="/l"))
    assert (world.state.state, world.state.phase) == (PAUSED, "")
    world.emit(claimed("a job"))
    assert world.state.state == WORKING  # it still finishes its files
    world.is_ending = True
    assert world.state.state == ENDING
    world.is_ending = False
    world.own.idle()
    world.emit(WorkerResumed(seconds=5.0))
    assert world.state.state == IDLE


class Faulty(Event, frozen=True, kw_only=True):
    """An event of a plug-in with a bug."""

    def amount(self) -> Amount:
        raise TypeError("a bug")


def test_an_event_of_a_plug_in_that_raises_fails_nothing_and_is_told(tmp_path: Path) -> None:
    world = World(tmp_path)
    with pytest.warns(RuntimeWarning, match="a bug"):
        world.emit(Faulty())
    world.emit(claimed("a job"))
    assert [type(event) for event in world.told] == [Faulty, JobClaimed]
    assert world.state.state == WORKING


def test_a_worker_that_may_start_no_thread_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with World(tmp_path).own as own:
        own.observe(claimed("a job"))


def test_the_first_job_and_a_pause_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "workers").mkdir()
    (tmp_path / STATES_FOLDER).mkdir()
    world = World(tmp_path)
    (tmp_path / "workers" / "node1-17-ab.lock").touch()
    until = time.monotonic() + 60

    def wait_for(word: str) -> None:
        while not any(f'"{word}"' in path.read_text() for path in told.glob("[!.]*")):
            assert time.monotonic() < until
            time.sleep(0.01)

    told = tmp_path / STATES_FOLDER
    world.own._environment = Environment(host="node1", pid=17, rank=10**6)  # its turn never comes
    with world.own:
        world.emit(claimed("a job"))
        world.emit(JobListed(job="a job", files=9, bytes=9, files_done=0, bytes_done=0))
        wait_for(WORKING)
        world.emit(JobHandedBack(job="a job", reason="paused"))
        world.emit(WorkerPaused(by="ann", host="node1", since="2026-11-20T14:31:00Z", path="/l"))
        wait_for(PAUSED)
        world.emit(WorkerResumed(seconds=5.0))
        wait_for(IDLE)
    assert list(told.iterdir()) == []


def test_a_running_worker_shows_its_state_and_removes_it_at_its_end(tmp_path: Path) -> None:
    source, joblist = tmp_path / "source", tmp_path / "list"
    (source / "a job").mkdir(parents=True)
    (source / "a job" / "file").write_bytes(bytes(24 * MB))
    prepare(
        *("generate-joblist", "-i", source, "-o", joblist),
        *("-d", tmp_path / "out", "-l", "tree"),
    )
    worker = start("transfer-worker", "-i", joblist, "--bandwidth", "4MB/s")
    claims = joblist / ".claims"
    reader = StateReader(str(claims))
    seen: list[WorkerState] = []
    while worker.poll() is None and not any(state.bytes_done for state in seen):
        seen += [found.state for found in reader.read()]
        time.sleep(0.1)
    done = finish(worker)
    assert done.exit_code == 0, done
    last = seen[-1]
    assert (last.state, last.job, last.bytes_total) == (WORKING, "a job", 24 * MB)
    assert last.worker.endswith(f":{worker.pid}")
    assert last.moved is not None
    assert list((claims / STATES_FOLDER).iterdir()) == []


def test_a_worker_whose_state_cannot_be_written_works(tmp_path: Path) -> None:
    source, joblist = tmp_path / "source", tmp_path / "list"
    (source / "a job").mkdir(parents=True)
    (source / "a job" / "file").write_bytes(b"data")
    prepare(
        *("generate-joblist", "-i", source, "-o", joblist),
        *("-d", tmp_path / "out", "-l", "tree"),
    )
    (joblist / ".claims" / STATES_FOLDER).write_text("a file in its place")
    run_ok("transfer-worker", "-i", joblist)
    assert (tmp_path / "out" / "a job" / "file").read_bytes() == b"data"
