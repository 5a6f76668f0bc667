"""Packages are released as a whole: the source that one was made of, and one in a buffer."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from jobtool.events import Event
from jobtool.failpoints import install
from jobtool.jobs.joblist import JobList
from jobtool.jobs.records import Receipt
from jobtool.jobs.settings import Settings
from jobtool.md5 import md5_of
from jobtool.packages.manifest import Manifest, decode_manifest
from jobtool.packages.members import MemberList
from jobtool.release.context import ReleaseContext
from jobtool.release.deletionlog import DeletionLog
from jobtool.release.emptying import empty_trash
from jobtool.release.events import JobReleased
from jobtool.release.packages import PackedAt, UnpackedAt, release_package, release_source
from jobtool.stores.registry import StoreRegistry
from tests.packages.made import MTIME_NS, make_package
from tests.release.worlds import tree

MEMBERS = {
    "p1/z.zarr/0.0": b"chunk" * 999,
    "p1/z.zarr/.zgroup": b"{}",
    "p1/empty": b"",
    "p2/\udcff x": b"name",
}
AT = "2026-05-04T12:00:00Z"


class Killed(BaseException):
    """Ends a release where a kill would."""


@dataclass
class Packages:
    """A buffer with a package, its source, a copy at a destination, and unpacked members."""

    folder: Path
    files: dict[str, bytes] = field(default_factory=lambda: MEMBERS)

    def __post_init__(self) -> None:
        buffer = self.folder / "buffer"
        buffer.mkdir()
        self.tar = make_package(buffer, self.files)
        self.source = self.folder / "source"
        shutil.move(buffer / "source of p", self.source)
        self.far = self.folder / "far"
        shutil.copytree(buffer, self.far)
        self.unpacked = self.folder / "unpacked"
        for path, data in self.files.items():
            full = self.unpacked / path
            full.parent.mkdir(parents=True, exist_ok=True)
            full.write_bytes(data)
        self.joblist = JobList.create(str(self.folder / "jobs"), Settings(id="list"))
        self.manifest: Manifest = decode_manifest(
            (self.far / "p.tar.manifest.json").read_bytes(), where="x"
        )
        self.events: list[Event] = []

    def context(self, **named: object) -> ReleaseContext:
        return ReleaseContext(stores=StoreRegistry(), emit=self.events.append, **named)

    @property
    def members(self) -> MemberList:
        from jobtool.packages.members import Member

        found = MemberList()
        for path, data in self.files.items():
            found.add(Member(path=path, size=len(data), mtime_ns=MTIME_NS, mode=0o640))
        return found

    def receipt(self, source: str, path: Path, data: bytes, **changes: object) -> Receipt:
        md5 = md5_of(data)
        made = Receipt(
            src_path=source,
            dst_path=str(path),
            size=len(data),
            mtime_ns=MTIME_NS,
            hashsum_src=md5,
            hashsum_dst=md5,
            verified_by="read-back",
            verified_at=AT,
            worker="w",
            attempt=1,
        )
        return msgspec.structs.replace(made, **changes)

    def packed(self, **changes: object) -> PackedAt:
        tar = self.far / "p.tar"
        data = self.tar.read_bytes() if self.tar.exists() else tar.read_bytes()
        return PackedAt(receipt=self.receipt(str(self.tar), tar, data, **changes))

    def members_at(self) -> UnpackedAt:
        url = f"package+file://{self.tar}"
        receipts = [
            self.receipt(f"{url}/{path}", self.unpacked / path, data)
            for path, data in self.files.items()
        ]
        return UnpackedAt(root=str(self.unpacked), receipts=lambda: iter(receipts))

    def release_source(self, *required, **named) -> JobReleased:
        return release_source(
            self.joblist,
            "p.release.here",
            "p",
            source=str(self.source),
            members=self.members,
            manifest=self.manifest,
            required=required,
            context=self.context(**named),
            keep_days=0,
        )

    def release_buffer(self, *required, **named) -> JobReleased:
        return release_package(
            self.joblist,
            "p.release.here",
            "p",
            tar=str(self.tar),
            required=required,
            context=self.context(**named),
            keep_days=0,
        )

    def empty(self) -> JobReleased:
        log = DeletionLog(self.joblist.deletions_path_of("p.release.here"))
        return empty_trash("p", "p.release.here", log, joblist_id="list", context=self.context())

    def reasons(self) -> str:
        return " ".join(event.text() for event in self.events if event.kind == "file-stays")


@pytest.fixture
def packages(folder: Path) -> Packages:
    return Packages(folder)


def test_a_source_goes_that_is_proven_in_a_package_and_unpacked(packages: Packages) -> None:
    done = packages.release_source(packages.packed(), packages.members_at())
    assert (done.files, done.stay) == (len(MEMBERS), 0), packages.reasons()
    assert tree(packages.source) == {}
    assert packages.empty().removed == len(MEMBERS)
    assert not (packages.folder / ".jobtool-trash").exists()
    assert len(tree(packages.far)) == 3


def test_a_buffer_goes_that_another_place_holds(packages: Packages) -> None:
    done = packages.release_buffer(packages.packed())
    assert (done.files, done.stay) == (3, 0), packages.reasons()
    assert tree(packages.tar.parent) == {}
    assert packages.empty().removed == 3


def test_a_buffer_goes_whose_members_are_unpacked(packages: Packages) -> None:
    done = packages.release_buffer(packages.members_at())
    assert (done.files, done.stay) == (3, 0), packages.reasons()
    assert packages.empty().removed == 3
    assert tree(packages.unpacked) == MEMBERS


def changed_member(packages: Packages) -> None:
    path = packages.source / "p1" / "z.zarr" / "0.0"
    path.write_bytes(b"CHUNK" * 999)
    os.utime(path, ns=(MTIME_NS, MTIME_NS))


def changed_time(packages: Packages) -> None:
    os.utime(packages.source / "p1" / "empty", ns=(0, 0))


def emptied(packages: Packages) -> None:
    shutil.rmtree(packages.far)


def other_tar(packages: Packages) -> None:
    tar = packages.far / "p.tar"
    data = bytearray(tar.read_bytes())
    data[600] ^= 1
    tar.write_bytes(data)


def other_index(packages: Packages) -> None:
    index = packages.far / "p.tar.index.parquet"
    data = bytearray(index.read_bytes())
    data[20] ^= 1
    index.write_bytes(data)


def no_manifest(packages: Packages) -> None:
    (packages.far / "p.tar.manifest.json").unlink()


def unpacked_is_gone(packages: Packages) -> None:
    (packages.unpacked / "p1" / "empty").unlink()


def unpacked_is_another(packages: Packages) -> None:
    (packages.unpacked / "p1" / "z.zarr" / "0.0").write_bytes(b"CHUNK" * 999)


DAMAGES = [
    emptied,
    other_tar,
    other_index,
    no_manifest,
    unpacked_is_gone,
    unpacked_is_another,
]


@pytest.mark.parametrize("damage", [changed_member, changed_time, *DAMAGES])
def test_one_doubt_keeps_the_whole_source(packages: Packages, damage) -> None:
    damage(packages)
    before = tree(packages.source)
    done = packages.release_source(packages.packed(), packages.members_at())
    assert done.files == 0
    assert done.stay
    assert tree(packages.source) == before
    assert not (packages.folder / ".jobtool-trash").exists()


@pytest.mark.parametrize("damage", DAMAGES)
def test_one_doubt_keeps_the_whole_buffer(packages: Packages, damage) -> None:
    damage(packages)
    before = tree(packages.tar.parent)
    done = packages.release_buffer(packages.packed(), packages.members_at())
    assert (done.files, bool(done.stay)) == (0, True)
    assert tree(packages.tar.parent) == before


def test_a_buffer_whose_tar_has_changed_stays(packages: Packages) -> None:
    required = packages.packed()
    data = bytearray(packages.tar.read_bytes())
    data[600] ^= 1
    packages.tar.write_bytes(data)
    done = packages.release_buffer(required)
    assert (done.files, bool(done.stay)) == (0, True)
    assert "It has changed since" in packages.reasons()


def test_a_buffer_that_is_its_own_destination_stays(packages: Packages) -> None:
    shutil.rmtree(packages.far)
    packages.far.symlink_to(packages.tar.parent)
    done = packages.release_buffer(packages.packed())
    assert (done.files, bool(done.stay)) == (0, True)
    assert "this file itself" in packages.reasons()
    assert packages.tar.exists()


@pytest.mark.parametrize("changes", [{"hashsum_src": "0" * 32, "hashsum_dst": "0" * 32}])
def test_a_receipt_that_fits_no_manifest(packages: Packages, changes) -> None:
    packages.release_source(packages.packed(**changes))
    packages.release_buffer(packages.packed(**changes))
    assert tree(packages.source) == MEMBERS
    assert packages.tar.exists()


def test_without_a_destination_nothing_goes(packages: Packages) -> None:
    assert packages.release_source().files == 0
    assert packages.release_buffer().files == 0
    assert "nothing proves it" in packages.reasons()
    assert tree(packages.source) == MEMBERS


def test_a_dry_run_changes_nothing(packages: Packages) -> None:
    done = packages.release_source(packages.packed(), is_dry_run=True)
    assert done.files == len(MEMBERS)
    assert tree(packages.source) == MEMBERS
    assert not os.path.exists(packages.joblist.deletions_path_of("p.release.here"))


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_package_of_which_some_files_were_moved_is_put_back(packages: Packages, nth: int) -> None:
    """After a kill in between, the whole package is proven again."""
    count = 0

    def hook(point: str, *subjects: object) -> None:
        nonlocal count
        count += point == "after a file is moved to the trash"
        if point == "after a file is moved to the trash" and count == nth:
            install(None)
            raise Killed

    install(hook)
    try:
        with pytest.raises(Killed):
            packages.release_source(packages.packed())
    finally:
        install(None)
    assert len(tree(packages.source)) == len(MEMBERS) - nth
    done = packages.release_source(packages.packed())
    assert (done.files, done.stay) == (len(MEMBERS), 0), packages.reasons()
    assert tree(packages.source) == {}
    packages.empty()
    assert tree(packages.folder / ".jobtool-trash") == {}


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_buffer_of_which_some_files_were_removed_is_emptied_on(
    packages: Packages, nth: int
) -> None:
    packages.release_buffer(packages.members_at())
    count = 0

    def hook(point: str, *subjects: object) -> None:
        nonlocal count
        count += point == "after a file is removed from the trash"
        if point == "after a file is removed from the trash" and count == nth:
            install(None)
            raise Killed

    install(hook)
    try:
        with pytest.raises(Killed):
            packages.empty()
    finally:
        install(None)
    packages.empty()
    assert tree(packages.folder / ".jobtool-trash") == {}, packages.reasons()


def test_members_that_are_gone_from_the_destination_keep_the_trash(packages: Packages) -> None:
    packages.release_buffer(packages.members_at())
    (packages.unpacked / "p1" / "empty").unlink()
    done = packages.empty()
    assert (done.removed, done.stay) == (0, 3)
    assert len([*(packages.folder / ".jobtool-trash").glob("*/files/*")]) == 3
