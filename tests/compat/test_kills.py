"""A transfer by filesystem objects that is killed and called again goes on, and loses nothing."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.commands import Done, finish, start_module
from tests.trees import contents, write

COUNT = 12


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(COUNT):
        write(tmp_path / "in" / f"file {number:02} ü%#", bytes([number]) * 100_000)
    return tmp_path


def run(folder: Path, death: str = "-") -> Done:
    return finish(start_module("tests.compat.victim", str(folder), death))


def begun(folder: Path) -> int:
    """How many files were begun since the last look."""
    count = len((folder / "begun").read_text().splitlines())
    (folder / "begun").unlink()
    return count


def test_a_killed_transfer_goes_on_and_sends_nothing_again(folder: Path) -> None:
    moves = (3, 4)
    for number in moves:
        assert run(folder, str(number)).exit_code == -signal.SIGKILL
        begun(folder)
    there = [path for path in (folder / "out").iterdir() if not path.name.startswith(".")]
    assert len(there) == sum(moves)
    assert run(folder) == Done(0, "True\n", "")
    assert begun(folder) == COUNT - sum(moves)
    assert contents(folder / "out") == contents(folder / "in")
    assert run(folder).stdout == "True\n"
    assert not (folder / "begun").exists()


def test_a_call_after_a_finished_one_sends_what_has_changed(folder: Path) -> None:
    assert run(folder).stdout == "True\n"
    assert begun(folder) == COUNT
    changed = write(folder / "in" / "file 03 ü%#", b"changed")
    assert run(folder).stdout == "True\n"
    assert begun(folder) == 1
    assert (folder / "out" / changed.name).read_bytes() == b"changed"
