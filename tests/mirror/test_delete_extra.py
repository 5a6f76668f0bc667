"""Extra files at a destination: two steps, by receipts alone, into the trash, never in doubt."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import jobtool
from jobtool.mirror.events import ExtraFile
from jobtool.mirror.listed import LISTED
from jobtool.mirror.mounts import why_unmounted
from tests.commands import run
from tests.mirror.worlds import FILES_OF, World, done_world, reasons, rewrite
from tests.release.worlds import tree
from tests.servers.s3 import S3Server


def without(world: World, *gone: str) -> dict[str, bytes]:
    return {name: data for name, data in world.files.items() if name not in gone}


def test_listed_then_deleted(world: World) -> None:
    for name in ("a/1", "b/5"):
        world.path(name).unlink()
    first = world.update(delete_extra=True)
    assert (first.exit_code, first.updated.extra, first.updated.deleted) == (0, 2, 0)
    assert first.updated.awaits_yes
    assert world.arrived() == world.files
    second = world.update(delete_extra=True)
    assert (second.exit_code, second.updated.deleted, second.stays) == (0, 2, ())
    assert world.arrived() == without(world, "a/1", "b/5")
    assert world.trashed() == {"1": FILES_OF["a/1"], "5": FILES_OF["b/5"]}
    assert world.verify() == set()
    assert world.update(delete_extra=True).updated.extra == 0
    assert not (world.joblist / LISTED).exists()
    jobtool.release_jobs(str(world.joblist), remove=True, only_trash=True)
    assert len(world.trashed()) == 2  # not kept for long enough


def test_purged_after_keep_days(world: World) -> None:
    set_transfer(world, "keep_days = 0")
    world.path("a/1").unlink()
    assert world.prune().updated.deleted == 1
    assert world.trashed() == {"1": FILES_OF["a/1"]}
    purged = jobtool.release_jobs(str(world.joblist), remove=True, only_trash=True)
    assert (purged.exit_code, purged.removed) == (0, 1), purged
    assert world.trashed() == {}
    assert world.verify() == set()
    assert tree(world.source) == without(world, "a/1")


def set_transfer(world: World, line: str) -> None:
    path = world.joblist / "joblist.toml"
    path.write_text(f"{path.read_text()}\n[transfer]\n{line}\n")


def test_a_trash_elsewhere(local: World) -> None:
    set_transfer(local, f"trash = {json.dumps(str(local.folder / 'bin'))}")
    local.path("a/deep/y").unlink()
    assert local.prune().updated.deleted == 1
    (trashed,) = (path for path in tree(local.folder / "bin") if path.endswith("deep/y"))
    assert "/files/" in trashed


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(path.read_bytes().replace(b"a/1", b"a/2")),
        lambda path: path.write_bytes(path.read_bytes()[:-20]),
        lambda path: path.write_bytes(b"{}"),
        lambda path: path.unlink(),
        lambda path: at(path, datetime.now(UTC) - timedelta(hours=25)),
        lambda path: at(path, datetime.now(UTC) + timedelta(hours=1)),
    ],
)
def test_a_list_that_is_not_whole_and_recent(local: World, spoil: Callable[[Path], None]) -> None:
    local.path("a/1").unlink()
    local.update(delete_extra=True, dry_run=True)
    spoil(local.joblist / LISTED)
    assert local.update(delete_extra=True).updated.deleted == 0
    assert local.arrived() == FILES_OF
    assert local.update(delete_extra=True).updated.deleted == 1


def at(path: Path, time: datetime) -> None:
    header, *lines = path.read_text().splitlines(keepends=True)
    changed = {**json.loads(header), "at": time.strftime("%Y-%m-%dT%H:%M:%SZ")}
    path.write_text(json.dumps(changed) + "\n" + "".join(lines))


def test_a_file_that_was_not_listed(local: World) -> None:
    """Nothing goes until a list has shown all; fewer than were shown may go."""
    for name in ("a/1", "a/2"):
        local.path(name).unlink()
    local.update(delete_extra=True, dry_run=True)
    local.path("b/4").unlink()
    assert local.update(delete_extra=True).updated.deleted == 0
    rewrite(local.path("a/1"), FILES_OF["a/1"])
    local.update()
    local.transfer()
    assert local.update(delete_extra=True).updated.deleted == 2
    assert local.arrived() == without(local, "a/2", "b/4")


def test_most_files_of_a_job(local: World) -> None:
    for name in ("b/4", "b/5"):
        local.path(name).unlink()
    found = local.prune()
    assert (found.exit_code, found.updated.deleted, found.updated.refused) == (1, 0, 2)
    assert "--max-delete 2" in reasons(found)
    assert "no more than 1" in reasons(local.prune(max_delete=1))
    assert local.arrived() == FILES_OF
    assert local.prune(max_delete=2).updated.deleted == 2
    assert local.verify() == set()


@pytest.mark.parametrize("remove_folder", [True, False])
def test_a_job_without_a_source(local: World, remove_folder: bool) -> None:
    """It is missing or empty: a filesystem may not be mounted."""
    shutil.rmtree(local.path("b"))
    if not remove_folder:
        local.path("b").mkdir()
    found = local.prune(max_delete=1000)
    assert found.updated.deleted == 0
    assert local.arrived() == FILES_OF


@pytest.mark.parametrize("remove_folder", [True, False])
def test_the_whole_source_is_gone(local: World, remove_folder: bool) -> None:
    shutil.rmtree(local.source)
    if not remove_folder:
        local.source.mkdir()
    error = jobtool.UsageError if remove_folder else jobtool.LayoutError
    with pytest.raises(
        error, match="found nothing" if remove_folder else "is its filesystem mounted"
    ):
        local.prune(max_delete=1000)
    assert local.arrived() == FILES_OF


def test_a_folder_that_is_there_and_empty(local: World) -> None:
    """It may be the mount point of another filesystem."""
    shutil.rmtree(local.path("a/deep"))
    local.path("a/deep").mkdir()
    local.path("a/2").unlink()
    found = local.prune(max_delete=1000)
    assert (found.updated.deleted, found.updated.refused) == (1, 2)
    assert "as if a filesystem weren't mounted" in reasons(found)
    assert local.arrived() == without(local, "a/2")
    local.path("a/deep").rmdir()
    assert local.prune(max_delete=1000).updated.deleted == 2


def test_a_filesystem_that_should_be_mounted(tmp_path: Path) -> None:
    table = tmp_path / "fstab"
    point = tmp_path / "a disk"
    escaped = str(point).replace(" ", r"\040")
    table.write_text(
        f"# comment\n\n/dev/sda1 / ext4 defaults 0 1\nproc /proc proc\nserver:/x {escaped} nfs rw\n"
    )
    (tmp_path / "link").symlink_to(point)
    for path in (point, point / "data", tmp_path, tmp_path / "link" / "data"):
        assert "Mount it" in (why_unmounted(str(path), table=str(table)) or "")
    for path in (tmp_path / "a disk 2", Path("/proc/self")):
        assert why_unmounted(str(path), table=str(table)) is None
    assert why_unmounted("/", table=str(tmp_path / "none")) is None


def test_a_destination_behind_a_link(folder: Path) -> None:
    """Links above the destination are followed, links inside it aren't."""
    (folder / "disk" / "copies").mkdir(parents=True)
    (folder / "copies").symlink_to("disk/copies")
    world = done_world(folder)
    assert world.arrived() == FILES_OF
    deep = folder / "copies" / "a" / "deep"
    deep.rename(folder / "elsewhere")
    deep.symlink_to(folder / "elsewhere")
    for name in ("a/1", "a/deep/y"):
        world.path(name).unlink()
    found = world.prune()
    assert (found.updated.deleted, found.updated.refused) == (1, 1)
    assert "behind a link" in reasons(found)
    assert (folder / "elsewhere" / "y").exists()
    assert [path for path in tree(folder / "disk") if path.endswith("/files/1")]
    assert {name for _, name in world.verify()} <= {"y", "x \n'ü", "deep"}


