"""Members arrive proven or not at all; hostile and damaged packages leave nothing outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool.errors import (
    FileError,
    JobtoolError,
    NotFoundError,
    PackageError,
    SourceChangedError,
    StoreUnavailableError,
)
from jobtool.packages.index import IndexRow
from jobtool.packages.package import Placed
from jobtool.packages.reindex import reindex
from jobtool.packages.runs import RUN_BYTES, runs_of
from jobtool.packages.selection import Selection
from jobtool.packages.unpacking import Unpacking
from jobtool.stores.local import LocalStore
from jobtool.stores.memory import Memory, MemoryStore
from tests.commands import environment
from tests.packages.made import (
    MTIME_NS,
    forge,
    forged,
    index_of,
    item,
    make_package,
    make_tar,
    manifest_of,
    opened,
    rows,
    tree,
)

PLATE = {
    "p.zarr/0/c/0/0": b"1" * 5000,
    "p.zarr/0/c/0/1": b"",
    "p.zarr/0/zarr.json": b"{}",
    "p.zarr/zarr.json": b"{ }",
    "name with\nnewline": b"x" * 513,
    os.fsdecode(b"bytes-\xff"): b"y",
}
LARGE = os.urandom(RUN_BYTES + 12345)


def local(folder):
    return LocalStore(str(folder), owner="unpack", links="error")


def unpack(tar, folder, *texts, **changes):
    events = []
    done = Unpacking(
        opened(tar), local(folder), selection=Selection(texts), on_event=events.append, **changes
    ).run()
    return done, events


def visible(folder):
    return tree(folder) if folder.exists() else {}


def test_all_arrives_with_times_and_permissions(tmp_path):
    files = {**PLATE, "large": LARGE, "z": b"after the large one"}
    done, _ = unpack(make_package(tmp_path, files), tmp_path / "out")
    assert visible(tmp_path / "out") == files
    assert (done.members, done.failed) == (len(files), 0)
    for path in files:
        found = os.stat(tmp_path / "out" / path)
        assert (found.st_mtime_ns, found.st_mode & 0o7777) == (MTIME_NS, 0o640)


def test_rights_of_the_owner_are_not_given(tmp_path):
    unpack(make_package(tmp_path, {"a": b"1"}, mode=0o6755), tmp_path / "out")
    assert os.stat(tmp_path / "out" / "a").st_mode & 0o7777 == 0o755


def test_what_is_selected_arrives_and_nothing_else(tmp_path):
    tar = make_package(tmp_path, PLATE)
    unpack(tar, tmp_path / "out", "p.zarr/0/c")
    assert {*visible(tmp_path / "out")} == {"p.zarr/0/c/0/0", "p.zarr/0/c/0/1"}
    with pytest.raises(NotFoundError, match="expected a member for nosuch"):
        unpack(tar, tmp_path / "other", "nosuch", "p.zarr")
    assert not (tmp_path / "other").exists()


def test_metadata_comes_last_and_the_deepest_first(tmp_path):
    _, events = unpack(make_package(tmp_path, PLATE), tmp_path / "out")
    order = [event.member for event in events]
    assert order[-2:] == ["p.zarr/0/zarr.json", "p.zarr/zarr.json"]


def test_members_that_are_there_are_compared_by_digest(tmp_path):
    tar = make_package(tmp_path, {"same": b"1", "other": b"2", "short": b"33"})
    out = tmp_path / "out"
    out.mkdir()
    for name, data in {"same": b"1", "other": b"x", "short": b"3"}.items():
        (out / name).write_bytes(data)
    done, events = unpack(tar, out)
    assert visible(out) == {"same": b"1", "other": b"2", "short": b"33"}
    assert {event.member: event.outcome for event in events} == {
        "same": "kept",
        "other": "written",
        "short": "written",
    }
    assert os.stat(out / "same").st_mtime_ns == MTIME_NS
    assert (done.members, done.kept) == (2, 1)


def test_without_replacing_others_files_stay(tmp_path):
    tar = make_package(tmp_path, {"a": b"1", "b": b"2"})
    out = tmp_path / "out"
    out.mkdir()
    (out / "a").write_bytes(b"mine")
    done, events = unpack(tar, out, may_replace=False)
    assert (done.failed, done.members, done.exit_code) == (1, 1, 1)
    assert visible(out) == {"a": b"mine", "b": b"2"}
    assert "found something else there" in events[0].error


def test_no_link_below_the_destination_is_followed(tmp_path):
    tar = make_package(tmp_path, {"a": b"1", "folder/b": b"2", "c": b"3"})
    out, victim = tmp_path / "out", tmp_path / "victim"
    out.mkdir()
    victim.mkdir()
    (victim / "a").write_bytes(b"1")
    (out / "a").symlink_to(victim / "a")
    (out / "folder").symlink_to(victim)
    done, events = unpack(tar, out)
    assert done.failed == 1
    assert visible(victim) == {"a": b"1"}
    assert not (out / "a").is_symlink()
    assert (out / "a").read_bytes() == b"1"
    assert [event.member for event in events if event.kind == "member-failed"] == ["folder/b"]


def flip(tar: Path, offset: int) -> None:
    with tar.open("r+b") as file:
        file.seek(offset)
        old = file.read(1)
        file.seek(offset)
        file.write(bytes([old[0] ^ 1]))


@pytest.mark.parametrize("is_large", [False, True])
def test_a_damaged_member_gets_no_name_and_metadata_waits(tmp_path, is_large):
    data = LARGE if is_large else b"data"
    tar = make_package(tmp_path, {"a": b"good", "bad": data, "zarr.json": b"{}"})
    flip(tar, next(row.offset for row in rows(tar) if row.path == "bad") + 3)
    done, events = unpack(tar, tmp_path / "out")
    assert visible(tmp_path / "out") == {"a": b"good"}
    assert (done.members, done.failed, done.waiting, done.exit_code) == (1, 1, 1, 1)
    (failed,) = [event for event in events if event.kind == "member-failed"]
    assert "member bad: expected MD5" in failed.error


# Indexes that don't fit

ROW = IndexRow("a", 512, 1, "0" * 32, 0, 0o644)
FILES = {"a": b"1" * 600, "b": b"2" * 600, "c": b"3"}


@pytest.mark.parametrize(
    "changes",
    [
        {"path": "x"},
        {"size": 599},
        {"size": 601},
        {"mode": 0o777},
        {"mtime_ns": 5},
        {"path": "a/x", "md5": "0" * 32},
    ],
    ids=repr,
)
def test_a_row_that_says_something_else_than_the_tar_is_refused(tmp_path, changes):
    tar = make_package(tmp_path, FILES)
    forged(tar, 1, **changes)
    with pytest.raises(PackageError, match=r"doesn't fit its tar|file or a folder"):
        unpack(tar, tmp_path / "out")
    assert visible(tmp_path / "out") == {}


@pytest.mark.parametrize("left_out", [0, 1, 2])
def test_a_member_that_the_index_leaves_out_is_noticed(tmp_path, left_out):
    tar = make_package(tmp_path, FILES)
    found = rows(tar)
    del found[left_out]
    forge(tar, found)
    with pytest.raises(PackageError, match="where the index has no member"):
        unpack(tar, tmp_path / "out")


def test_a_member_within_another_members_data_is_refused(tmp_path):
    inner = make_tar(tmp_path / "inner.tar", [item("evil", b"boo")]).read_bytes()
    tar = make_package(tmp_path, {"outer": inner})
    (row,) = rows(tar)
    evil = msgspec.structs.replace(row, path="evil", offset=row.offset + 512, size=3)
    forge(tar, [evil])
    with pytest.raises(PackageError, match="where the index has no member"):
        unpack(tar, tmp_path / "out")


@pytest.mark.parametrize(
    "paths", [("a", "a"), ("a", "a/b"), ("a/b", "a"), ("a/b/c", "a/b"), ("x/y", "x/z/q", "x/z")]
)
def test_members_in_each_others_way_are_refused(tmp_path, paths):
    tar = make_tar(tmp_path / "p.tar", [item(path, b"1") for path in paths])
    with pytest.raises(PackageError, match=r"found two members|to be a file or a folder"):
        unpack(tar, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    found, at = [], 512
    for path in paths:
        found.append(msgspec.structs.replace(ROW, path=path, offset=at))
        at += 1024
    forge(tar, found)
    with pytest.raises(PackageError, match=r"found two members|to be a file or a folder"):
        unpack(tar, tmp_path / "out")


def test_a_package_and_a_manifest_that_differ_are_refused(tmp_path):
    tar = make_package(tmp_path, FILES)
    index, manifest = index_of(tar).read_bytes(), manifest_of(tar).read_bytes()
    other = make_package(tmp_path, {"a": b"1" * 600, "b": b"2" * 601, "d": b"3"}, name="q")
    index_of(tar).write_bytes(index_of(other).read_bytes().ljust(len(index), b"\0"))
    with pytest.raises(PackageError):
        unpack(tar, tmp_path / "out")
    index_of(tar).write_bytes(index)
    flip(index_of(tar), 200)
    with pytest.raises(PackageError, match="changed or damaged"):
        unpack(tar, tmp_path / "out")
    index_of(tar).write_bytes(index)
    for size in (len(manifest) - 5, 0):
        manifest_of(tar).write_bytes(manifest[:size])
        with pytest.raises(PackageError, match="manifest of a package"):
            unpack(tar, tmp_path / "out")
    manifest_of(tar).write_bytes(manifest_of(other).read_bytes())
    with pytest.raises(PackageError, match="the manifest is another one's"):
        unpack(tar, tmp_path / "out")
    manifest_of(tar).write_bytes(manifest)
    unpack(tar, tmp_path / "out")
    os.truncate(tar, tar.stat().st_size - 512)
    with pytest.raises(PackageError, match="The tar isn't complete"):
        unpack(tar, tmp_path / "other")


def test_without_an_index_the_manifest_still_counts(tmp_path):
    tar = make_package(tmp_path, FILES)
    index_of(tar).unlink()
    unpack(tar, tmp_path / "out")
    assert visible(tmp_path / "out") == FILES
    data = bytearray(tar.read_bytes())
    data[-3072:] = bytes(3072)  # the archive ends before its last member
    tar.write_bytes(data)
    with pytest.raises(PackageError, match="expected 3 members"):
        unpack(tar, tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("which", [lambda tar: tar, index_of], ids=["tar", "index"])
def test_a_file_that_is_replaced_meanwhile_ends_it(tmp_path, which):
    tar = make_package(tmp_path, FILES)
    package = opened(tar)
    os.utime(which(tar), ns=(1, 1))
    with pytest.raises(SourceChangedError, match=r"p\.tar"):
        Unpacking(package, local(tmp_path / "out")).run()
    assert visible(tmp_path / "out") == {}


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        (item("../evil", b"1"), "a part '..'"),
        (item("a/../../evil", b"1"), "a part '..'"),
        (item("/evil", b"1"), "a slash at its beginning"),
        (item("a//b", b"1"), "an empty part"),
        (item("dev", type=tarfile.CHRTYPE), "a character device"),
        (item("pipe", type=tarfile.FIFOTYPE), "a named pipe"),
        (item("l", type=tarfile.SYMTYPE, linkname="/etc/passwd"), "/etc/passwd"),
        (item("f/l", type=tarfile.SYMTYPE, linkname="../../x"), "../../x"),
        (item("l", type=tarfile.LNKTYPE, linkname="good"), "a hard link"),
    ],
    ids=lambda value: value[0].name if isinstance(value, tuple) else "",
)
def test_hostile_members_are_refused_before_anything_is_written(tmp_path, odd, said):
    tar = make_tar(tmp_path / "p.tar", [item("good", b"1"), odd])
    with pytest.raises(PackageError, match=r"p\.tar, member ") as raised:
        unpack(tar, tmp_path / "in" / "out")
    assert said in str(raised.value)
    with pytest.raises(PackageError, match=r"p\.tar, member "):
        reindex(opened(tar), LocalStore(str(tmp_path)))
    assert sorted(os.listdir(tmp_path)) == ["p.tar"]


def test_links_inside_the_tree_are_left_out_and_told(tmp_path):
    link = item("f/l", type=tarfile.SYMTYPE, linkname="../good")
    tar = make_tar(tmp_path / "p.tar", [item("good", b"1"), link])
    done, events = unpack(tar, tmp_path / "out")
    assert visible(tmp_path / "out") == {"good": b"1"}
    assert [event.link for event in events if event.kind == "link-left-out"] == ["f/l"]
    assert done.failed == 0


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_tar_without_an_index_is_unpacked_and_gets_one(tmp_path, form):
    folder = item("f", type=tarfile.DIRTYPE)
    files = {"f/" + "n" * 150: b"1", "large": LARGE, "f/ü": b"22"}
    tar = make_tar(
        tmp_path / "p.tar", [folder, *(item(*file) for file in files.items())], form=form
    )
    unpack(tar, tmp_path / "out")
    assert visible(tmp_path / "out") == files
    assert reindex(opened(tar), LocalStore(str(tmp_path))) == 3
    assert [row.path for row in rows(tar)] == [*files]
    done, _ = unpack(tar, tmp_path / "out")
    assert (done.members, done.kept) == (0, 3)


def test_an_index_made_again_is_the_one_that_was_packed(tmp_path):
    tar = make_package(tmp_path, PLATE)
    before = index_of(tar).read_bytes(), manifest_of(tar).read_bytes()
    index_of(tar).write_bytes(b"damaged")
    reindex(opened(tar, has_index=False), LocalStore(str(tmp_path)))
    assert (index_of(tar).read_bytes(), manifest_of(tar).read_bytes()) == before


def test_an_index_that_has_no_room_is_an_error_of_the_machine(tmp_path, monkeypatch):
    tar = make_package(tmp_path, PLATE)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nosuch"))
    with pytest.raises(StoreUnavailableError, match="TMPDIR"):
        reindex(opened(tar, has_index=False), LocalStore(str(tmp_path)))


def test_a_damaged_tar_gets_no_index(tmp_path):
    tar = make_package(tmp_path, PLATE)
    index_of(tar).unlink()
    flip(tar, 600)
    with pytest.raises(PackageError, match="expected MD5"):
        reindex(opened(tar, has_index=False), LocalStore(str(tmp_path)))
    assert not index_of(tar).exists()


@given(st.lists(st.integers(0, 2 * RUN_BYTES), max_size=40))
def test_runs_hold_each_member_once_and_are_bounded(sizes):
    members, at = [], 0
    for number, size in enumerate(sizes):
        row = msgspec.structs.replace(ROW, path=str(number), offset=at + 512, size=size)
        members.append(Placed(row, at))
        at += 512 + -(-size // 512) * 512
    found = list(runs_of(members))
    assert [placed for run in found for placed in run.members] == members
    assert all(run.is_small or len(run.members) == 1 for run in found)


def test_members_arrive_in_other_stores(tmp_path):
    files = {**PLATE, "large": LARGE}
    del files[os.fsdecode(b"bytes-\xff")]
    tar = make_package(tmp_path, files)
    store = MemoryStore(Memory(), "memory://there")
    package = opened(tar)
    assert Unpacking(package, store).run().members == len(files)
    assert Unpacking(package, store).run().kept == len(files)
    for path, data in files.items():
        assert bytes(store.read(store.stat(path), 0, len(data)).data) == data


def test_workers_unpack_parts_of_one_package(tmp_path):
    tar = make_package(tmp_path, PLATE)
    for numbers in (range(2), range(2, 4), range(4, 6)):
        Unpacking(opened(tar), local(tmp_path / "out")).write_data(numbers)
    assert {*visible(tmp_path / "out")} == {path for path in PLATE if "zarr.json" not in path}
    last = Unpacking(opened(tar), local(tmp_path / "out"))
    last.write_metadata(last.check())
    assert visible(tmp_path / "out") == PLATE


# Kills

KILLED = """
import os, signal, sys
from jobtool.packages.package import open_package
from jobtool.packages.unpacking import Unpacking
from jobtool.stores.local import LocalStore, publish, writing
from jobtool.stores.registry import StoreRegistry

