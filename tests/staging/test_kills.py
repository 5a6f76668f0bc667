"""Requests of several people at once, and kills at random moments."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from tests.commands import Done, finish, start, start_module
from tests.packages.made import make_package
from tests.staging.world import World, below

ITEMS = [f"night/scan_{number:02}" for number in range(6)]
FILES = {
    f"{item}/{number}.bin": f"{item} {number} ".encode() * 300
    for item in ITEMS
    for number in range(12)
}
KILLS = 6

#: Staging and freeing the items has at least so many steps at which a process can be killed.
#: Freeing has few if killed workers had published many files without a receipt: these stay.
STAGE_STEPS = len(FILES)
UNSTAGE_STEPS = 2 * len(ITEMS)


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.record(*ITEMS, tar=make_package(world.archive, FILES, name="night"))
    return world


def killed_until_done(
    world: World, chance: random.Random, steps: int, *command: str
) -> tuple[Done, int]:
    """Kill a command at random moments, then let it end. Return its end and how many were hit."""
    hits = 0
    for _ in range(KILLS):
        arguments = ("anywhere", str(chance.randint(1, steps)), *command)
        done = finish(start_module("tests.staging.victim", *arguments, env=world.env()))
        hits += done.exit_code == -signal.SIGKILL
    return finish(start("jobtool", *command, env=world.env())), hits


@pytest.mark.parametrize("seed", [1])
def test_kills_at_random_moments(world: World, seed: int) -> None:
    chance = random.Random(seed)
    done, hits = killed_until_done(world, chance, STAGE_STEPS, "stage", *ITEMS)
    assert (done.exit_code, world.staged()) == (0, FILES), done
    assert hits > 0
    assert all(world.copies(item)["cologne.processing"] == "present" for item in ITEMS)
    mine = world.work / ITEMS[0] / "mine"
    mine.write_text("mine")
    # A file that a killed worker had published without a receipt may count as there before.
    done, hits = killed_until_done(world, chance, UNSTAGE_STEPS, "unstage", "--", *ITEMS)
    assert hits > 0
    assert done.exit_code in (0, 1), done
    # What was freed before is no item any more; the rest goes with the names that are left.
    left = sorted({line["item"] for line in world.listed()})
    if left:
        world.ok("unstage", "--", *left)
    assert world.listed() == []
    assert all(world.copies(item)["cologne.processing"] == "released" for item in ITEMS)
    assert mine.read_text() == "mine"
    kept = {path for record in world.records("freed") for path in record["kept"]}
    assert {Path(path).name for path in world.staged()} <= {"mine", *kept}


def test_people_who_ask_for_the_same_at_once(world: World) -> None:
    people = ["ada", "bob", "carla"]
    running = [start("jobtool", "stage", *ITEMS, env=world.env(who)) for who in people]
    for done in map(finish, running):
        assert done.exit_code == 0, done
    assert world.staged() == FILES
    assert {line["who"] for line in world.listed()} == set(people)
    freeing = [start("jobtool", "unstage", *ITEMS, env=world.env(who)) for who in people[:2]]
    for done in map(finish, freeing):
        assert done.exit_code == 0, done
    assert world.staged() == FILES
    assert {line["who"] for line in world.listed()} == {"carla"}
    world.ok("unstage", *ITEMS, who="carla")
    assert (world.staged(), world.listed()) == ({}, [])


def test_both_ways_at_once_never_leaves_less_than_the_catalog_says(world: World) -> None:
    item = ITEMS[0]
    for number in range(4):
        world.ok("stage", item)
        back = start("jobtool", "unstage", item, env=world.env())
        time.sleep(0.12 * number)
        there = finish(start("jobtool", "stage", item, env=world.env("bob")))
        assert finish(back).exit_code in (0, 1)
        if there.exit_code == 0:
            assert world.staged() == below(f"{item}/", FILES)
            assert world.copies(item)["cologne.processing"] == "present"
            world.ok("unstage", item, who="bob")
        else:
            assert "is being freed by" in there.stderr
            for line in world.listed():
                world.ok("unstage", line["item"])
        if world.listed():
            world.ok("unstage", item)
        assert world.staged() == {}
