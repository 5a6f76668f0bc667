"""A joblist that others change while it is looked at: what is seen is what is there."""

from __future__ import annotations

import os
import random
import shutil
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobtool.errors import JoblistUnavailableError
from jobtool.jobs.job import JobStatus
from jobtool.jobs.joblist import JobList
from jobtool.jobs.workerstates import StateFile, WorkerState
from jobtool.report.live import LiveJoblist
from jobtool.report.overview import overview_of
from tests.report.lists import estimate_of, make_joblist

LOG = "2026-11-20T14:31:00Z claimed worker=node017:4711 rank=3 attempt=1\n"


class World:
    """A joblist and a reader of it. Times of files and of the reader are set by hand."""

    def __init__(self, folder: Path, jobs: int = 10) -> None:
        self.folder = make_joblist(folder, jobs)
        self.joblist = JobList.open(str(folder))
        self.live = LiveJoblist(self.joblist)

    def job(self, number: int) -> Path:
        return self.folder / f"job{number}.txt"

    def write(self, number: int, status: str, log: str = "") -> None:
        text = f"{status}\nsource: /in/{number}\nfield.batch: J{number % 3}\n---\n{log}"
        self.job(number).write_text(text)

    def replace(self, number: int, status: str, log: str = "") -> None:
        """As workers do it."""
        path = self.job(number)
        text = f"{status}\nsource: /in/{number}\n---\n{log}"
        temporary = self.folder / f".{path.name}.0123456789ab.tmp"
        temporary.write_text(text)
        if path.is_dir():
            shutil.rmtree(path)
        os.rename(temporary, path)

    def check(self) -> None:
        """Everything that was kept from earlier looks is what one anew says."""
        anew = LiveJoblist(self.joblist)
        anew.look()
        assert self.live.lines == anew.lines
        for status in (*JobStatus, None):
            assert self.live.of_status(status) == anew.of_status(status)
        one, other = overview_of(self.live), overview_of(anew)
        assert (one.counts, one.values, one.causes) == (other.counts, other.values, other.causes)
        found = self.live.estimate()
        lines = self.live.lines.values()
        assert found == estimate_of(lines, self.live.states, found.rate_mean)
        assert one.total == len(lines)


EDITS = st.lists(
    st.tuples(
        st.integers(0, 5),
        st.sampled_from(
            [
                *("write", "replace", "append", "remove", "torn", "folder", "link", "pipe"),
                *("look", "list-gone", "list-back", "toml-gone"),
            ]
        ),
        st.sampled_from(["todo", "ongoing", "error", "success", "Done"]),
    ),
    max_size=25,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=EDITS)
