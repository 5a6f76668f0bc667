"""Only what was staged is deleted: unchanged, needed by nobody, and held by a copy elsewhere."""

from __future__ import annotations

import json
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

import jobtool
from jobtool import failpoints
from jobtool.catalog.folder import CatalogFolder
from jobtool.errors import StagingError
from jobtool.jobs.table import write_table
from jobtool.staging.accessfolder import AccessFolder
from jobtool.staging.accessrecord import Requested, RequestedItem
from jobtool.stores.registry import StoreRegistry
from tests.commands import assert_one_line_error
from tests.faults.victim import UNSTAGING_STEPS
from tests.packages.made import forged, index_of
from tests.staging.world import FILES, World, below, world_in


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A world in which ada has staged both items."""
    world = world_in(tmp_path)
    world.ok("stage", "d/scan_07", "d/scan_08", "--for", "10d")
    return world


def outcomes(world: World, *arguments: object, who: str = "ada", code: int = 0) -> dict[str, dict]:
    done = world.run("unstage", *arguments, "--json", who=who)
    assert done.exit_code == code, done
    return {line["item"]: line for line in map(json.loads, done.lines)}


def in_days(days: float):
    """A clock that is ahead by so many days."""
    return lambda: datetime.now(UTC) + timedelta(days=days)


def expire(world: World, days: float, **options):
    found = jobtool.unstage_items(expired=True, sites=world.sites, clock=in_days(days), **options)
    return {each.item: each for each in found}


def test_staged_files_go_and_the_catalog_says_so(world: World) -> None:
    found = outcomes(world, "d/scan_07")["d/scan_07"]
    assert (found["outcome"], found["files"], found["bytes"]) == ("freed", 3, 6000)
    assert found["evidence"] == str(world.archive / "night-1.tar")
    assert world.staged() == below("d/scan_08")
    assert not (world.work / "d/scan_07").exists()
    assert world.copies("d/scan_07")["cologne.processing"] == "released"
    assert [line["item"] for line in world.listed()] == ["d/scan_08"]
    (announced,), (ended,) = world.records("freeing"), world.records("freed")
    assert (ended["freeing"], ended["removed"]) == (announced["id"], 3)
    # It can be staged again.
    world.ok("stage", "d/scan_07")
    assert world.staged() == FILES
    assert world.copies("d/scan_07")["cologne.processing"] == "present"
    world.ok("unstage", "d/scan_07")
    assert world.staged() == below("d/scan_08")


def test_a_dry_run_changes_nothing(world: World) -> None:
    def everything():
        return sorted((path, path.stat().st_mtime_ns) for path in world.root.rglob("*"))

    before = everything()
    found = outcomes(world, "d/scan_07", "--dry-run")["d/scan_07"]
    assert (found["outcome"], found["files"], found["dry_run"]) == ("freed", 3, True)
    assert everything() == before


def test_changed_files_and_all_that_wasnt_staged_stay(world: World) -> None:
    folder = world.work / "d/scan_07"
    (folder / "a.bin").write_bytes(b"z" * 1000)  # the same size
    (folder / "sub/notes").write_text("mine")
    (folder / "empty").mkdir()
    found = outcomes(world, "d/scan_07")["d/scan_07"]
    assert (found["outcome"], found["files"]) == ("freed", 2)
    assert (found["kept_files"], found["kept"]) == (1, ["a.bin"])
    assert world.staged() == {
        "d/scan_07/a.bin": b"z" * 1000,
        "d/scan_07/sub/notes": b"mine",
        **below("d/scan_08"),
    }
    assert (folder / "empty").is_dir()


def test_files_of_another_size_replaced_by_links_or_gone_stay_or_are_gone(world: World) -> None:
    folder = world.work / "d/scan_07"
    (folder / "sub/b.bin").write_bytes(b"short")
    elsewhere = world.root / "elsewhere"
    elsewhere.mkdir()
    shutil.move(folder / "a.bin", elsewhere / "a.bin")  # keeps its time
    (folder / "a.bin").symlink_to(elsewhere / "a.bin")
    (folder / "sub/c.bin").unlink()
    found = outcomes(world, "d/scan_07")["d/scan_07"]
    assert (found["files"], sorted(found["kept"])) == (0, ["a.bin", "sub/b.bin"])
    assert (elsewhere / "a.bin").read_bytes() == FILES["d/scan_07/a.bin"]


@pytest.mark.parametrize("moved", ["d/scan_07/sub", "d/scan_07", "d"])
def test_a_folder_that_is_a_link_now_isnt_entered(world: World, moved: str) -> None:
    shutil.move(world.work / moved, world.root / "theirs")
    (world.work / moved).symlink_to(world.root / "theirs")
    before = {path for path in (world.root / "theirs").rglob("*") if path.is_file()}
    outcomes(world, "d/scan_07")
    assert {path for path in (world.root / "theirs").rglob("*") if path.is_file()} == before


def lose_archive(world: World) -> None:
    (world.archive / "night-1.tar").unlink()


def cut_archive(world: World) -> None:
    os.truncate(world.archive / "night-1.tar", 1024)


def change_index(world: World) -> None:
    data = bytearray(index_of(world.archive / "night-1.tar").read_bytes())
    data[20] ^= 1
    index_of(world.archive / "night-1.tar").write_bytes(data)


def forge_index(world: World) -> None:
    forged(world.archive / "night-1.tar", 0, md5="0" * 32)


def replace_package(world: World) -> None:
    world.pack({**FILES, "d/scan_07/a.bin": b"other" * 200})


def miss_archive(world: World) -> None:
    tar = world.archive / "night-1.tar"
    world.record("d/scan_07", tar=tar, state="missing", verified_at=in_days(0.1)())


@pytest.mark.parametrize(
    "damage",
    [lose_archive, cut_archive, change_index, forge_index, replace_package, miss_archive],
)
def test_without_another_copy_that_holds_the_item_stays(world: World, damage) -> None:
    damage(world)
    found = outcomes(world, "d/scan_07", code=1)["d/scan_07"]
    assert found["outcome"] == "stays"
    assert "no other copy" in found["reason"]
    assert world.staged() == FILES
    assert world.copies("d/scan_07")["cologne.processing"] == "present"
    assert world.records("freeing") == []
    assert len(world.listed()) == 2


def test_a_second_package_is_enough(world: World) -> None:
    other = world.pack(below("d/scan_07"), name="again", folder="chile")
    world.record("d/scan_07", tar=other, site="chile")
    lose_archive(world)
    assert outcomes(world, "d/scan_07")["d/scan_07"]["evidence"] == str(other)


def test_an_open_copy_is_read_and_a_link_to_the_same_files_is_none(world: World) -> None:
    lose_archive(world)
    copy = {"form": "files", "location": "buffer", "digest": None}
    tar = world.pack(FILES, name="night-2", folder="other")
    link = world.root / "link"
    link.symlink_to(world.work)
    world.record("d/scan_07", tar=tar, url=str(link / "d/scan_07"), **copy)
    assert "the staged file itself" in outcomes(world, "d/scan_07", code=1)["d/scan_07"]["reason"]
    shutil.copytree(world.work, world.root / "buffer")
    world.record("d/scan_07", tar=tar, url=str(world.root / "buffer/d/scan_07"), **copy)
    (world.root / "buffer/d/scan_07/a.bin").write_bytes(b"z" * 1000)
    assert "has other bytes" in outcomes(world, "d/scan_07", code=1)["d/scan_07"]["reason"]
    assert world.staged() == FILES
    (world.root / "buffer/d/scan_07/a.bin").write_bytes(b"a" * 1000)
    assert outcomes(world, "d/scan_07")["d/scan_07"]["how"] == "its files, read back"
    assert world.staged() == below("d/scan_08")


def test_reading_the_members_back_finds_a_damaged_tar(world: World) -> None:
    tar = world.archive / "night-1.tar"
    data = bytearray(tar.read_bytes())
    at = data.index(b"b" * 5000)
    data[at] ^= 1
    tar.write_bytes(data)
    found = outcomes(world, "d/scan_07", "--deep", code=1)["d/scan_07"]
    assert "no other copy" in found["reason"]
    assert world.staged() == FILES


def test_an_item_that_somebody_else_needs_stays_until_then(world: World) -> None:
    world.ok("stage", "d/scan_07", "--for", "20d", who="bob")
    found = outcomes(world, "d/scan_07")["d/scan_07"]
    assert (found["outcome"], world.staged()) == ("needed", FILES)
    assert found["reason"].startswith("bob needs it until ")
    assert [line["who"] for line in world.listed() if line["item"] == "d/scan_07"] == ["bob"]
    assert set(expire(world, 15)) == {"d/scan_08"}
    assert set(expire(world, 21)) == {"d/scan_07"}
    assert world.staged() == {}


def test_what_has_expired_is_freed_by_the_clock(world: World) -> None:
    assert "Nothing has expired" in world.ok("unstage", "--expired").stdout
    assert expire(world, 9.9) == {}
    assert {each.outcome for each in expire(world, 10.1).values()} == {"freed"}
    assert (world.staged(), world.listed()) == ({}, [])
    assert expire(world, 11) == {}


@pytest.mark.parametrize("days", [-2, -30_000, 6 * 365, 300_000])
def test_a_clock_that_cant_be_right_is_refused(world: World, days: int) -> None:
    with pytest.raises(StagingError, match="expected a clock that is about right"):
        expire(world, days)
    assert world.staged() == FILES


@pytest.mark.parametrize("step", UNSTAGING_STEPS)
def test_a_killed_one_goes_on(world: World, step: str) -> None:
    folder = world.work / "d/scan_07"
    (folder / "sub/notes").write_text("mine")
    world.killed(step, "unstage", "d/scan_07")
    is_released = step != "after a deletion of staged files is announced"
    state = "released" if is_released else "present"
    assert world.copies("d/scan_07")["cologne.processing"] == state
    # Half of it may be gone, so nobody is told that it is there.
    done = world.run("stage", "d/scan_07", who="bob")
    assert_one_line_error(done, 1, "is being freed by ada since", "jobtool unstage d/scan_07")
    assert [each for each in world.listed() if each["who"] == "bob"] == []
    found = outcomes(world, "--expired", who="bob")["d/scan_07"]
    assert found["outcome"] == "freed"
    assert world.staged() == {"d/scan_07/sub/notes": b"mine", **below("d/scan_08")}
    world.ok("stage", "d/scan_07", who="bob")
    assert world.staged() == {**FILES, "d/scan_07/sub/notes": b"mine"}


def test_a_killed_one_whose_copy_elsewhere_has_gone_since_stops(world: World) -> None:
    world.killed("after a staged file is deleted", "unstage", "d/scan_07")
    lose_archive(world)
    before = world.staged()
    assert outcomes(world, "d/scan_07", code=1)["d/scan_07"]["outcome"] == "stays"
    assert world.staged() == before
    assert len(before) == len(FILES) - 1


def ask(world: World, who: str) -> None:
    """Record that somebody needs an item, as a request at another host does."""
    url = str(world.work / "d/scan_07")
    stores = StoreRegistry()
    folder = CatalogFolder(str(world.catalog), stores, role="destination")
    access = AccessFolder(folder, stores, role="destination")
    item = RequestedItem(
        item="d/scan_07", url=url, site="cologne", location="processing", source="/"
    )
    access.add(
        Requested(
            id="f" * 16,
            who=who,
            host="other",
            at=access.now(),
            until=access.now() + timedelta(days=99),
            items=(item,),
        )
    )


def test_a_request_that_is_made_meanwhile_calls_it_off(world: World, monkeypatch) -> None:
    monkeypatch.setenv("LOGNAME", "ada")

    def meanwhile(point: str, *about: object) -> None:
        if point == "after a deletion of staged files is announced":
            ask(world, "carla")

    failpoints.install(meanwhile)
    try:
        (found,) = jobtool.unstage_items(["d/scan_07"], sites=world.sites, catalog=world.catalog)
    finally:
        failpoints.install(None)
    assert (found.outcome, world.staged()) == ("stays", FILES)
    assert "carla has just asked for it" in found.reason
    assert world.copies("d/scan_07")["cologne.processing"] == "present"
    (ended,) = world.records("freed")
    assert ended["called_off"] == found.reason
    # It isn't in the way of anything.
    assert "it is staged already" in world.ok("stage", "d/scan_07", who="bob").stdout


def test_files_that_were_there_before_stay(tmp_path: Path) -> None:
    world = world_in(tmp_path)
    shutil.copytree(world.archive / "source of night-1/d/scan_07", world.work / "d/scan_07")
    (world.work / "d/scan_07/sub/b.bin").unlink()
    world.ok("stage", "d/scan_07")
    found = outcomes(world, "d/scan_07")["d/scan_07"]
    assert (found["files"], sorted(found["kept"])) == (1, ["a.bin", "sub/c.bin"])
    assert world.staged() == {
        path: data for path, data in below("d/scan_07").items() if not path.endswith("b.bin")
    }


def test_forged_receipts_delete_nothing(world: World) -> None:
    (table,) = [
        path
        for path in (world.catalog / "access").glob("*.parquet")
        if any("scan_07" in one.dst_path for one in jobtool.read_table(str(path)))
    ]
    real = list(jobtool.read_table(str(table)))
    victim = world.root / "victim"
    victim.write_bytes(FILES["d/scan_07/a.bin"])
    os.utime(victim, ns=(real[0].mtime_ns, real[0].mtime_ns))
    inside = world.work / "d/scan_07/mine"
    shutil.copy2(victim, inside)
    for path in (str(victim), str(world.work / "d/scan_07/../../../victim"), str(inside)):
        (one,) = [each for each in real if each.src_path.endswith("a.bin")]
        forged_one = msgspec.structs.replace(one, dst_path=path)
        table.unlink()
        write_table(str(table), [forged_one], attempt=1)
        found = outcomes(world, "d/scan_07", code=1)["d/scan_07"]
        assert found["outcome"] == "stays", found
        assert (victim.exists(), inside.exists()) == (True, True)


def test_a_location_that_has_moved_since_is_left_alone(world: World) -> None:
    world.write_sites(world.root / "new work")
    found = outcomes(world, "d/scan_07", code=1)["d/scan_07"]
    assert "Put the location back" in found["reason"]
    assert world.staged() == FILES


def test_a_location_that_isnt_mounted_is_left_alone(world: World) -> None:
    world.work.rename(world.root / "unmounted")
    found = outcomes(world, "d/scan_07", code=1)["d/scan_07"]
    assert found["outcome"] == "stays"
    assert world.copies("d/scan_07")["cologne.processing"] == "present"


def test_an_item_that_isnt_staged_is_named(world: World) -> None:
    done = world.run("unstage", "d/scan_07", "d/scan_70")
    assert_one_line_error(done, 1, "d/scan_70", "Did you mean", "nothing was changed")
    assert world.staged() == FILES


def test_a_request_whose_files_havent_arrived_ends(world: World) -> None:
    world.record("late", tar=world.pack({"late/x": b"x"}, name="late"))
    world.ok("stage", "late", "--no-run")
    assert outcomes(world, "late")["late"]["outcome"] == "ended"
    assert "late" not in {line["item"] for line in world.listed()}


def test_either_items_or_expired(world: World) -> None:
    for arguments in ((), ("d/scan_07", "--expired")):
        assert_one_line_error(world.run("unstage", *arguments), 2, "either ITEM or --expired")


def test_a_job_whose_files_are_freed_meanwhile_brings_them_again(
    tmp_path: Path, monkeypatch
) -> None:
    world = world_in(tmp_path)
    for name, value in world.env().items():
        monkeypatch.setenv(name, value)
    world.ok("stage", "d/scan_07", "--member", "sub/b.bin")
    joblist = world.root / "list"
    world.ok("stage", "d/scan_07", "--no-run", "-o", joblist)
    toml = joblist / "joblist.toml"
    toml.write_text(toml.read_text().replace("backoff_seconds = 60.0", "backoff_seconds = 0.0"))
    freed = []

    def meanwhile(point: str, *about: object) -> None:
        # The job has found the file that was staged before, and the others are there.
        if point == "after the table" and not freed:
            freed.extend(jobtool.unstage_items(["d/scan_07"]))

    failpoints.install(meanwhile)
    try:
        done = jobtool.transfer_jobs(joblist)
    finally:
        failpoints.install(None)
    assert [(each.outcome, each.files) for each in freed] == [("freed", 1)]
    assert (done.exit_code, world.staged()) == (0, below("d/scan_07"))
    assert world.copies("d/scan_07")["cologne.processing"] == "present"
    (job,) = joblist.glob("*.txt")
    assert "ada has freed files of d/scan_07" in job.read_text()
