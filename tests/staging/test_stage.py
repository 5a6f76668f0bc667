"""Items are staged from their best copy, whole or in part, once for all who ask."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

import jobtool
from tests.commands import assert_one_line_error, run
from tests.faults.victim import STAGING_STEPS
from tests.staging.world import FILES, World, below, world_in


@pytest.fixture
def world(tmp_path: Path) -> World:
    return world_in(tmp_path)


def test_an_item_is_staged_recorded_and_in_the_catalog(world: World) -> None:
    done = world.ok("stage", "d/scan_07", "--for", "10d")
    assert "package night-1 in this site's archive" in done.stdout
    assert world.staged() == below("d/scan_07")
    assert world.copies("d/scan_07") == {
        "cologne.archive": "present",
        "cologne.processing": "present",
    }
    (line,) = world.listed()
    assert (line["item"], line["who"], line["state"]) == ("d/scan_07", "ada", "staged")
    assert (line["files"], line["bytes"]) == (3, 6000)


def test_a_second_request_adds_only_an_access_record(world: World) -> None:
    world.ok("stage", "d/scan_07")
    (job,) = world.jobs()
    before = job.read_bytes()
    world.ok("stage", "d/scan_07")
    other = world.ok("stage", "d/scan_07", "--for", "90d", who="bob")
    assert "it is staged already" in other.stdout
    assert world.jobs() == [job]
    assert job.read_bytes() == before
    assert world.jobs("bob") == []
    assert {line["who"] for line in world.listed()} == {"ada", "bob"}
    # The one that asks for less time than before says nothing new.
    count = len(world.records("requested"))
    world.ok("stage", "d/scan_07", "--for", "1h", who="bob")
    assert len(world.records("requested")) == count


def test_only_the_members_that_are_asked_for_are_brought(world: World) -> None:
    world.ok("stage", "d/scan_07", "--member", "sub/b*")
    assert world.staged() == {"d/scan_07/sub/b.bin": FILES["d/scan_07/sub/b.bin"]}
    # A part isn't a copy of the item.
    assert world.copies("d/scan_07") == {"cologne.archive": "present"}
    assert "it is staged already" in world.ok("stage", "d/scan_07", "--member", "sub/b*").stdout
    assert "it is staged already" not in world.ok("stage", "d/scan_07").stdout
    assert world.staged() == below("d/scan_07")
    assert world.copies("d/scan_07")["cologne.processing"] == "present"


def test_a_pattern_that_selects_nothing_is_an_error(world: World) -> None:
    done = world.run("stage", "d/scan_07", "--member", "nothing*")
    assert_one_line_error(done, 1, "nothing*", "d/scan_07")
    assert not (world.catalog / "access").exists()


def test_all_items_that_cant_be_staged_are_named_and_nothing_is_done(world: World) -> None:
    gone = world.pack({"d/gone/x": b"x"}, name="night-2")
    world.record("d/gone", tar=gone)
    gone.unlink()
    world.record("d/freed", tar=world.pack({"d/freed/x": b"x"}, name="night-3"), state="released")
    done = world.run("stage", "d/scan_07", "d/scan_7", "d/gone", "d/freed")
    assert_one_line_error(
        done,
        1,
        "d/scan_7: it isn't in the catalog. Did you mean d/scan_07?",
        "d/gone: none of its copies can be read: no tar is at",
        "d/freed: none of its copies can be read: released at cologne.archive",
    )
    assert world.staged() == {}
    assert world.jobs() == []
    assert not (world.catalog / "access").exists()
    done = world.ok("stage", "d/scan_07", "d/scan_7", "d/gone", "d/freed", "--skip-missing")
    assert done.stdout.count("is left out") == 3
    assert world.staged() == below("d/scan_07")


def test_an_item_in_two_packages_comes_from_the_one_that_is_there(world: World) -> None:
    other = world.pack(below("d/scan_07"), name="again", folder="chile")
    world.record("d/scan_07", tar=other, site="chile")
    (world.archive / "night-1.tar").unlink()
    done = world.ok("stage", "d/scan_07")
    assert "package again elsewhere, chile.archive" in done.stdout
    assert world.staged() == below("d/scan_07")


def test_open_files_at_the_site_are_nearer_than_its_archive(world: World) -> None:
    shutil.copytree(world.archive / "source of night-1", world.root / "buffer")
    tar = world.archive / "night-1.tar"
    url = str(world.root / "buffer/d/scan_07")
    world.record("d/scan_07", tar=tar, url=url, form="files", location="buffer", digest=None)
    assert "open files at this site" in world.ok("stage", "d/scan_07").stdout
    assert world.staged() == below("d/scan_07")


def test_an_item_that_is_one_file(world: World) -> None:
    world.record("table.csv", tar=world.pack({"table.csv": b"1,2"}, name="tables"))
    world.ok("stage", "table.csv")
    assert world.staged() == {"table.csv": b"1,2"}
    world.ok("unstage", "table.csv")
    assert world.staged() == {}


HOSTILE = ["with space", "new\nline", 'quote"', "%41", "a -> b", "-n", "ünï", os.fsdecode(b"\xff")]


def test_hostile_names(world: World) -> None:
    items = [f"{name}/item {name}" for name in HOSTILE]
    files = {f"{item}/{name}": name.encode("utf-8", "surrogateescape") for item in items
             for name in HOSTILE}  # fmt: skip
    world.record(*items, tar=world.pack(files, name="hostile"))
    listed = world.root / "items"
    from jobtool.names import quote

    listed.write_bytes("\n".join(map(quote, items)).encode("utf-8", "surrogateescape"))
    world.ok("stage", "--from-file", listed)
    assert world.staged() == files
    assert all(world.copies(item)["cologne.processing"] == "present" for item in items)
    world.ok("unstage", "--", *items)
    assert world.staged() == {}
    assert all(world.copies(item)["cologne.processing"] == "released" for item in items)


def test_a_joblist_alone_is_worked_on_by_a_worker(world: World) -> None:
    joblist = world.root / "list"
    done = world.ok("stage", "d/scan_07", "--no-run", "-o", joblist)
    assert f"transfer-worker {joblist}" in done.stdout
    assert world.staged() == {}
    assert [line["state"] for line in world.listed()] == ["requested"]
    worker = run("transfer-worker", joblist, "--site", "chile", env=world.env())
    assert (worker.exit_code, world.staged()) == (0, {}), worker
    assert run("transfer-worker", joblist, "--site", "cologne", env=world.env()).exit_code == 0
    assert [line["state"] for line in world.listed()] == ["staged"]
    assert world.copies("d/scan_07")["cologne.processing"] == "present"


@pytest.mark.parametrize(
    "step", [*STAGING_STEPS, "after a receipt is on record", "after the table"]
)
def test_a_killed_request_goes_on(world: World, step: str) -> None:
    world.killed(step, "stage", "d/scan_07")
    world.ok("stage", "d/scan_07")
    assert world.staged() == below("d/scan_07")
    assert world.copies("d/scan_07")["cologne.processing"] == "present"
    assert len(world.jobs()) == 1
    assert {(line["state"], line["files"]) for line in world.listed()} == {("staged", 3)}
    world.ok("unstage", "d/scan_07")
    assert world.listed() == []


def test_a_record_that_isnt_one_is_named(world: World) -> None:
    world.ok("stage", "d/scan_07")
    bad = world.catalog / "access/20260101T000000Z-requested-x.json"
    for data in (b"", b"{}", b'{"format": 2}', b'{"format": 1, "type": "requested"}', b"[" * 9999):
        bad.write_bytes(data)
        for command in (["stage", "--list"], ["stage", "d/scan_08"], ["unstage", "--expired"]):
            assert_one_line_error(world.run(*command), 1, str(bad))
    assert world.staged() == below("d/scan_07")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "expected the names of items"),
        (("d/scan_07", "--to", "procesing"), "processing"),
        (("d/scan_07", "--site", "colonge"), "cologne"),
        (("d/scan_07", "--wait", "--no-run"), "either --wait or --no-run"),
        (("d/scan_07", "--for", "30"), "expected a duration"),
        (("--from-file", "/nowhere"), "can't read /nowhere"),
    ],
)
def test_wrong_usage(world: World, arguments: tuple[str, ...], message: str) -> None:
    assert_one_line_error(world.run("stage", *arguments), 2, message)


def test_without_a_file_of_sites(world: World) -> None:
    env = {**world.env(), "JOBTOOL_SITES": ""}
    done = run("jobtool", "stage", "d/scan_07", "--catalog", world.catalog, env=env)
    assert_one_line_error(done, 2, "expected a file of sites")


def test_a_folder_that_is_no_joblist_of_its_own_is_left_alone(world: World) -> None:
    (world.root / "mine").mkdir()
    (world.root / "mine/file").write_text("mine")
    done = world.run("stage", "d/scan_07", "-o", world.root / "mine")
    assert_one_line_error(done, 2, "expected a joblist, an empty folder or nothing")
    assert not (world.catalog / "access").exists()


def test_from_python(world: World, monkeypatch) -> None:
    for name, value in world.env().items():
        monkeypatch.setenv(name, value)
    done = jobtool.stage_items(["d/scan_07", "d/scan_08"], days=2)
    assert (done.exit_code, set(done.statuses.values())) == (0, {"success"})
    assert [line.item for line in jobtool.list_staged(["d/scan_08"])] == ["d/scan_08"]
    freed = jobtool.unstage_items(["d/scan_08"])
    assert [(each.outcome, each.files) for each in freed] == [("freed", 1)]
    assert world.staged() == below("d/scan_07")


def test_events_as_json(world: World) -> None:
    lines = [json.loads(line) for line in world.ok("stage", "d/scan_07", "--json").lines]
    assert [line["item"] for line in lines if line["event"] == "stage-item"] == ["d/scan_07"]
    assert lines[-1]["event"] == "staging"
    assert lines[-1]["jobs"] == {"d/scan_07.stage.cologne": "success"}
