"""Releases killed at every point and at random moments: nothing unproven goes, and all goes on."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.commands import finish, start, start_module
from tests.faults.victim import MOVING_STEPS, REMOVING_STEPS
from tests.release.worlds import FILES_OF, World, deletions, moved_world

KILLS = int(os.environ.get("JOBTOOL_TEST_RELEASE_KILLS", "12"))


def assert_nothing_lost(world: World) -> None:
    """Each file is at the source or in the trash, or was removed with its record before."""
    assert world.arrived() == FILES_OF
    here = [*world.left().values(), *world.trashed().values()]
    announced = {one["trashed_to"] for one in deletions(world) if one["type"] == "removal"}
    assert len(here) >= len(FILES_OF) - len(announced)
    intents = {one["trashed_to"] for one in deletions(world) if one["type"] == "intent"}
    assert announced <= intents
    gone = set(FILES_OF) - set(world.left())
    assert len(gone) <= len(intents)


def assert_everything_goes(world: World) -> None:
    """Two further releases move what is left, and empty the trash."""
    for _ in range(2):
        released = world.release(keep_days=0)
        assert released.stays == ()
    assert (world.left(), world.trashed()) == ({}, {})
    assert world.arrived() == FILES_OF
    ends = [one for one in deletions(world) if one["type"] == "removed"]
    assert len({one["trashed_to"] for one in ends}) == len(ends) == len(FILES_OF)


@pytest.mark.parametrize("nth", [1, 3])
@pytest.mark.parametrize("step", MOVING_STEPS)
def test_killed_on_the_way_to_the_trash(folder: Path, step: str, nth: int) -> None:
    world = moved_world(folder)
    done = finish(start_module("tests.release.victim", step, str(nth), str(world.joblist)))
    assert done.exit_code in (-signal.SIGKILL, 0), done
    assert done.exit_code or nth > 1, "the step wasn't reached"
    assert_nothing_lost(world)
    assert_everything_goes(world)


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("step", REMOVING_STEPS)
def test_killed_while_the_trash_is_emptied(folder: Path, step: str, nth: int) -> None:
    world = moved_world(folder)
    world.release(keep_days=0)
    done = finish(
        start_module("tests.release.victim", step, str(nth), str(world.joblist), "--empty-trash")
    )
    assert done.exit_code == -signal.SIGKILL, done
    assert_nothing_lost(world)
    assert_everything_goes(world)


def test_killed_between_and_the_destination_emptied_meanwhile(folder: Path) -> None:
    """A file that is in the trash goes back if its copy isn't there any more."""
    world = moved_world(folder)
    step = "after a file is moved to the trash"
    finish(start_module("tests.release.victim", step, "1", str(world.joblist)))
    assert len(world.trashed()) == 1
    shutil.rmtree(world.copies)
    released = world.release()
    assert world.left() == FILES_OF
    assert world.trashed() == {}
    assert len(released.stays) == len(FILES_OF)


def test_ended_while_a_file_is_put_back(folder: Path) -> None:
    """It has two names then, of which the one in the trash goes."""
    world = moved_world(folder)
    step = "after a file is moved to the trash"
    finish(start_module("tests.release.victim", step, "1", str(world.joblist)))
    shutil.rmtree(world.copies)
    killed = finish(
        start_module("tests.release.victim", "while a file is put back", "1", str(world.joblist))
    )
    assert killed.exit_code == -signal.SIGKILL
    assert len(world.trashed()) == 1
    assert world.left() == FILES_OF
    released = world.release()
    assert world.left() == FILES_OF
    assert world.trashed() == {}
    assert len(released.stays) == len(FILES_OF)
    assert all("found nothing there now" in one.reason for one in released.stays)


def test_killed_at_random_moments(folder: Path) -> None:
    files = {f"{job}/{number}": os.urandom(2000) for job in "abc" for number in range(60)}
    world = moved_world(folder, files)
    chance = random.Random(5)
    for _ in range(KILLS):
        process = start("jobtool", "release", world.joblist, "--yes", "--keep-days", "1")
        time.sleep(chance.uniform(0.05, 0.6))
        process.kill()
        process.wait()
        process.communicate()
        assert world.arrived() == files
        here = [*world.left().values(), *world.trashed().values()]
        assert sorted(here) == sorted(files.values())
    released = world.release()
    assert released.stays == ()
    assert world.left() == {}
    assert sorted(world.trashed().values()) == sorted(files.values())
