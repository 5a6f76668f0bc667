"""A second look at a source: what is new or has changed is sent, and nothing else."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

import jobtool
from jobtool.jobs.claim import Claims
from jobtool.jobs.joblist import JobList
from jobtool.mirror.events import SourceLooked
from jobtool.mirror.updating import Update
from jobtool.release.context import ReleaseContext
from jobtool.transfer.stores_of import stores_of
from tests.commands import finish, run, run_without_superpowers, start_module
from tests.mirror.worlds import FILES_OF, World, done_world, rewrite
from tests.release.worlds import tree


def test_nothing_has_changed(world: World) -> None:
    before = tree(world.joblist)
    found = world.update()
    assert (found.exit_code, found.updated.unchanged, found.changes) == (0, 2, ())
    assert tree(world.joblist) == before


def test_only_what_is_new_or_changed_is_sent(world: World) -> None:
    rewrite(world.path("a/1"), b"another size")
    rewrite(world.path("a/2"), b"owt\n")  # the same size at another time
    rewrite(world.path("a/new/9"), b"new")
    world.path("a/3").unlink()
    rewrite(world.path("c/10"), b"a new job")
    found = world.update()
    assert (found.generated.created, found.updated.changed, found.updated.unchanged) == (1, 1, 1)
    (change,) = found.changes
    assert (change.job, change.new, change.changed, change.gone) == ("a", 1, 2, 1)
    assert change.new_examples == ("new/9",)
    assert set(change.changed_examples) == {"1", "2"}
    assert change.gone_examples == ("3",)
    assert [world.status(job) for job in "abc"] == ["todo", "success", "todo"]
    world.transfer()
    attempts = {name.rpartition("/")[2]: 1 for name in world.files if name.startswith("a/")}
    assert world.attempts("a") == {**attempts, "1": 2, "2": 2, "9": 2}
    assert world.arrived() == {**tree(world.source), "a/3": FILES_OF["a/3"]}
    assert world.verify() == set()
    assert world.update().updated.unchanged == 3


@pytest.mark.parametrize("if_exists", ["error", "overwrite"])
def test_own_files_are_replaced_whatever_is_done_with_others(world: World, if_exists: str) -> None:
    rewrite(world.path("a/1"), b"ONE\n" * 50)
    world.update()
    world.transfer(if_exists=if_exists)
    assert world.arrived() == tree(world.source)


def test_other_bytes_of_the_same_size_and_time(world: World) -> None:
    """They are found by their MD5 alone."""
    rewrite(world.path("a/1"), b"ONE\n" * 50, keeps_time=True)
    assert world.update().changes == ()
    found = world.update(compare="digest")
    assert [(one.job, one.changed) for one in found.changes] == [("a", 1)]
    assert world.update(compare="digest").updated.todo == 1
    world.transfer()
    assert world.arrived() == tree(world.source)
    assert world.attempts("a")["1"] == 2
    assert world.attempts("a")["2"] == 1
    assert world.update(compare="digest").updated.unchanged == 2


def test_a_dry_run_changes_nothing(local: World) -> None:
    rewrite(local.path("a/1"), b"another")
    rewrite(local.path("c/1"), b"a new job")
    before = tree(local.folder)
    found = local.update(dry_run=True)
    assert (found.generated.created, found.updated.changed) == (1, 1)
    assert tree(local.folder) == before


def test_jobs_that_are_not_done_are_left(local: World) -> None:
    for job in "ab":
        rewrite(local.path(f"{job}/new"), b"new")
    for job, status in (("a", "error"), ("b", "ongoing")):
        path = local.joblist / f"{job}.txt"
        path.write_text(path.read_text().replace("success", status, 1))
    found = local.update().updated
    assert (found.error, found.ongoing, found.changed) == (1, 1, 0)
    assert [local.status(job) for job in "ab"] == ["error", "ongoing"]


def test_a_job_that_a_worker_holds_is_left(local: World) -> None:
    rewrite(local.path("a/1"), b"another")
    claim = Claims.of(JobList.open(str(local.joblist))).acquire("a")
    assert claim is not None
    try:
        found = local.update()
    finally:
        claim.release()
    assert (found.updated.left_alone, found.updated.changed) == (1, 0)
    assert local.status("a") == "success"


def test_an_unreadable_folder_makes_nothing_gone(local: World) -> None:
    rewrite(local.path("a/1"), b"another")
    os.chmod(local.path("a/deep"), 0)
    try:
        done = run_without_superpowers(
            "generate-joblist", local.source, "-o", local.joblist, "--update"
        )
    finally:
        os.chmod(local.path("a/deep"), 0o755)
    assert done.exit_code == 1, done
    assert "Permission denied" in done.stdout
    assert "gone" not in done.stdout
    assert "1 changed" in done.stdout


def test_a_source_that_is_gone_is_told(local: World) -> None:
    shutil.rmtree(local.path("b"))
    found = local.update()
    assert [(one.job, one.gone, one.is_put_back) for one in found.changes] == [("b", 3, False)]
    assert local.status("b") == "success"


def test_what_was_released_is_not_gone(local: World) -> None:
    released = jobtool.release_jobs(str(local.joblist), jobs=["a"], remove=True)
    assert released.files == 5
    found = local.update().updated
    assert (found.released_files, found.gone_files, found.changed) == (5, 0, 0)


def test_what_the_filters_leave_out_is_not_gone(local: World) -> None:
    found = run(
        *("generate-joblist", local.source, "-o", local.joblist, "--update"),
        *("--exclude", "deep/", "--exclude", "*2"),
    )
    assert found.exit_code == 0, found
    assert "gone" not in found.stdout
    assert "2 unchanged" in found.stdout


def test_named_files(tmp_path: Path) -> None:
    world = World(tmp_path)
    table = tmp_path / "table.csv"
    for name in ("1", "2"):
        rewrite(world.path(name), b"text" + name.encode())
    rows = [f"{world.path(name)},{tmp_path / 'copies' / name}" for name in ("1", "2")]
    table.write_text("\n".join(["src_path,dst_path", *rows]))
    jobtool.generate_joblist(table, world.joblist, layout="manifest")
    world.transfer()
    rewrite(world.path("1"), b"changed")
    world.path("2").unlink()
    found = world.update()
    assert [(one.changed, one.gone) for one in found.changes] == [(1, 1)]
    world.transfer()
    assert tree(tmp_path / "copies") == {"1": b"changed", "2": b"text2"}
    assert world.prune().updated.extra == 0  # the job names the file, so it isn't extra


def test_a_source_that_is_as_it_was_once_more(local: World) -> None:
    """A receipt of earlier bytes proves nothing once others were sent, even of the same size."""
    old = local.path("a/1").read_bytes()
    times = local.path("a/1").stat()
    rewrite(local.path("a/1"), b"ONE\n" * 50)
    local.update()
    step = "after a receipt is on record"
    killed = finish(start_module("tests.faults.victim", step, "1", str(local.joblist)))
    assert killed.exit_code == -signal.SIGKILL, killed
    assert local.arrived()["a/1"] == b"ONE\n" * 50
    rewrite(local.path("a/1"), old)
    os.utime(local.path("a/1"), ns=(times.st_atime_ns, times.st_mtime_ns))
    local.transfer()
    assert local.arrived() == FILES_OF


def test_progress_is_told(folder: Path) -> None:
    world = done_world(folder, files={f"a/{number}": b"" for number in range(600)})
    joblist, told = JobList.open(str(world.joblist)), []
    clock = iter(range(0, 10**6, 15))
    context = ReleaseContext(stores=stores_of(joblist), emit=told.append)
    Update(joblist, context, monotonic=lambda: float(next(clock))).run()
    shown = [(one.jobs, one.of_jobs, one.files) for one in told if isinstance(one, SourceLooked)]
    assert shown == [(1, 1, 256), (1, 1, 512)]


def test_refused(folder: Path) -> None:
    world = done_world(folder)
    for options in (["--yes"], ["--max-delete", "3"], ["--delete-excluded"], ["--compare", "time"]):
        done = run("generate-joblist", world.source, "-o", world.joblist, *options)
        assert (done.exit_code, done.stdout) == (2, ""), done
        assert options[0] in done.stderr