def test_new_and_changed_files_arrive_first(local: World) -> None:
    """A renamed file isn't deleted before it has arrived under its new name."""
    local.path("a/1").rename(local.path("a/renamed"))
    found = local.prune()
    assert (found.updated.deleted, found.updated.changed) == (0, 1)
    assert local.arrived() == FILES_OF
    local.transfer()
    assert local.prune().updated.deleted == 1
    assert local.arrived() == tree(local.source)


def test_files_of_others_stay(world: World) -> None:
    """Candidates are files with a receipt, as long as they hold what was brought."""
    world.overwrite("a/foreign", b"never by us")
    for name in ("a/1", "a/2"):
        world.path(name).unlink()
    world.overwrite("a/1", b"one\n" * 49 + b"ONE\n")  # the same size
    found = world.prune()
    assert (found.exit_code, found.updated.deleted, len(found.stays)) == (1, 1, 1)
    assert set(world.arrived()) == {*without(world, "a/2"), "a/foreign"}


def test_a_file_that_is_at_the_source_again(local: World) -> None:
    """The source is asked once more for each file."""
    for name in ("a/1", "a/2"):
        local.path(name).unlink()

    def put_back(event: jobtool.Event) -> None:
        if isinstance(event, ExtraFile) and event.path.endswith("/1"):
            rewrite(local.path("a/1"), FILES_OF["a/1"])

    found = local.prune(on_event=put_back)
    assert (found.updated.deleted, len(found.stays)) == (1, 1)
    assert local.arrived() == without(local, "a/2")