after = int(sys.argv[3])
count = 0

def kill(*arguments, **named):
    global count
    count += 1
    if count == after:
        os.kill(os.getpid(), signal.SIGKILL)
    return write_range(*arguments, **named)

write_range, writing.write_sparsely = writing.write_sparsely, kill
store = LocalStore(sys.argv[2], owner="unpack", links="error")
Unpacking(open_package(sys.argv[1], StoreRegistry()), store, threads=2).run()
"""


@pytest.mark.parametrize("after", [1, 2, 3])
def test_leftovers_of_a_kill_are_replaced(tmp_path, after):
    files = {f"large{number}": os.urandom(RUN_BYTES + 1) for number in range(3)} | PLATE
    tar, out = make_package(tmp_path, files), tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, tar, out, str(after)], env=environment(), check=False
    )
    assert done.returncode == -signal.SIGKILL
    left = visible(out)
    hidden = [path for path in left if ".jobtool-" in path]
    assert hidden
    assert all(files[path] == data for path, data in left.items() if path not in hidden)
    assert not any(path.endswith("zarr.json") for path in left)
    (out / ".jobtool-not-mine.part").write_bytes(b"")
    unpack(tar, out)
    assert visible(out) == files | {".jobtool-not-mine.part": b""}


def test_a_destination_that_takes_nothing_ends_it_soon(tmp_path):
    tar = make_package(tmp_path, {f"f/{number}": b"1" for number in range(300)})
    out = tmp_path / "out"
    out.mkdir()
    (out / "f").write_bytes(b"in the way")
    with pytest.raises(FileError, match="/f"):
        unpack(tar, out)


def test_errors_are_of_the_tree(tmp_path):
    with pytest.raises(JobtoolError, match="found nothing"):
        opened(tmp_path / "nosuch.tar")
    with pytest.raises(JobtoolError, match="found a folder"):
        opened(tmp_path)
