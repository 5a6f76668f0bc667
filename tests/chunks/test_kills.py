"""Killed at any moment, a transfer goes on, and what arrives is what was sent."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.chunks.functions import leftovers, wait_until_sent
from tests.chunks.victim import CHUNKSIZE
from tests.commands import finish, start_module

MODES = ["merge", "place", "merge+verify", "place+verify"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    sizes = {"large": 25 * CHUNKSIZE + 7, "with a space, ü%#": 3 * CHUNKSIZE, "empty": 0, "one": 1}
    for name, size in sizes.items():
        (tmp_path / "in" / name).write_bytes(os.urandom(size))
    return tmp_path


def run(folder: Path, mode: str, kind: str = "none", death: str = "-"):
    return start_module("tests.chunks.victim", str(folder), mode, kind, death)


def require_arrived(folder: Path) -> None:
    for path in (folder / "in").iterdir():
        assert (folder / "out" / path.name).read_bytes() == path.read_bytes(), path.name
    assert leftovers(folder / "out") == []


def sent(folder: Path) -> Counter[str]:
    found = Counter((folder / "sent").read_text().splitlines())
    (folder / "sent").unlink()
    return found


@pytest.mark.parametrize("kind", ["none", "fsspec"])
@pytest.mark.parametrize("mode", MODES)
def test_random_kills_lose_nothing(folder: Path, mode: str, kind: str) -> None:
    randomness = random.Random(f"{mode} {kind}")
    kills = 0
    for _ in range(100):
        process = run(folder, mode, kind)
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        if kills < int(os.environ.get("JOBTOOL_CHUNKS_KILLS", "3")):
            wait_until_sent(folder, randomness.randrange(6 * (kills + 1)), process)
            time.sleep(randomness.uniform(0, 0.01))
            process.send_signal(signal.SIGKILL)
        done = finish(process)
        if done.exit_code == 0:
            assert done.stdout == "True\n"
            break
        assert done.exit_code == -signal.SIGKILL, done
        kills += 1
    assert kills
    require_arrived(folder)
    # Each kill costs at most the chunks under way and those that weren't recorded yet.
    large = [count for what, count in sent(folder).items() if what.startswith("large ")]
    assert len(large) == 26
    assert finish(run(folder, mode, kind)).stdout == "begun\nTrue\n"
    assert not (folder / "sent").exists()


@pytest.mark.parametrize("mode", MODES)
def test_half_a_chunk_is_sent_again_and_whole_ones_are_not(folder: Path, mode: str) -> None:
    assert finish(run(folder, mode, death="half a chunk")).exit_code == -signal.SIGKILL
    before = sent(folder)
    assert finish(run(folder, mode)).exit_code == 0
    require_arrived(folder)
    again = sent(folder) & before
    assert f"large {5 * CHUNKSIZE}" in again
    # Four threads: the chunks that were under way, and one for each thread not recorded yet.
    assert sum(count for what, count in again.items() if what.startswith("large ")) <= 8


@pytest.mark.parametrize("death", ["half a merge", "after a merge"])
@pytest.mark.parametrize("mode", ["merge", "merge+verify"])
def test_a_kill_around_a_merge(folder: Path, mode: str, death: str) -> None:
    for path in (folder / "in").iterdir():
        if path.name != "large":
            path.unlink()
    assert finish(run(folder, mode, death=death)).exit_code == -signal.SIGKILL
    assert '"finished":false' in (folder / "state").read_text()
    before = sent(folder)
    assert len(before) == 26
    assert finish(run(folder, mode)).exit_code == 0
    require_arrived(folder)
    if (mode, death) == ("merge+verify", "after a merge"):
        # The temporary files are gone, but verify finds every chunk at the destination.
        assert not (folder / "sent").exists()
    elif death == "after a merge":
        assert len(sent(folder)) == 26
    else:  # the three that the merge had removed
        assert len(sent(folder)) == 3


def test_what_was_truncated_is_not_taken_for_finished(folder: Path) -> None:
    """The resume that corrupts: a truncated file whose finished chunks are skipped."""
    for path in (folder / "in").iterdir():
        if path.name != "large":
            path.unlink()
    assert finish(run(folder, "place", death="half a chunk")).exit_code == -signal.SIGKILL
    assert '"chunks":[[0,' in (folder / "state").read_text()
    os.truncate(folder / "out" / "large", 0)
    # The next run is killed when a late chunk has made the file long, and the first are holes.
    assert finish(run(folder, "place", death="long after a hole")).exit_code == -signal.SIGKILL
    assert (folder / "out" / "large").stat().st_size >= 9 * CHUNKSIZE
    assert finish(run(folder, "place")).exit_code == 0
    require_arrived(folder)


def test_a_second_process_with_the_state_file_is_refused(folder: Path) -> None:
    first = run(folder, "place")
    while not (folder / "sent").exists():
        time.sleep(0.005)
    first.send_signal(signal.SIGSTOP)
    try:
        second = finish(run(folder, "place"))
    finally:
        first.send_signal(signal.SIGCONT)
    assert second.exit_code == 1
    assert second.stderr.splitlines()[-1].startswith("jobtool.chunks.errors.StateFileError: ")
    assert "another run uses it" in second.stderr
    assert finish(first).stdout == "begun\nTrue\n"
    require_arrived(folder)


@pytest.mark.parametrize("mode", MODES)
def test_control_c_writes_the_state_and_the_next_run_goes_on(folder: Path, mode: str) -> None:
    process = run(folder, mode)
    while not (folder / "sent").exists() or len((folder / "sent").read_text().split("\n")) < 12:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    done = finish(process)
    assert (done.exit_code, done.stdout, done.stderr) == (0, "begun\ninterrupted\n", "")
    before = sent(folder)
    assert finish(run(folder, mode)).exit_code == 0
    require_arrived(folder)
    assert not sent(folder) & before
