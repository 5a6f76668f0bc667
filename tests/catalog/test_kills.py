"""Kills of compactions, and processes that write, compact and read at the same time."""

from __future__ import annotations

import random
import signal
import threading
import time
from pathlib import Path

import pytest

from jobtool.catalog.catalog import Catalog
from jobtool.catalog.compaction import compact
from jobtool.catalog.copy import Copy
from jobtool.catalog.folder import CatalogFolder, files_in
from jobtool.catalog.writer import CatalogWriter
from jobtool.errors import NotFoundError
from jobtool.stores.local import LocalStore
from jobtool.stores.memory import MemoryStore
from jobtool.stores.registry import StoreRegistry
from tests.catalog.made import a_copy
from tests.catalog.victim import FLUSHES, ITEMS
from tests.commands import finish, run, start, start_module
from tests.faults.victim import COMPACTION_STEPS

COPIES = [a_copy(f"item{number % 5}", number, url=f"/{number % 3}") for number in range(12)]


def filled(place: str) -> list[Copy]:
    """Write some files of records; return what the catalog answers."""
    for number in range(0, len(COPIES), 3):
        writer = CatalogWriter(place, "w")
        writer.add(COPIES[number : number + 3])
        writer.flush()
    return list(Catalog(place).copies())


@pytest.mark.parametrize("step", COMPACTION_STEPS)
def test_a_compaction_killed_at_any_step_changes_no_answer(tmp_path: Path, step: str) -> None:
    place = str(tmp_path)
    expected = filled(place)
    nth = 2 if "an input" in step else 1
    done = finish(start_module("tests.catalog.victim", step, str(nth), place))
    assert done.exit_code == -signal.SIGKILL, done
    catalog = Catalog(place)
    assert list(catalog.copies()) == expected
    # The next one ends the work, or begins it anew.
    compact(place)
    assert len(catalog.folder.listing()) == 1
    assert list(catalog.copies()) == expected


def test_writers_compactions_that_are_killed_and_readers_at_the_same_time(tmp_path: Path) -> None:
    place = str(tmp_path / "catalog")
    names = ["one", "two"]
    writers = {name: start_module("tests.catalog.victim", "write", name, place) for name in names}
    flushed = dict.fromkeys(names, -1)

    def follow(name: str) -> None:
        assert writers[name].stdout is not None
        for line in writers[name].stdout:
            flushed[name] = int(line)

    followers = [threading.Thread(target=follow, args=(name,)) for name in names]
    for follower in followers:
        follower.start()
    catalog, chance = Catalog(place), random.Random(7)
    while any(follower.is_alive() for follower in followers):
        compactions = [start("jobtool", "catalog", "compact", "--catalog", place) for _ in range(2)]
        until = time.monotonic() + chance.uniform(0, 0.4)
        while time.monotonic() < until:
            require_seen(catalog, dict(flushed))
        for process in compactions:
            process.kill()
            finish(process)  # killed, or quicker than that
    for follower in followers:
        follower.join()
    assert [process.wait() for process in writers.values()] == [0, 0]
    expected = {(name, item): newest(FLUSHES - 1, item) for name in names for item in range(ITEMS)}
    assert seen(catalog) == expected
    assert run("jobtool", "catalog", "compact", "--catalog", place).exit_code == 0
    assert seen(catalog) == expected


def newest(flushed: int, item: int) -> int:
    """The number of the last flush up to ``flushed`` that was about an item; negative if none."""
    return flushed - (flushed - item) % ITEMS


def require_seen(catalog: Catalog, flushed: dict[str, int]) -> None:
    """What was flushed before a reader begins is in its answer."""
    found = seen(catalog)
    for name, last in flushed.items():
        for item in range(ITEMS):
            number = newest(last, item)
            if number >= 0:
                assert found[name, item] >= number


def seen(catalog: Catalog) -> dict[tuple[str, int], int]:
    return {
        (copy.url.removeprefix("/"), int(copy.item.removeprefix("item"))): copy.size
        for copy in catalog.copies()
    }


class SlowlyListed(MemoryStore):
    """A store that lists names first and looks at them later, as many filesystems do."""

    meanwhile: list = []  # noqa: RUF012 - one for all stores of a test

    def list(self):
        names = [entry.path for entry in super().list()]
        if self.meanwhile and self.url.endswith("records"):
            self.meanwhile.pop()()
        yield from (entry for entry in super().list() if entry.path in names)


@pytest.mark.parametrize("compactions", [1, 2, 3])
def test_a_listing_hides_nothing_that_compactions_move_meanwhile(compactions: int) -> None:
    registry = StoreRegistry()
    place = "memory://catalog"
    folder = CatalogFolder(place, registry, role="destination")

    def add(number: int) -> None:
        writer = CatalogWriter(folder, "w")
        writer.add([a_copy(f"item{number}")])
        writer.flush()

    for number in range(3):
        add(number)
    reading = CatalogFolder(place, registry, role="destination")
    memory = reading.records.memory
    reading.records = SlowlyListed(memory, f"{place}/records", "records")

    def change() -> None:
        add(10)
        compact(folder)

    SlowlyListed.meanwhile = [change] * compactions
    found = {copy.item for copy in Catalog(reading).copies()}
    assert not SlowlyListed.meanwhile
    assert {"item0", "item1", "item2"} <= found


class Renaming(LocalStore):
    """A folder in which files are removed and renamed once their names are listed."""

    def list(self):
        listing = super().list()
        yield next(listing)
        for path in Path(self.url).glob("m-*"):
            path.unlink()
        for path in Path(self.url).glob(".unfinished-*"):
            path.rename(path.with_name(path.name.removeprefix(".")))
        yield from listing


def test_a_listing_leaves_out_what_is_removed_or_renamed_meanwhile(tmp_path: Path) -> None:
    for number in range(500):
        for name in ("a", "m", "z", ".unfinished"):
            (tmp_path / f"{name}-{number}").touch()
    store = Renaming(str(tmp_path))
    found = [entry.path for entry in files_in(store)]
    kept = {f"{name}-{number}" for name in ("a", "z") for number in range(500)}
    assert kept <= set(found)
    assert len(set(found)) == len(found)


class Flickering(LocalStore):
    """A folder with a name whose file isn't there for a while, in the first ``times`` listings."""

    times = 0

    def list(self):
        listing = super().list()
        yield next(listing)
        path = Path(self.url) / "z"
        if self.times > 0:
            path.unlink()
        yield from listing
        path.touch()
        self.times -= 1


def test_a_name_that_stays_is_found_or_is_an_error(tmp_path: Path) -> None:
    for name in [*(f"a-{number}" for number in range(500)), "z"]:
        (tmp_path / name).touch()
    store = Flickering(str(tmp_path))
    store.times = 1
    assert "z" in {entry.path for entry in files_in(store)}
    store.times = 2
    with pytest.raises(NotFoundError, match="z was removed"):
        files_in(store)
