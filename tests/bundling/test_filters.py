"""Filters for packages: what is left out isn't packed, and isn't released with the package."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.commands import assert_one_line_error, run_ok
from tests.packages.chains import Chain
from tests.trees import contents, write

FILES = (
    "a/keep",
    "a/leave.tmp",
    "a/cache/deep/one",
    "a/deep/keep",
    "b/leave.tmp",
    "cache/whole",
    "c.tmp",
    "d",
)
EXCLUDE = ("--exclude", "*.tmp", "--exclude", "cache/")


def fill(root: Path) -> None:
    for name in FILES:
        write(root / name, name.encode() * 9)


@pytest.mark.parametrize("items", [(), ("--items", "{name}x*"), ("--items", "*/*")])
def test_what_is_left_out_isnt_in_a_package(place, items: tuple[str, ...]) -> None:
    fill(place.source)
    if items == ("--items", "{name}x*"):
        for name in ("a", "b", "cache", "d"):
            os.rename(place.source / name, place.source / f"{name}x1")
    made = place.make(*EXCLUDE, *items, "--package-size", "1MB")
    found = [name for package in place.packages() for name, _ in place.members(package)]
    wanted = {(): ["a/deep/keep", "a/keep", "d"], ("--items", "*/*"): ["a/deep/keep", "a/keep"]}
    assert sorted(found) == wanted.get(items, ["ax1/deep/keep", "ax1/keep", "cachex1/whole", "dx1"])
    assert made["members"] == len(found)
    if items == ():
        assert made["excluded"] == 5  # of cache and a/cache nobody looks at the files
    again = place.make("--package-size", "1MB", *items)
    assert (again["packages"], again["changed"], again["items"]) == (0, 0, 0)
    write(next(place.source.glob("a*")) / "new.tmp", b"x")
    assert place.make()["changed"] == 0


def test_bounds_count_too(place) -> None:
    place.item("a", 10, 1000)
    place.item("b", 3000)
    assert place.make("--min-size", "11", "--max-size", "2kB")["members"] == 1
    assert place.members("list-0001") == [("a/f1", 1000)]


def test_filters_of_packages_stay(place) -> None:
    fill(place.source)
    place.make(*EXCLUDE)
    place.make(*EXCLUDE)
    done = place.run("--exclude", "*.tmp")
    assert_one_line_error(done, 2, "was made with other filters")


def test_a_release_of_the_source_leaves_what_was_left_out(
    tmp_path: Path,
) -> None:
    chain = Chain(tmp_path)
    fill(chain.source)
    chain.routes = [{"type": "custom", "from": "chile.buffer", "to": "bonn.buffer"}]
    chain.write_sites()
    chain.generate(
        *("--release", "source", "--keep-days", "0", *EXCLUDE), to=("bonn",), steps="unpack,archive"
    )
    for _ in range(4):
        chain.work("chile")
        chain.work("bonn")
    assert set(chain.jobs.values()) == {"success"}, chain.jobs
    left = {name for name in FILES if "tmp" in name or "cache" in name}
    assert set(contents(chain.source)) == left
    run_ok("jobtool", "release", chain.joblist, "--empty-trash", "--yes", "-v", 0)
    assert set(contents(chain.source)) == left
