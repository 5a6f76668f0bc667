"""Listing by several threads gives the same as listing by one."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from jobtool.errors import NotFoundError, RefusedError, StoreError, UnreachableError
from jobtool.stores.local import LocalStore, listing, walk
from jobtool.stores.store import Entry, Special, Unlisted
from tests.faults.preloaded import faults_library, preloaded
from tests.trees import write


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Folders of very different sizes and depths, names that sort oddly, links of all kinds."""
    chance = random.Random(11)
    root = tmp_path / "tree"
    for number in range(60):
        depth = chance.randrange(5)
        parts = [chance.choice(["a", "a b", "a-", "a.b", "\udcff", "Z"]) for _ in range(depth)]
        folder = root.joinpath(*parts, f"folder{number}")
        folder.mkdir(parents=True)
        for name in range(chance.choice([0, 1, 5, 5, 150])):
            (folder / f"{name}{'.' * (name % 3)}").write_bytes(b"x" * name)
    (root / "a" / "dangling").symlink_to("nowhere")
    (root / "to a").symlink_to("a")
    (root / "loop").symlink_to(".")
    os.mkfifo(root / "a" / "pipe")
    return root


def shown(entry: Entry | Special | Unlisted) -> object:
    return (entry.path, str(entry.error)) if isinstance(entry, Unlisted) else entry


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every filesystem count as slow."""
    monkeypatch.setattr(walk, "SLOW_SECONDS", 0.0)
    monkeypatch.setattr(walk, "SLOW_WAITS", 0.0)


@pytest.mark.parametrize("links", ["follow", "skip", "error", "keep"])
@pytest.mark.parametrize("review", [10, 10**6])
def test_several_threads_list_the_same_in_the_same_order(
    tree: Path, slow: None, monkeypatch: pytest.MonkeyPatch, links, review: int
) -> None:
    monkeypatch.setattr(walk, "REVIEW_ENTRIES", review)
    expected = [shown(entry) for entry in LocalStore(tree, links=links, listing_threads=1).list()]
    found = [shown(entry) for entry in LocalStore(tree, links=links, listing_threads=8).list()]
    assert found == expected
    assert len(found) > 1000
    paths = [os.fsencode(path) for path in files_of(tree, links)]
    assert paths == sorted(paths)


def files_of(tree: Path, links) -> list[str]:
    found = LocalStore(tree, links=links, listing_threads=8).list()
    return [entry.path for entry in found if isinstance(entry, Entry)]


def listing_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("list")]


def test_threads_are_begun_for_slow_filesystems_only_and_end_with_the_listing(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk, "SLOW_SECONDS", 3600.0)
    found = LocalStore(tree).list()
    for _ in range(500):
        next(found)
    assert not listing_threads()
    monkeypatch.setattr(walk, "SLOW_SECONDS", 0.0)
    monkeypatch.setattr(walk, "SLOW_WAITS", 0.0)
    found = LocalStore(tree).list()
    for _ in range(500):
        next(found)
    assert listing_threads()
    found.close()
    assert not listing_threads()


def test_an_abandoned_listing_looks_at_nothing_more(
    tree: Path, slow: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = LocalStore(tree).list()
    for _ in range(100):
        next(found)
    found.close()
    looks = []
    with monkeypatch.context() as kernel:
        kernel.setattr(os, "stat", lambda path, **named: looks.append(path))
        kernel.setattr(os, "scandir", looks.append)
        assert next(found, None) is None
    assert not looks


def test_an_entry_is_not_held_back_for_all_that_are_behind_it(
    tmp_path: Path, slow: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3000):
        (tmp_path / f"{number}").touch()
    looks = []
    look = listing.look
    monkeypatch.setattr(walk, "look", lambda *place: looks.append(place) or look(*place))
    found = LocalStore(tmp_path, listing_threads=2).list()
    next(found)
    assert len(looks) < 1000
    assert len(list(found)) == 2999


FAULTS = {
    "EACCES": RefusedError,
    "EIO": StoreError,
    "ENOENT": NotFoundError,
}


@pytest.mark.parametrize("code", FAULTS)
@pytest.mark.parametrize("call", ["open", "readdir", "stat"])
def test_one_place_that_cannot_be_looked_at_is_told_and_the_rest_is_listed(
    tmp_path: Path, code: str, call: str
) -> None:
    for path in ("a", "bad/inside", "c/file"):
        write(tmp_path / "tree" / path)
    where = "bad/inside" if call == "stat" else "bad"
    done = list_with_fault(tmp_path / "tree", call, where, code)
    assert done[0] == "a"
    assert done[1].startswith(f"{where} {FAULTS[code].__name__} ")
    assert f"{tmp_path}/tree/{where}" in done[1]
    assert done[2:] == ["c/file"]


@pytest.mark.parametrize("call", ["open", "readdir"])
def test_the_root_that_cannot_be_listed_is_an_error_and_no_empty_listing(
    tmp_path: Path, call: str
) -> None:
    write(tmp_path / "tree" / "a")
    assert list_with_fault(tmp_path / "tree", call, "/tree", "EACCES")[0] == "raised RefusedError"


def test_a_filesystem_that_is_gone_is_not_one_file_after_another(tmp_path: Path) -> None:
    for path in ("a", "b"):
        write(tmp_path / "tree" / path)
    done = list_with_fault(tmp_path / "tree", "stat", "/tree/", "ENOTCONN")
    assert done == [f"raised {UnreachableError.__name__}"]


def list_with_fault(root: Path, call: str, where: str, code: str) -> list[str]:
    """List a tree in a process where a call fails; return its output, line by line."""
    program = """if True:
        import sys
        from jobtool.errors import JobtoolError
        from jobtool.stores.local import LocalStore
        from jobtool.stores.store import Unlisted
        try:
            for entry in LocalStore(sys.argv[1]).list():
                if isinstance(entry, Unlisted):
                    print(entry.path, type(entry.error).__name__, entry.error)
                else:
                    print(entry.path)
        except JobtoolError as error:
            print("raised", type(error).__name__)
    """
    environment = preloaded(faults_library(), call=call, where=f"{root.parent}{where}", code=code)
    if not where.startswith("/"):
        environment = preloaded(faults_library(), call=call, where=f"{root}/{where}", code=code)
    done = subprocess.run(
        [sys.executable, "-c", program, str(root)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
