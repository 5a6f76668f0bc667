"""The states of workers: an exact codec, and a reader that nothing in the folder can stop."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool.jobs.workerstates import (
    STATES_FOLDER,
    StateFile,
    StateReader,
    WorkerState,
    decode,
    encode,
)

NAMES = st.none() | st.binary(min_size=1, max_size=40).map(os.fsdecode)
COUNTS = st.none() | st.integers(0, 10**15)


def state(**values: object) -> WorkerState:
    common = {"worker": "node1:17", "started": 1e9, "written": 1e9 + 60, "period_seconds": 5.0}
    return msgspec.convert({**common, **values}, WorkerState)


@given(job=NAMES, job_id=NAMES, done=COUNTS, total=COUNTS, moved=st.none() | st.floats(0, 1e12))
def test_a_state_is_read_as_it_was_written(
    job: str | None, job_id: str | None, done: int | None, total: int | None, moved: float | None
) -> None:
    written = WorkerState(
        worker="node1:17",
        started=1.5,
        written=2.5,
        period_seconds=5.0,
        job=job,
        job_id=job_id,
        bytes_done=done,
        bytes_total=total,
        moved=moved,
    )
    assert decode(encode(written)) == written


@given(st.binary(max_size=200))
def test_other_bytes_are_no_state(data: bytes) -> None:
    assert decode(data) is None


@pytest.mark.parametrize(
    "values",
    [{"bytes_sent": -1}, {"bytes_done": 10**18}, {"written": -5.0}, {"job": '"no end'}, {"job": 3}],
)
def test_a_state_that_no_worker_writes_is_left_out(values: dict[str, object]) -> None:
    assert decode(msgspec.json.encode({**msgspec.to_builtins(state()), **values})) is None


def test_a_state_of_a_later_version_is_read() -> None:
    data = msgspec.json.encode({"format": 9, **msgspec.to_builtins(state()), "mood": "good"})
    assert decode(data) == state()


def test_a_reader_finds_what_workers_write_and_skips_all_else(tmp_path: Path) -> None:
    reader = StateReader(str(tmp_path))
    assert reader.read() == []
    first, second = (StateFile(str(tmp_path), f"node1-{pid}-ab.lock") for pid in (17, 18))
    first.write(state())
    second.write(state(worker="node1:18"))
    folder = tmp_path / STATES_FOLDER
    (folder / "torn").write_text('{"worker": "node')
    (folder / "huge").write_bytes(b" " * 10**6)
    (folder / "folder").mkdir()
    (folder / "dangling").symlink_to("nowhere")
    os.mkfifo(folder / "pipe")
    assert [seen.state.worker for seen in reader.read()] == ["node1:17", "node1:18"]

    first.write(state(jobs_done=5))
    second.remove()
    assert [seen.state.jobs_done for seen in reader.read()] == [5]
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["node1-17-ab.lock", "torn", "huge", "folder", "dangling", "pipe"]
    )


def test_ages_are_those_of_files_and_no_clocks_are_compared(tmp_path: Path) -> None:
    file = StateFile(str(tmp_path), "node1-17-ab.lock")
    file.write(state(moved=1e9 + 50))  # by the worker's clock 10 s before it was written
    path = tmp_path / STATES_FOLDER / "node1-17-ab.lock"
    os.utime(path, (5000, 5000))
    [seen] = StateReader(str(tmp_path), lambda: 5007.0).read()
    assert (seen.age_seconds, seen.still_seconds, seen.is_late) == (7.0, 17.0, False)
    [seen] = StateReader(str(tmp_path), lambda: 4000.0).read()  # the reader's clock is slow
    assert (seen.age_seconds, seen.still_seconds) == (0.0, 10.0)
    [seen] = StateReader(str(tmp_path), lambda: 5060.0).read()
    assert seen.is_late


def test_files_of_killed_workers_are_removed_and_no_others(tmp_path: Path) -> None:
    members = tmp_path / "workers"
    members.mkdir()
    files = {name: StateFile(str(tmp_path), name) for name in ("dead", "running", "fresh")}
    for file in files.values():
        file.write(state())
    folder = tmp_path / STATES_FOLDER
    (folder / ".dead.tmp").touch()
    for name in ("dead", ".dead.tmp", "running"):
        os.utime(folder / name, (5000, 5000))
    (members / "running.lease").touch()
    files["fresh"].remove_ended()
    assert sorted(path.name for path in folder.iterdir()) == ["fresh", "running"]


def test_a_state_that_cannot_be_written_is_left_out(tmp_path: Path) -> None:
    (tmp_path / STATES_FOLDER).write_text("a file in its place")
    file = StateFile(str(tmp_path), "node1-17-ab.lock")
    file.write(state())
    file.remove_ended()
    file.remove()
    assert file.count() == 1
    assert StateReader(str(tmp_path)).read() == []
