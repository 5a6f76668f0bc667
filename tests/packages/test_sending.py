"""A package arrives by the machinery that sends any file, although its senders are killed."""

from __future__ import annotations

import hashlib
import io
import os
import random
import tarfile
from pathlib import Path

import pytest

from jobtool.errors import SourceChangedError
from jobtool.md5 import md5_of
from jobtool.packages.index import read_index
from jobtool.packages.manifest import decode_manifest
from jobtool.packages.memberfile import write_members
from jobtool.packages.members import Member, MemberList, in_package_order
from jobtool.packages.store import PackageStore
from jobtool.stores.local import LocalStore
from jobtool.stores.registry import StoreRegistry
from tests.commands import finish, start_module

MIB = 1024 * 1024

NAMES = [
    *(f"plate.zarr/0/c/{number}" for number in range(150)),
    *("plate.zarr/zarr.json", "plate.zarr/0/zarr.json", "plate.zarr/empty"),
    *("raw/a new\nline", "raw/not UTF-8 \udcff", "raw/ü", "raw/" + "long/" * 60 + "end"),
]
LARGE = {"raw/large 1": 7 * MIB + 13, "raw/large 2": 3 * MIB, "raw/large 3": 2 * MIB - 1}


def make_tree(root: Path) -> None:
    chosen = random.Random(5)
    for name in [*NAMES, *LARGE]:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        size = LARGE.get(name, 0 if name.endswith("empty") else chosen.choice([1, 512, 30_000]))
        path.write_bytes(chosen.randbytes(size))


def members_of(root: Path) -> MemberList:
    members, item = MemberList(), None
    for entry in LocalStore(str(root)).list():
        if entry.path.partition("/")[0] != item:
            item = entry.path.partition("/")[0]
            members.start_item(item)
        members.add(Member(path=entry.path, size=entry.size, mtime_ns=entry.mtime_ns))
    return in_package_order(members)


class Sending:
    """Attempts to send the package of a tree."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "source"
        self.root.mkdir()
        make_tree(self.root)
        self.state = folder / "state"
        self.state.mkdir()
        self.members = members_of(self.root)
        self.list = folder / "members.jsonl"
        write_members(str(self.list), self.members)
        self.attempts = 0

    def attempt(self, to: str, part_bytes: int, kill_after: int = 0):
        self.attempts += 1
        words = [self.list, self.root, to, self.state, self.attempts, part_bytes, kill_after]
        return finish(start_module("tests.packages.sending", *map(str, words)))

    def check(self, data: bytes) -> None:
        """The tar that arrived holds the tree, and index and manifest fit it."""
        with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as tar:
            found = {info.name: tar.extractfile(info).read() for info in tar}
        assert list(found) == [member.path for member in self.members]
        assert found == {name: (self.root / name).read_bytes() for name in [*NAMES, *LARGE]}
        names = [name for name in found if name.startswith("plate.zarr")]
        assert names[-2:] == ["plate.zarr/0/zarr.json", "plate.zarr/zarr.json"]
        manifest = decode_manifest(
            (self.state / "package.tar.manifest.json").read_bytes(), where="the manifest"
        )
        index = (self.state / "package.tar.index.parquet").read_bytes()
        assert manifest.tar.md5 == hashlib.md5(data).hexdigest()
        assert manifest.index.md5 == hashlib.md5(index).hexdigest()
        assert (manifest.tar.size, manifest.index.size) == (len(data), len(index))
        assert [item.name for item in manifest.items] == ["plate.zarr", "raw"]
        rows = list(read_index(io.BytesIO(index), name="the index", tar_size=len(data)))
        assert [row.path for row in rows] == list(found)
        for row in rows:
            assert md5_of(data[row.offset : row.offset + row.size]) == row.md5


@pytest.fixture
def sending(tmp_path):
    return Sending(tmp_path)


def test_to_a_folder_with_two_kills(sending, tmp_path):
    to = tmp_path / "to"
    to.mkdir()
    for kill_after in (3, 8):
        done = sending.attempt(to, MIB, kill_after)
        assert done.exit_code == -9, done.stderr
        assert not (to / "package.tar").exists()
    done = sending.attempt(to, MIB)
    assert done.exit_code == 0, done.stderr
    data = (to / "package.tar").read_bytes()
    assert int(done.stdout) <= -(-len(data) // MIB) - 8
    sending.check(data)


def test_to_s3_with_a_kill(sending, rclone_s3, monkeypatch):
    for name, value in rclone_s3.environment.items():
        monkeypatch.setenv(name, value)
    bucket = rclone_s3.new_bucket()
    done = sending.attempt(f"s3://{bucket}/packages", 5 * MIB, 1)
    assert done.exit_code == -9, done.stderr
    done = sending.attempt(f"s3://{bucket}/packages", 5 * MIB)
    assert done.exit_code == 0, done.stderr
    found = rclone_s3.client.get_object(Bucket=bucket, Key="packages/package.tar")
    data = found["Body"].read()
    assert int(done.stdout) <= -(-len(data) // (5 * MIB)) - 1
    sending.check(data)


def test_a_member_that_changed_meanwhile_fails_the_package(sending, tmp_path):
    to = tmp_path / "to"
    to.mkdir()
    os.utime(sending.root / "raw/large 2", ns=(1, 1))
    done = sending.attempt(to, MIB)
    assert done.exit_code == 1
    assert 'member "raw/large 2"' in done.stderr or "member raw/large 2" in done.stderr
    assert not (to / "package.tar").exists()


def test_members_are_read_from_s3(tmp_path, rclone_s3, monkeypatch):
    for name, value in rclone_s3.environment.items():
        monkeypatch.setenv(name, value)
    bucket = rclone_s3.new_bucket()
    content = {f"plate/c/{number}": f"chunk {number}".encode() * 99 for number in range(60)}
    content |= {"plate/large": random.Random(1).randbytes(9 * MIB), "plate/zarr.json": b"{}"}
    for path, data in content.items():
        rclone_s3.client.put_object(Bucket=bucket, Key=path, Body=data)
    source = StoreRegistry().open(f"s3://{bucket}", "source")
    members = MemberList()
    for entry in source.list():
        members.add(Member(path=entry.path, size=entry.size, mtime_ns=entry.mtime_ns))
    store = PackageStore("p", in_package_order(members), source)
    data = bytes(store.read(store.entry, 0, store.entry.size).data)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert {info.name: tar.extractfile(info).read() for info in tar} == content
    assert store.digests.missing_count == 0
    rclone_s3.client.put_object(Bucket=bucket, Key="plate/c/7", Body=b"other")
    with pytest.raises(SourceChangedError, match="member plate/c/7"):
        store.read(store.entry, 0, store.entry.size)
    store.close()