def test_whatever_is_done_to_a_joblist_is_seen(
    edits: list[tuple[int, str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    world = World(tmp_path_factory.mktemp("live") / "list", 4)
    away = world.folder.with_name("away")
    world.live.look()
    for number, edit, status in edits:
        if away.exists() and edit not in ("look", "list-back"):
            continue
        path = world.job(number)
        if edit == "look":
            world.live.look()
            overview_of(world.live)
        elif edit == "list-gone":
            world.folder.rename(away)
        elif edit == "list-back":
            if away.exists():
                away.rename(world.folder)
        elif edit == "toml-gone":
            (world.folder / "joblist.toml").unlink(missing_ok=True)
        elif edit == "replace":
            world.replace(number, status, LOG if status != "todo" else "")
        else:
            _change(world, path, number, edit, status)
    if away.exists():
        world.live.look()
        assert "expected the joblist still at" in world.live.trouble
        assert overview_of(world.live).trouble
        away.rename(world.folder)
    world.live.look()
    world.live.look()  # all have had their turn
    assert world.live.trouble == ""
    world.check()


def _change(world: World, path: Path, number: int, edit: str, status: str) -> None:
    if edit == "append" and path.is_file():
        with path.open("a") as file:
            file.write(LOG)
        return
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    elif edit != "write":
        path.unlink(missing_ok=True)
    if edit == "write":
        if path.is_symlink() or (path.exists() and not path.is_file()):
            path.unlink()
        world.write(number, status, LOG)
    elif edit == "torn":
        path.write_text(f"{status}\nsource: /in/to")
    elif edit == "folder":
        path.mkdir()
    elif edit == "link":
        path.symlink_to("nowhere")
    elif edit == "pipe":
        os.mkfifo(path)


def test_a_storm_of_changes_breaks_no_look(tmp_path: Path) -> None:
    world, chance = World(tmp_path / "list", 40), random.Random(7)
    world.live.look()
    pid = os.fork()
    if not pid:  # another process changes the joblist meanwhile
        try:
            end = time.monotonic() + 2
            while time.monotonic() < end:
                number = chance.randrange(30)
                status = chance.choice(["todo", "ongoing", "error", "success", "Done"])
                if world.job(number).exists() and chance.random() < 0.3:
                    world.job(number).unlink()
                elif chance.random() < 0.5:
                    world.replace(number, status, LOG)
                else:
                    world.write(number, status, LOG)
            os._exit(0)
        except BaseException:
            os._exit(1)
    looks = 0
    while not (ended := os.waitpid(pid, os.WNOHANG))[0]:
        world.live.look(0.01)
        assert overview_of(world.live).total == len(world.live.lines)
        looks += 1
    assert (ended[1], looks > 3) == (0, True)
    world.live.look()
    world.live.look()
    world.check()


def test_unchanged_files_are_not_read_again(tmp_path: Path, monkeypatch) -> None:
    from jobtool.report import live

    world = World(tmp_path / "list", 50)
    for path in world.folder.iterdir():
        os.utime(path, (1e9, 1e9))
    read: list[str] = []
    real = live.marked_line

    def noted(joblist: JobList, job_id: str):
        read.append(job_id)
        return real(joblist, job_id)

    monkeypatch.setattr(live, "marked_line", noted)
    world.live.look()
    assert len(read) == 50
    read.clear()
    world.live.look()
    assert read == []
    world.replace(3, "ongoing", LOG)
    world.live.look()
    assert read == ["job3"]


def test_a_first_look_may_be_cut_short_and_goes_on(tmp_path: Path) -> None:
    world = World(tmp_path / "list", 30)
    world.live.look(0.0)
    assert world.live.unread > 0
    assert overview_of(world.live).unread == world.live.unread
    seen = [world.live.unread]
    while world.live.unread:
        world.live.look(0.002)
        seen.append(world.live.unread)
        assert len(seen) < 1000
    world.check()


def test_a_joblist_that_was_never_there_is_an_error(tmp_path: Path) -> None:
    world = World(tmp_path / "list", 1)
    shutil.rmtree(world.folder)
    with pytest.raises(JoblistUnavailableError):
        world.live.look()


def test_what_workers_tell_is_fresher_than_logs(tmp_path: Path) -> None:
    world = World(tmp_path / "list", 0)
    world.write(1, "ongoing", LOG)
    worker = f"node017-{4711}-abcdef.lock"
    workers = world.folder / ".claims" / "workers"
    workers.mkdir(parents=True)
    (workers / f"{worker}.lease").touch()
    moment = time.time()
    state = WorkerState(
        worker="node017:4711",
        started=moment,
        written=moment,
        period_seconds=5.0,
        state="working",
        job="job1",
        job_id="job1",
        files_done=1,
        files_total=4,
        bytes_done=10,
        bytes_total=40,
        bytes_per_second=3.0,
    )
    file = StateFile(world.joblist.claims_path, worker)
    file.write(state)
    world.live.look()
    found = world.live.estimate()
    assert (found.bytes_done, found.bytes_total, found.seconds_left) == (10, 40, 10.0)
    assert [seen.state.worker for seen in world.live.states] == ["node017:4711"]
    (workers / f"{worker}.lease").unlink()  # it was killed, and another has removed its marker
    world.live.look()
    assert (world.live.states, world.live.estimate().bytes_total) == ([], None)
    [job] = world.live.of_status(JobStatus.ONGOING)
    assert job.is_abandoned
