"""Second looks killed at every point and at random moments: nothing is lost, and all goes on."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.commands import Done, finish, start, start_module
from tests.faults.victim import MOVING_STEPS
from tests.mirror.victim import DROPPING_STEPS, LISTING_STEPS, OBJECT_STEPS, UPDATING_STEPS
from tests.mirror.worlds import FILES_OF, World, done_world, reasons, rewrite
from tests.release.worlds import tree
from tests.servers.s3 import S3Server

KILLS = int(os.environ.get("JOBTOOL_TEST_MIRROR_KILLS", "8"))
GONE = ("a/1", "a/deep/y", "b/4")
SECOND_TIMES = (
    "after a file is moved to the trash",
    "before the receipts of deleted files are dropped",
)


def killed_at(world: World, step: str, nth: int, *options: str) -> Done:
    arguments = (step, str(nth), str(world.source), str(world.joblist), *options)
    done = finish(start_module("tests.mirror.victim", *arguments))
    assert done.exit_code in (-signal.SIGKILL, 0), done
    assert done.exit_code or nth > 1, "the step wasn't reached"
    return done


def assert_nothing_lost(world: World, gone: tuple[str, ...]) -> None:
    """All that the source has is at the destination; the rest is there or in the trash, whole."""
    arrived, trashed = world.arrived(), world.trashed()
    for name, data in world.files.items():
        if name not in gone:
            assert arrived[name] == data
        else:
            below = name.partition("/")[2]
            assert arrived.get(name, trashed.get(below)) == data


def assert_all_goes(world: World, gone: tuple[str, ...]) -> None:
    """The next call completes it; then the receipts are those of what is there."""
    found = world.prune()
    assert (found.exit_code, reasons(found)) == (0, "")
    assert world.arrived() == {name: world.files[name] for name in world.files if name not in gone}
    assert sorted(world.trashed().values()) == sorted(world.files[name] for name in gone)
    assert world.verify() == set()
    assert world.update().updated.unchanged == 2


STEPS = [*MOVING_STEPS, *DROPPING_STEPS]

#: At each step once. The second time has a file, or a job, that is done: one of each kind.
MOMENTS = [
    *((step, 1) for step in STEPS),
    *(
        pytest.param(step, 2, marks=[pytest.mark.wide] * (step not in SECOND_TIMES))
        for step in STEPS
    ),
]


@pytest.mark.parametrize(("step", "nth"), MOMENTS)
def test_killed_while_files_are_deleted(folder: Path, step: str, nth: int) -> None:
    world = done_world(folder)
    for name in GONE:
        world.path(name).unlink()
    killed_at(world, step, nth, "--delete-extra", "--yes")
    assert_nothing_lost(world, GONE)
    assert_all_goes(world, GONE)


@pytest.mark.parametrize("step", OBJECT_STEPS)
def test_killed_while_objects_are_deleted(server: S3Server, folder: Path, step: str) -> None:
    files = {name: data for name, data in FILES_OF.items() if name.isprintable()}
    world = done_world(folder, server, files)
    gone = ("a/1", "a/2", "b/4")
    for name in gone:
        world.path(name).unlink()
    killed_at(world, step, 1, "--delete-extra", "--yes")
    assert_nothing_lost(world, gone)
    assert_all_goes(world, gone)


@pytest.mark.parametrize("step", LISTING_STEPS)
def test_killed_while_files_are_listed(folder: Path, step: str) -> None:
    """A list that was written whole counts, another one doesn't."""
    world = done_world(folder)
    world.path("a/1").unlink()
    killed_at(world, step, 1, "--delete-extra")
    assert world.arrived() == FILES_OF
    is_listed = step in LISTING_STEPS and step.startswith("after")
    assert world.update(delete_extra=True).updated.deleted == is_listed
    assert_nothing_lost(world, ("a/1",))


@pytest.mark.parametrize("step", UPDATING_STEPS)
def test_killed_while_jobs_are_put_back(folder: Path, step: str) -> None:
    world = done_world(folder)
    rewrite(world.path("a/1"), b"another size")
    rewrite(world.path("b/4"), b"FOUR\n" * 70, keeps_time=True)
    killed_at(world, step, 1, "--compare", "digest")
    assert world.arrived() == FILES_OF
    world.update(compare="digest")
    world.transfer()
    assert world.arrived() == tree(world.source)
    assert world.verify() == set()


def test_a_job_is_done_again_after_a_killed_deletion(folder: Path) -> None:
    """The receipts of what is in the trash don't make it fail."""
    world = done_world(folder)
    world.path("a/1").unlink()
    killed_at(
        world, "before the receipts of deleted files are dropped", 1, "--delete-extra", "--yes"
    )
    assert world.verify() == {("missing", "1")}
    rewrite(world.path("a/new"), b"new")
    world.update()
    world.transfer()
    assert world.arrived() == tree(world.source)
    assert world.verify() == set()


def test_a_file_comes_back_after_a_killed_deletion(folder: Path) -> None:
    """It is sent again, and what is in the trash stays there."""
    world = done_world(folder)
    world.path("a/1").unlink()
    killed_at(world, "after a file is moved to the trash", 1, "--delete-extra", "--yes")
    rewrite(world.path("a/1"), b"once more")
    world.update()
    world.transfer()
    assert world.prune().updated.extra == 0
    assert world.arrived() == tree(world.source)
    assert world.trashed() == {"1": FILES_OF["a/1"]}
    assert world.verify() == set()


def test_killed_at_random_moments(folder: Path) -> None:
    files = {f"{job}/{number}": os.urandom(2000) for job in "ab" for number in range(60)}
    world = done_world(folder, files=files)
    gone = tuple(f"{job}/{number}" for job in "ab" for number in range(25))
    for name in gone:
        world.path(name).unlink()
    chance = random.Random(7)
    for _ in range(KILLS):
        process = start(
            *("generate-joblist", world.source, "-o", world.joblist, "--delete-extra", "--yes")
        )
        time.sleep(chance.uniform(0.05, 0.5))
        process.kill()
        process.wait()
        process.communicate()
        arrived = world.arrived()
        kept = {name: data for name, data in files.items() if name not in gone}
        assert kept.items() <= arrived.items()
        here = [*arrived.values(), *tree_of_trash(world)]
        assert sorted(here) == sorted(files.values())
    assert world.prune().exit_code == 0
    assert world.arrived() == kept
    assert sorted(tree_of_trash(world)) == sorted(files[name] for name in gone)
    assert world.verify() == set()


def tree_of_trash(world: World) -> list[bytes]:
    """The bytes of all files in the trash: several jobs' files may have equal paths."""
    found = tree(world.folder / ".jobtool-trash")
    return [data for path, data in found.items() if "/files/" in path]
