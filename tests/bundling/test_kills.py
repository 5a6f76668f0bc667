"""Kills between the files of a package: the next run completes it, and no item is in two."""

from __future__ import annotations

import random
import signal
import time

import pytest

from tests.commands import assert_one_line_error, finish, start, start_module

POINTS = (
    "before a package's members are written",
    "after a package's members are written",
    "before a package's job is written",
)


def require_whole(place, names: list[str]) -> None:
    """Each item is in one package, and each package has its job."""
    packages = place.packages()
    assert sorted(item for items in packages.values() for item in items) == sorted(names)
    assert set(place.jobs()) == {f"{package}.copy" for package in packages}
    assert [path for path in place.joblist.glob("*.tmp") if ".txt." in path.name] == []


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("nth", [1, 2])
def test_the_next_run_completes_what_a_killed_one_began(place, point, nth) -> None:
    names = ["a", "b", "c"]
    for name in names:
        place.item(name, 60)
    arguments = [place.source, place.joblist, place.root / "out"]
    killed = finish(start_module("tests.bundling.victim", point, str(nth), *map(str, arguments)))
    assert killed.exit_code == -signal.SIGKILL
    begun = place.packages()
    assert len(begun) == nth - (point == POINTS[0])
    assert len(place.jobs()) == nth - 1
    place.make()
    require_whole(place, names)
    packages = place.packages()
    assert begun == {name: packages[name] for name in begun}
    assert place.make()["packages"] == 0


def test_kills_at_any_time_leave_each_item_in_one_package(place) -> None:
    names = [f"i{number:02d}" for number in range(30)]
    for name in names:
        place.item(name, 60)
    chance = random.Random(7)
    seconds = 0.02
    for _ in range(8):
        process = start(
            "generate-joblist", place.source, "-o", place.joblist, "-l", "packages",
            "-d", place.root / "out", "--package-size", "100",
        )  # fmt: skip
        time.sleep(chance.uniform(0, seconds))
        process.kill()
        process.communicate()
        seconds = min(seconds * 2, 0.5)
    place.make()
    require_whole(place, names)


def test_two_runs_at_a_time_are_refused(place) -> None:
    import fcntl

    place.item("a", 60)
    place.make()
    with (place.joblist / "packages" / ".lock").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert_one_line_error(place.run(), 2, "another generate-joblist")
    place.make()
