"""Which folders get attributes, in which order, and how errors are handled."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool.errors import RefusedError, SourceError
from jobtool.stop import Stop
from jobtool.stores.local import LocalStore
from jobtool.stores.memory import Memory, MemoryStore
from jobtool.stores.store import Entry, Special
from jobtool.testing.faults import Fault
from jobtool.testing.faulty_store import FaultyStore
from jobtool.transfer import folders
from jobtool.transfer.folders import folders_of, keep_folders
from jobtool.transfer.notes import Notes
from jobtool.transfer.plan import Plan, Route
from tests.trees import write

_paths = st.lists(st.sampled_from("a b c".split()), min_size=1, max_size=4).map("/".join)


def plan_of(route: Route, files: list[str], empty: list[str]) -> Plan:
    plan = Plan()
    plan.start_route(route)
    plan.is_tree = True
    for path in files:
        plan.add(Entry(path, 1, 1))
    for path in empty:
        plan.add_special(Special(path, "empty-folder"))
    return plan


@given(files=st.sets(_paths), empty=st.sets(_paths))
def test_every_folder_comes_once_after_all_that_lie_in_it(files, empty) -> None:
    store = MemoryStore(Memory(), "memory://x")
    files = sorted((f"{path}/file" for path in files), key=str.encode)
    found = [*folders_of(plan_of(Route(store, store), files, sorted(empty)))]
    above = {*files, *(f"{path}/x" for path in empty), "root"}
    expected = {path.rpartition("/")[0] for path in above}
    while more := {path.rpartition("/")[0] for path in expected} - expected:
        expected |= more
    assert sorted(found) == sorted(expected)
    for index, folder in enumerate(found):
        inside = folder + "/" if folder else ""
        assert all(not later.startswith(inside) for later in found[index + 1 :])


def trees(tmp_path: Path) -> tuple[LocalStore, LocalStore, list[str]]:
    """A source with folders of many modes, its copy before the folders are finished, its files."""
    source, destination = tmp_path / "in", tmp_path / "out"
    names = [f"{number:02d}/below/file" for number in range(40)]
    for name in names:
        write(source / name)
        write(destination / name)
    for folder in [destination, *destination.rglob("*")]:
        if folder.is_dir():
            folder.chmod(0o1700)
    for number in range(40):
        (source / f"{number:02d}").chmod((0o755, 0o555, 0o700)[number % 3])
    return LocalStore(str(source)), LocalStore(str(destination)), names


def modes(root: Path) -> dict[str, int]:
    return {str(path.relative_to(root)): path.stat().st_mode for path in root.rglob("*")}


def test_a_folder_that_can_not_be_read_or_reached_is_a_note_and_stays_closed(
    tmp_path: Path,
) -> None:
    source, destination, names = trees(tmp_path)
    unreadable = FaultyStore(
        source, [Fault(method="folder_attributes", path="01", error=SourceError("no"))]
    )
    refusing = FaultyStore(
        destination, [Fault(method="set_folder_attributes", path="02", error=RefusedError("no"))]
    )
    notes = Notes()
    plan = plan_of(Route(unreadable, refusing), names, [])
    assert keep_folders(plan, threads=4, stop=Stop(), notes=notes)
    assert {unkept.paths for unkept in notes.told} == {
        (str(tmp_path / "in" / "01"),),
        (str(tmp_path / "in" / "02"),),
    }
    expected, found = modes(tmp_path / "in"), modes(tmp_path / "out")
    different = {path for path in expected if expected[path] != found[path]}
    assert different == {"01", "02"}
    assert {found[path] & 0o7777 for path in different} == {0o1700}


def test_a_stop_leaves_folders_closed_and_the_next_attempt_opens_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "FOLDERS_AT_A_TIME", 10)
    source, destination, names = trees(tmp_path)
    stop = Stop()
    stop.set("asked")
    plan = plan_of(Route(source, destination), names, [])
    assert not keep_folders(plan, threads=4, stop=stop, notes=Notes())
    assert os.stat(tmp_path / "out").st_mode & 0o7777 == 0o1700
    for _ in range(2):  # doing it again changes nothing
        notes = Notes()
        assert keep_folders(plan, threads=4, stop=Stop(), notes=notes)
        assert notes.told == []
        assert modes(tmp_path / "out") == modes(tmp_path / "in")


def test_notes_are_counted_and_their_reasons_bounded() -> None:
    from jobtool.stores.store import Note

    notes = Notes()
    for number in range(1000):
        notes.add(f"/{number}", [Note("mode", "refused"), Note("mode", "refused")])
        notes.add(f"/{number}", [Note(f"xattr user.{number}", "refused")])
    told = notes.told
    assert (told[0].count, told[0].paths) == (1000, ("/0", "/1", "/2"))
    assert len(told) <= 21
    assert sum(unkept.count for unkept in told) == 2000
