"""``jobtool receive``: the joblist of packages that have arrived."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest
from msgspec import structs

from jobtool.jobs.joblist import JobList
from jobtool.packages.manifest import MAX_MANIFEST_BYTES, decode_manifest, encode_manifest
from tests.commands import BIN, assert_one_line_error, run, run_ok
from tests.packages.made import index_of, make_package, manifest_of, tree
from tests.receiving.worlds import World, events_of
from tests.trees import statuses

STEPS = ("unpack", "verify", "archive")


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_jobs_come_one_after_the_other_and_the_places_are_those_of_the_site(world):
    tar = world.package("night-1", {"a": 2, "b": 1})
    done = world.receive(*world.at_cologne, "--then", "archive,unpack,verify", "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    package, total = events_of(done)
    assert (package["package"], package["items"], package["members"]) == ("night-1", 2, 3)
    assert (total["new"], total["jobs"], total["known"]) == (1, 3, 0)
    jobs = {
        job_id: JobList.open(str(world.joblist)).load(job_id)[0] for job_id in world.job_files()
    }
    assert set(jobs) == {f"night-1.{step}.cologne" for step in STEPS}
    assert {job.package.at for job in jobs.values()} == {("cologne",)}
    assert jobs["night-1.unpack.cologne"].source == f"package+file://{tar}"
    assert jobs["night-1.unpack.cologne"].destination == str(world.folder / "cologne/work")
    assert jobs["night-1.unpack.cologne"].package.after == ()
    assert jobs["night-1.verify.cologne"].package.after == ("night-1.unpack.cologne",)
    assert jobs["night-1.archive.cologne"].package.after == ("night-1.verify.cologne",)
    assert jobs["night-1.archive.cologne"].source == str(world.buffer)
    assert jobs["night-1.archive.cologne"].destination == str(world.folder / "cologne/arc")


def test_what_arrives_later_is_added_and_jobs_stay_as_they_are(world):
    world.package("night-1", {"a": 3})
    assert world.receive(*world.at_cologne, "--then", "unpack,archive").exit_code == 0
    run_ok("transfer-worker", "-i", world.joblist)
    before = world.job_files()
    world.package("night-2", {"b": 2})
    (event, total) = events_of(world.receive("--json"))
    assert (event["package"], total["new"], total["known"]) == ("night-2", 1, 1)
    after = world.job_files()
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"night-2.unpack.cologne", "night-2.archive.cologne"}
    run_ok("transfer-worker", "-i", world.joblist, "--site", "cologne")
    assert set(statuses(world.joblist).values()) == {"success"}
    sources = (tree(world.buffer / f"source of night-{number}") for number in (1, 2))
    assert world.unpacked() == {name: data for files in sources for name, data in files.items()}
    assert (world.folder / "cologne/arc/night-2.tar").read_bytes() == (
        world.buffer / "night-2.tar"
    ).read_bytes()


def cut(path, size):
    os.truncate(path, size)


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        (lambda tar: tar.unlink(), "there is no p.tar"),
        (lambda tar: cut(tar, 600), "p.tar has 600 of"),
        (lambda tar: index_of(tar).unlink(), "there is no p.tar.index.parquet"),
        (lambda tar: cut(index_of(tar), 9), "p.tar.index.parquet has 9 of"),
        (lambda tar: manifest_of(tar).unlink(), "there is no p.tar.manifest.json"),
    ],
)
def test_a_package_that_is_not_complete_gets_no_jobs_until_it_is(world, harm, expected):
    tar = world.package("p", {"a": 2})
    kept = world.folder / "kept"
    shutil.copytree(world.buffer, kept)
    harm(tar)
    done = world.receive("--unpack", world.folder / "u")
    assert (done.exit_code, done.stderr) == (0, "")
    assert f"💡 p: not complete yet: {expected}" in done.stdout
    assert world.job_files() == {}
    shutil.copytree(kept, world.buffer, dirs_exist_ok=True)
    assert world.receive().exit_code == 0
    assert set(world.job_files()) == {"p.unpack"}


def rewrite(path, old, new):
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        (lambda tar: cut(manifest_of(tar), 99), "can't be read as the manifest of a package"),
        (lambda tar: rewrite(manifest_of(tar), b'"format": 1', b'"format": 9'), "the format 1;"),
        (lambda tar: rewrite(manifest_of(tar), b'"name":"a"', b'"name":"../a"'), "a part '..'"),
        (lambda tar: rewrite(manifest_of(tar), b'"name":"a"', b'"name":"/etc"'), "a slash at"),
        (lambda tar: rewrite(manifest_of(tar), b'"name":"b"', b'"name":"a"'), "found it twice"),
        (lambda tar: rewrite(manifest_of(tar), b'p.tar"', b'q.tar"'), "expected the file 'p.tar'"),
        (lambda tar: cut(tar, tar.stat().st_size + 1), "as its manifest says; found"),
        (lambda tar: cut(manifest_of(tar), MAX_MANIFEST_BYTES + 1), "expected at most 268435456"),
        (
            lambda tar: shutil.copy(manifest_of(tar.with_name("good.tar")), manifest_of(tar)),
            "expected the manifest of p; found that of good",
        ),
    ],
)
def test_a_bad_manifest_is_named_and_left_out_and_the_others_are_received(world, harm, expected):
    world.package("good", {"x": 1})
    tar = world.package("p", {"a": 2, "b": 1})
    harm(tar)
    done = world.receive("--unpack", world.folder / "u")
    assert (done.exit_code, done.stderr) == (1, "")
    (line,) = [line for line in done.lines if line.startswith("❌")]
    assert line.startswith("❌ p: ")
    assert expected in line
    assert set(world.job_files()) == {"good.unpack"}


def test_another_package_of_a_name_is_refused_and_the_same_elsewhere_is_known(world):
    world.package("p", {"a": 2})
    assert world.receive("--unpack", world.folder / "u").exit_code == 0
    jobs = world.job_files()
    other = world.folder / "other"
    other.mkdir()
    for path in world.buffer.glob("p.tar*"):
        shutil.copy(path, other)
    assert "1 known already" in world.receive(url=other).stdout
    for path in other.iterdir():
        path.unlink()
    make_package(other, {"a/0": b"other bytes"}, name="p", items=True)
    done = world.receive(url=other)
    assert done.exit_code == 1
    (line,) = [line for line in done.lines if line.startswith("❌")]
    assert line.startswith("❌ p: expected a tar of")
    assert str(world.buffer) in line
    assert world.job_files() == jobs


@pytest.mark.parametrize("name", ["a", "a/b", "a/b/c"])
def test_two_packages_never_unpack_one_item(world, name):
    tar = world.package("first", {"a": 1})
    rewrite(manifest_of(tar), b'"name":"a"', b'"name":"a/b"')
    assert world.receive("--unpack", world.folder / "u").exit_code == 0
    tar = world.package("second", {"a": 1, "z": 1})
    rewrite(manifest_of(tar), b'"name":"a"', f'"name":"{name}"'.encode())
    done = world.receive()
    assert done.exit_code == 1
    assert (
        f"❌ second: its item {name} would be unpacked where package first has one" in done.stdout
    )
    assert set(world.job_files()) == {"first.unpack"}


def test_without_unpacking_packages_may_have_one_item(world):
    world.package("first", {"a": 1})
    world.package("second", {"a": 1})
    done = world.receive("--then", "archive", "--archive", world.folder / "arc")
    assert done.exit_code == 0
    assert set(world.job_files()) == {"first.archive", "second.archive"}


def test_a_dry_run_writes_nothing(world):
    world.package("p", {"a": 2})
    done = world.receive("--unpack", world.folder / "u", "--dry-run", "--json")
    assert done.exit_code == 0
    assert [event["event"] for event in events_of(done)] == ["package-received", "received"]
    assert events_of(done)[0]["jobs"] == ["p.unpack"]
    assert not world.joblist.exists()
    assert world.receive("--unpack", world.folder / "u").exit_code == 0
    world.package("q", {"b": 2})
    before = tree(world.joblist)
    total = events_of(world.receive("--dry-run", "--json"))[-1]
    assert (total["new"], total["known"], total["dry_run"]) == (1, 1, True)
    assert tree(world.joblist) == before


def test_names_of_any_kind(tmp_path):
    world = World(tmp_path / "50% of all %41")
    world.buffer = world.folder / "a 'buffer'\n\udcff"
    world.buffer.mkdir()
    names = ["a b", "100%41", "line\nbreak", "\udcfe", "-v", "é" * 60, "x.tar"]
    for name in names:
        world.package(name, {f"item {name}": 2, f"{name}%": 1})
    done = world.receive("--unpack", world.folder / "unpacked here")
    assert (done.exit_code, done.stderr) == (0, "")
    assert len(world.job_files()) == len(names)
    run_ok("transfer-worker", "-i", world.joblist, "-v", 0)
    found = tree(world.folder / "unpacked here")
    sources = [tree(world.buffer / f"source of {name}") for name in names]
    assert found == {path: data for files in sources for path, data in files.items()}
    assert f"{len(names)} known already" in world.receive().stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "--then unpack: expected --unpack URL"),
        (("--then", "unpak", "--unpack", "u"), "Did you mean 'unpack'?"),
        (("--then", "verify"), "--then verify: expected unpack before it"),
        (("--then", "archive", "--archive", "{buffer}"), "is where the packages have arrived"),
        (("--unpack", "{buffer}"), "is where the packages have arrived"),
        (("--unpack", "u", "--archive", "a"), "expected archive among the steps"),
        (("--unpack", "u", "--release", "source"), "the source is at the sender"),
        (("--unpack", "u", "--release", "bufers"), "Did you mean 'buffers'?"),
        (("--unpack", "u", "--site", "a.b"), "--site: expected a name of letters"),
        (("--to", "cologne"), "--to: expected --sites FILE"),
        (("--sites", "{sites}"), "expected --site NAME as well"),
        (("--sites", "{sites}", "--site", "colone"), "Did you mean 'cologne'?"),
        (("--sites", "{sites}", "--site", "hub"), "expected a location processing of hub"),
        (("--sites", "{sites}", "--site", "hub", "--to", "cologne"), "a location of hub"),
        (("--sites", "{sites}", "--site", "cologne", "--to", "cologne"), "another site"),
        (("--sites", "{sites}", "--site", "cologne", "--to", "chile"), "no route"),
        (("--unpack", "u", "--set", "x=1"), "expected SCHEME.KEY or credentials.KEY"),
    ],
)
def test_what_can_not_be_meant_is_refused_and_leaves_nothing(world, arguments, expected):
    world.package("p", {"a": 1})
    filled = [text.format(buffer=world.buffer, sites=world.sites) for text in arguments]
    done = run("jobtool", "receive", world.buffer, "-o", "arrived", *filled, cwd=world.folder)
    assert_one_line_error(done, 2, expected)
    assert not world.joblist.exists()


def test_a_folder_that_is_not_there_leaves_no_joblist(world):
    done = world.receive("--unpack", world.folder / "u", url=world.folder / "nothing")
    assert_one_line_error(done, 2, "found nothing")
    assert not world.joblist.exists()


def test_later_runs_can_not_ask_for_something_else(world):
    world.package("p", {"a": 1})
    assert world.receive(*world.at_cologne, "--then", "unpack").exit_code == 0
    before = tree(world.joblist)
    for option, value in (
        ("--then", "unpack,archive"),
        ("--unpack", world.folder / "u"),
        ("--site", "hub"),
        ("--release", "buffers"),
    ):
        assert_one_line_error(world.receive(option, value), 2, f"{option}: expected")
    done = world.receive("--set", "s3.region=eu-central-1")
    assert_one_line_error(done, 2, "another 'region' in [s3]")
    assert tree(world.joblist) == before
    assert world.receive(*world.at_cologne, "--then", "unpack").exit_code == 0


def test_a_joblist_of_another_kind_is_left_alone(world):
    world.package("p", {"a": 1})
    run_ok("generate-joblist", "-i", world.buffer, "-o", world.joblist, "-d", world.folder / "d")
    before = tree(world.joblist)
    done = world.receive("--unpack", world.folder / "u")
    assert_one_line_error(done, 2, "that jobtool receive didn't make")
    assert tree(world.joblist) == before
    (world.folder / "full").mkdir()
    (world.folder / "full/file").touch()
    done = world.receive("--unpack", world.folder / "u", output="full")
    assert_one_line_error(done, 2, "neither a joblist nor empty")


def test_an_item_never_replaces_the_joblist_or_packages(world):
    world.package("bad", {"arrived": 1, "cologne": 1})
    world.package("good", {"a": 1})
    done = world.receive("--unpack", world.folder)
    assert done.exit_code == 1
    assert "its item arrived would be unpacked over" in done.stdout
    assert set(world.job_files()) == {"good.unpack"}
    world.package("around", {"cologne": 1})
    done = world.receive()
    assert f"its item cologne would be unpacked over {world.buffer}" in done.stdout


@pytest.mark.parametrize("place", ["arrived", "arrived/below"])
@pytest.mark.parametrize("step", ["unpack", "archive"])
def test_nothing_goes_into_the_joblist(world, step, place):
    world.package("p", {"a": 1})
    done = world.receive("--then", step, f"--{step}", world.folder / place)
    assert_one_line_error(done, 2, f"--{step}: ", "lies in the joblist")
    assert not world.joblist.exists()


def test_a_member_outside_the_items_of_its_package_is_not_unpacked(world):
    tar = world.package("p", {"a": 2, "b": 1})
    manifest = decode_manifest(manifest_of(tar).read_bytes(), where="p")
    one = structs.replace(manifest.items[0], members=manifest.members, bytes=manifest.bytes)
    manifest_of(tar).write_bytes(encode_manifest(structs.replace(manifest, items=(one,))))
    assert world.receive("--unpack", world.folder / "work").exit_code == 0
    assert run("transfer-worker", "-i", world.joblist).exit_code == 1
    (text,) = world.job_files().values()
    assert "member b/0: expected members of the items that the manifest names" in text
    assert not (world.folder / "work/b").exists()


def test_a_manifest_must_have_all_members_in_items(world):
    tar = world.package("p", {"a": 2, "b": 1})
    manifest = decode_manifest(manifest_of(tar).read_bytes(), where="p")
    manifest_of(tar).write_bytes(encode_manifest(structs.replace(manifest, items=())))
    done = world.receive("--unpack", world.folder / "work")
    assert done.exit_code == 1
    assert "expected items of all 3 members" in done.stdout
    assert world.job_files() == {}


def test_a_file_is_not_a_folder_of_packages(world):
    tar = world.package("p", {"a": 1})
    done = world.receive("--unpack", world.folder / "work", url=tar)
    assert_one_line_error(done, 2, f"expected a folder of packages at {tar}; found a file")
    assert not world.joblist.exists()


def test_two_at_a_time_make_each_job_once_and_count_it_once(world):
    assert world.receive("--unpack", world.folder / "work").exit_code == 0  # nothing yet
    for number in range(12):
        world.package(f"p{number}", {f"a{number}": 1})
    command = (str(BIN / "jobtool"), "receive", world.buffer, "-o", world.joblist, "--json")
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    totals = [json.loads(each.communicate()[0].splitlines()[-1]) for each in both]
    counts = {what: sum(total[what] for total in totals) for what in ("jobs", "new", "known")}
    assert counts == {"jobs": 12, "new": 12, "known": 12}
    assert len(world.job_files()) == 12