def test_what_was_released_is_no_extra(local: World) -> None:
    assert jobtool.release_jobs(str(local.joblist), jobs=["a"], remove=True).files == 5
    rewrite(local.path("a/6"), b"new")
    local.update()
    local.transfer()
    found = local.prune(max_delete=1000)
    assert (found.updated.extra, found.updated.released_files) == (0, 5)
    assert set(local.arrived()) == {*FILES_OF, "a/6"}


def test_excluded_files_are_extra_only_if_asked_for(local: World) -> None:
    command = ("generate-joblist", local.source, "-o", local.joblist, "--delete-extra", "--yes")
    done = run(*command, "--exclude", "deep/")
    assert (done.exit_code, local.arrived()) == (0, FILES_OF), done
    done = run(*command, "--delete-excluded")
    assert done.exit_code == 0, done
    assert local.arrived() == without(local, "a/deep/y", "a/deep/x \n'ü")
    assert tree(local.source) == FILES_OF


def nested(folder: Path, there: str) -> World:
    """The jobs a and b, and one whose destination is inside that of a, or a link leads there."""
    world = done_world(folder, files={**FILES_OF, "other/y": b"y" * 3000, "other/z": b"z"})
    text = (world.joblist / "other.txt").read_text()
    changed = text.replace("success", "todo", 1).replace("copies/other", there)
    (world.joblist / "other.txt").write_text(changed)
    return world


@pytest.mark.parametrize("there", ["copies/a/deep", "a link/deep"])
def test_files_that_another_job_brings_too(folder: Path, there: str) -> None:
    world = nested(folder, there)
    (folder / "a link").symlink_to("copies/a")
    world.path("a/deep/y").unlink()
    found = world.prune()
    assert "isn't done" in reasons(found)
    world.transfer()
    found = world.prune()
    assert found.updated.deleted == 0
    assert "another job of this joblist" in reasons(found)
    assert world.arrived()["a/deep/y"] == b"y" * 3000


def test_a_joblist_that_others_could_have_written(local: World) -> None:
    local.path("a/1").unlink()
    os.chmod(local.joblist / "a.txt", 0o666)
    with pytest.raises(jobtool.JoblistError, match="update_joblist"):
        local.prune()
    assert local.arrived() == FILES_OF
    assert local.prune(trust=True).updated.deleted == 1


def test_a_store_whose_service_does_not_copy(folder: Path) -> None:
    """fsspec's memory: files go to the trash through this process."""
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    root = f"/of-{os.getpid()}-{folder.parent.name}"
    world = World(folder)
    for name, data in {"a/1": b"one", "a/2": b"two", "a/large": os.urandom(9_000_000)}.items():
        rewrite(world.path(name), data)
    jobtool.generate_joblist(
        world.source, world.joblist, destination=f"{root}/copies", target_fs=memory
    )
    world.transfer(target_fs=memory)
    large = world.path("a/large").read_bytes()
    for name in ("1", "large"):
        world.path(f"a/{name}").unlink()
    found = world.prune(max_delete=2, target_fs=memory)
    assert (found.exit_code, found.updated.deleted) == (0, 2), found
    files = memory.find(root)
    assert {path.rpartition("/")[2] for path in files if "/copies/" in path} == {"2"}
    (trashed,) = (path for path in files if path.endswith("/large"))
    assert memory.cat(trashed) == large


def test_objects_in_parts(server: S3Server, folder: Path) -> None:
    """The ETag of the receipt proves them."""
    world = World(folder, server, server.new_bucket())
    large = bytes(range(256)) * 4096 * 12
    for name, data in {"a/1": b"one", "a/2": b"two", "a/large": large}.items():
        rewrite(world.path(name), data)
    jobtool.generate_joblist(world.source, world.joblist, destination=world.destination)
    world.transfer(part_size_bytes=5 * 1024 * 1024)
    world.path("a/large").unlink()
    found = world.prune()
    assert (found.exit_code, found.updated.deleted) == (0, 1), found
    assert set(world.arrived()) == {"a/1", "a/2"}
    assert world.trashed() == {"large": large}
    assert world.verify() == set()


def test_trash_on_another_filesystem(local: World) -> None:
    if (
        not os.access("/dev/shm", os.W_OK)
        or os.stat("/dev/shm").st_dev == os.stat(local.folder).st_dev
    ):
        pytest.skip("needs two filesystems")
    set_transfer(local, f'trash = "/dev/shm/jobtool-trash-{os.getpid()}"')
    local.path("a/1").unlink()
    try:
        found = local.prune()
    finally:
        shutil.rmtree(f"/dev/shm/jobtool-trash-{os.getpid()}", ignore_errors=True)
    assert (found.updated.deleted, found.exit_code) == (0, 1)
    assert local.arrived() == FILES_OF
