"""Listing items: each once and whole, whatever fails on the way."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool.bundling.walk import Walk
from jobtool.errors import FileError, SourceError, StoreError
from jobtool.stores.local import LocalStore
from jobtool.stores.store import Entry, Special, Unlisted
from jobtool.transfer.retry import Retry
from tests.bundling.lists import events, of_kind
from tests.commands import Done, run_without_superpowers
from tests.trees import write


class Cut:
    """A local folder whose first listings break off, each after so many entries."""

    def __init__(self, root: str, cuts: list[int]) -> None:
        self._store = LocalStore(root)
        self._cuts = cuts

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def list(self) -> Iterator[Entry | Special | Unlisted]:
        left = self._cuts.pop(0) if self._cuts else None
        for number, entry in enumerate(self._store.list()):
            if number == left:
                raise StoreError("connection reset")
            yield entry


def walk(root: str, pattern: str, cuts: list[int]) -> list[tuple[str, list[str]]]:
    def fail(error: FileError) -> None:
        raise error

    found = Walk(
        Cut(root, cuts),  # type: ignore[arg-type]
        lambda url: Cut(url, cuts),  # type: ignore[arg-type,return-value]
        pattern,
        links="follow",
        retry=Retry(sleep=lambda seconds: None),
        on_member=lambda size: None,
        on_unreadable=fail,
    )
    return [(item.name, [member.path for member in item.members]) for item in found.items()]


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> str:
    root = tmp_path_factory.mktemp("tree")
    for name in ("d/a/1", "d/a/2", "d/a-b", "d/b/1", "d/b/c/2", "e/a/1", "e/z"):
        write(root / name)
    return str(root)


@given(st.lists(st.integers(0, 5), max_size=3), st.sampled_from(["*", "{day}/{n}", "*/a*"]))
def test_a_listing_that_breaks_off_goes_on(tree: str, cuts: list[int], pattern: str) -> None:
    assert walk(tree, pattern, list(cuts)) == walk(tree, pattern, [])


def test_all_items_are_found_with_their_files(tree: str) -> None:
    assert walk(tree, "{day}/{n}", []) == [
        ("d/a-b", ["d/a-b"]),
        ("d/a", ["d/a/1", "d/a/2"]),
        ("d/b", ["d/b/1", "d/b/c/2"]),
        ("e/a", ["e/a/1"]),
        ("e/z", ["e/z"]),
    ]


def test_a_listing_that_always_breaks_off_is_an_error(tree: str) -> None:
    with pytest.raises((StoreError, SourceError)):
        walk(tree, "*", [1] * 20)


@pytest.mark.parametrize("pattern", ["*", "{a}/{b}", "{a}/b*"])
def test_folders_that_cannot_be_listed_are_left_out_and_told(place, pattern) -> None:
    for name in ("x/b1", "x/b2", "y/b3"):
        place.item(name, 5)
    closed = place.source / "x" / "b1" / "closed"
    closed.mkdir()
    closed.chmod(0)
    os.chmod(place.root, 0o755)
    done: Done = run_without_superpowers(
        "generate-joblist", place.source, "-o", place.joblist, "-d", place.root / "out",
        "-l", "packages", "--json", "--items", pattern,
    )  # fmt: skip
    closed.chmod(0o700)
    assert done.exit_code == 1, done
    assert "closed" in of_kind(done, "unreadable")[0]["reason"]
    expected = {"*": ["y"], "{a}/{b}": ["x/b2", "y/b3"], "{a}/b*": ["x/b2", "y/b3"]}
    assert place.packages() == {"list-0001": expected[pattern]}
    assert events(done)[-1]["unreadable"] == 1
    shutil.rmtree(closed)
    assert place.make("--items", pattern)["packages"] == 1
