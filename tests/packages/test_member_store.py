"""The members of a package as a store: its contract, its requests, and hostile packages."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool.errors import (
    DamagedSourceError,
    PackageError,
    SourceChangedError,
    UsageError,
)
from jobtool.jobs.job import FilePair, Job
from jobtool.md5 import md5_of
from jobtool.packages.index import IndexRow
from jobtool.packages.membertable import MemberTable
from jobtool.packages.neighbours import SMALL_BYTES, Neighbours
from jobtool.packages.package import Placed
from jobtool.packages.runs import RUN_BYTES
from jobtool.packages.tarheader import padded
from jobtool.stores.infiles import service_url
from jobtool.stores.location import Location, parent_of
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.sides import side_of
from jobtool.stores.store import Child, entry_of, kind_of
from jobtool.testing.store_suite import KnowsMd5sSuite, SourceSuite
from jobtool.transfer.credentialscopes import credential_scopes_of
from tests.packages.lists import paths
from tests.packages.made import (
    MTIME_NS,
    forged,
    index_of,
    item,
    make_package,
    make_tar,
    manifest_of,
)


class PackageRaw:
    """Makes the package again with each file that is written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, bytes] = {}
        self.times: dict[str, int] = {}
        self._lock = threading.Lock()
        make_package(folder, {})

    def write(self, path: str, data: bytes, mtime_ns: int | None = None) -> None:
        with self._lock:
            self.files[path] = data
            if mtime_ns is not None:
                self.times[path] = mtime_ns
            make_package(self.folder, self.files, times=self.times)

    def read(self, path: str) -> bytes:
        return self.files[path]

    def paths(self) -> set[str]:
        return {*self.files}


class TestMembers(SourceSuite, KnowsMd5sSuite):
    page_size = 10  # an index has no pages, and each file makes the package again

    @pytest.fixture
    def raw(self, tmp_path):
        return PackageRaw(tmp_path)

    @pytest.fixture
    def store(self, raw, tmp_path):
        return StoreRegistry().open(f"package+file://{tmp_path}/p.tar", "source")


def opened(tar: Path, below: str = ""):
    url = f"package+file://{tar}" + f"/{below}" * bool(below)
    return StoreRegistry().open(url, "source")


def read(store, path: str) -> bytes:
    entry = entry_of(store, path)
    return bytes(store.read(entry, 0, entry.size).data)


@pytest.mark.parametrize(
    ("url", "root", "path", "folder"),
    [
        ("package+s3://bucket/d/p.tar/a/b", "package+s3://bucket/d/p.tar", "a/b", "s3://bucket/d"),
        ("package+s3://bucket/p.tar", "package+s3://bucket/p.tar", "", "s3://bucket"),
        ("Package+S3://bucket/p.tar/", "package+s3://bucket/p.tar", "", "s3://bucket"),
        ("package+file:///d/p.tar/q.tar", "package+file:///d/p.tar", "q.tar", "/d"),
        ("package+file:////d//./p.tar/%20", "package+file:///d/p.tar", "%20", "/d"),
        ("package+file:///p.tar", "package+file:///p.tar", "", "/"),
        ("package+memory://x.tar/.tar/p.tar", "package+memory://x.tar/.tar/p.tar", "", None),
        (
            "package+https://host:8080/d/p.tar/a b",
            "package+https://host:8080/d/p.tar",
            "a b",
            "https://host:8080/d",
        ),
    ],
)
def test_a_url_names_a_tar_and_what_is_in_it(url, root, path, folder):
    found = Location.parse(url)
    assert (found.root, found.path) == (root, path)
    assert Location.parse(found.url) == found
    assert service_url(found.url) == (folder or "memory://x.tar/.tar")
    assert parent_of(root) == (root, "")
    assert parent_of(root + "/a/b") == (root + "/a", "b")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("package+s3://bucket/p.zip/a", "NAME.tar"),
        ("package+s3://p.tar", "NAME.tar"),
        ("package+file:///folder/.tar/x", "NAME.tar"),
        ("package+file://d/p.tar", "absolute path"),
        ("package+file:///d/p.tar/../x", r"'\.\.'"),
        ("package+s3://bucket/p.tar//x", "empty part"),
        ("package+nothing://bucket/p.tar", "no store"),
        ("package+://bucket/p.tar", "no store"),
        ("package://bucket/p.tar", "no store"),
    ],
)
def test_other_urls_are_refused(url, said):
    with pytest.raises(UsageError, match=said):
        Location.parse(url)


def test_nothing_is_written_into_a_package():
    with pytest.raises(UsageError, match="can only be a source"):
        StoreRegistry().open("package+s3://bucket/p.tar", "destination")


def test_credentials_are_for_the_folder_that_the_tars_lie_in():
    def scope(**job):
        return credential_scopes_of(Job(name="j", status="todo", **job))["source"].url

    def pairs(*urls):
        return [FilePair(source=url, destination=f"/{number}") for number, url in enumerate(urls)]

    tar = "package+s3://bucket/d/p.tar"
    assert scope(source=tar + "/x", destination="/out") == "s3://bucket/d"
    assert scope(source=tar, destination="/out", files=pairs("a/b", "c")) == "s3://bucket/d"
    assert scope(files=pairs(tar + "/a", "package+s3://bucket/d/q.tar/a")) == "s3://bucket/d"
    assert scope(files=pairs(tar + "/a", "package+s3://bucket/e/q.tar/a")) == "s3://bucket"


def test_settings_are_those_of_the_store_around_the_tar(tmp_path):
    make_package(tmp_path, {"a": b"1"})
    side = side_of({"protocol": "s3", "bucket": "bucket"}, "source", where="source_fs")
    assert side.url_of("package+S3://bucket/p.tar/a") == "package+s3://bucket/p.tar/a"
    with pytest.raises(UsageError, match="source_fs"):
        side.url_of("package+gs://bucket/p.tar")
    with pytest.raises(UsageError, match="endpoint_url"):
        StoreRegistry({"s3": {"endpoint_url": "nowhere"}}).open("package+s3://b1/p.tar", "source")


def test_a_folder_of_a_package_is_a_store_of_its_own(tmp_path):
    tar = make_package(tmp_path, {"i/a": b"1", "i/b/c": b"22", "i-1/a": b"3", "i0": b"4", "j": b""})
    store = opened(tar, "i")
    assert [entry.path for entry in store.list()] == ["a", "b/c"]
    assert list(store.children("")) == [Child("a", False), Child("b", True)]
    assert read(store, "b/c") == b"22"
    assert store.known_md5("a") == md5_of(b"1")
    assert kind_of(opened(tar, "i0"), "") == "file"
    assert kind_of(opened(tar, "x"), "") == "missing"
    assert kind_of(opened(tmp_path / "other.tar"), "") == "missing"


def test_modes_are_kept_without_special_rights(tmp_path):
    tar = make_package(tmp_path, {"a": b"1"}, mode=0o6751)
    store = opened(tar)
    content = store.read(entry_of(store, "a"), 0, 1)
    assert (content.attributes.mode, content.attributes.mtime_ns) == (0o751, MTIME_NS)
    assert content.attributes.md5 == md5_of(b"1")


def test_a_tar_that_is_replaced_is_noticed_and_then_read_anew(tmp_path):
    files = {"a": b"1" * 1000, "b": b"2" * 700_000}
    tar = make_package(tmp_path, files)
    store = opened(tar)
    entries = {entry.path: entry for entry in store.list()}
    store.read(entries["b"], 0, 10)
    make_package(tmp_path, {"a": b"3" * 1000, "b": b"4" * 700_000, "c": b""})
    for entry in entries.values():  # of the size and time that they had
        with pytest.raises(SourceChangedError):
            store.read(entry, 0, 10)
    assert read(store, "a") == b"3" * 1000
    assert [entry.path for entry in store.list()] == ["a", "b", "c"]


def test_a_tar_without_an_index_is_read_by_its_headers(tmp_path):
    link = item("link", type=b"2", linkname="a")
    tar = make_tar(tmp_path / "p.tar", [item("./d/"), item("a", b"1"), link, item("d/b", b"22")])
    store = opened(tar)
    assert [entry.path for entry in store.list()] == ["a", "d/b"]
    assert (read(store, "d/b"), store.known_md5("d/b")) == (b"22", None)


@pytest.mark.parametrize(
    "items",
    [
        [item("../a", b"1")],
        [item("/a", b"1")],
        [item("a", b"1"), item("a", b"2")],
        [item("a", b"1"), item("a/b", b"2")],
        [item("pipe", type=b"6")],
        [item("out", type=b"2", linkname="../x")],
    ],
    ids=["dots", "absolute", "twice", "file and folder", "pipe", "link out"],
)
def test_hostile_tars_are_no_stores(tmp_path, items):
    with pytest.raises(PackageError):
        kind_of(opened(make_tar(tmp_path / "p.tar", items)), "")


def test_an_index_that_names_another_place_or_name_fails_its_members_only(tmp_path):
    data = os.urandom(SMALL_BYTES + 1)
    tar = make_package(tmp_path, {"a": b"1", "large": data, "z": b"2"})
    forged(tar, 1, path="other")
    store = opened(tar)
    assert [entry.path for entry in store.list()] == ["a", "other", "z"]
    assert (read(store, "a"), read(store, "z")) == (b"1", b"2")
    with pytest.raises(PackageError, match="doesn't fit"):
        read(store, "other")


def test_an_index_of_another_tar_is_none(tmp_path):
    tar = make_package(tmp_path, {"a": b"1"})
    other = make_package(tmp_path, {"a": b"1" * 5000}, name="q")
    manifest_of(tar).unlink()
    index_of(tar).write_bytes(index_of(other).read_bytes())
    with pytest.raises(PackageError):
        list(opened(tar).list())


def test_the_error_for_a_damaged_member_says_what_to_do(tmp_path):
    store = opened(make_package(tmp_path, {"a": b"1"}))
    error = store.damaged("a", "f" * 32)
    assert isinstance(error, DamagedSourceError)
    assert not error.retryable
    for text in (f"{store.url}/a", md5_of(b"1"), "f" * 32, "fetch it again"):
        assert text in str(error)


def table_of(sizes) -> MemberTable:
    """Members ``0``, ``1``, … of these sizes, each after a header of 512 bytes."""
    placed, start = [], 0
    for number, size in enumerate(sizes):
        row = IndexRow(str(number), start + 512, size, "0" * 32, 0, 0o644)
        placed.append(Placed(row, start))
        start = row.offset + padded(size)
    return MemberTable(placed)


class Recorded:
    """A tar whose bytes tell their offset in eights of bytes, with the ranges that were read."""

    def __init__(self) -> None:
        self.ranges: list[tuple[int, int]] = []

    def __call__(self, offset: int, length: int) -> memoryview:
        self.ranges.append((offset, length))
        first = offset // 8
        data = b"".join(n.to_bytes(8, "big") for n in range(first, (offset + length) // 8 + 1))
        return memoryview(data)[offset - 8 * first :][:length]

    def expected(self, table: MemberTable, number: int) -> bytes:
        start = table.start_of(number)
        return bytes(Recorded()(start, table.end_of(number) - start))


@given(
    st.lists(st.integers(0, 3000) | st.just(SMALL_BYTES), min_size=1, max_size=60),
    st.lists(st.integers(0, 59), max_size=60),
)
def test_members_are_the_same_in_whatever_order_they_are_read(sizes, order):
    table, tar = table_of(sizes), Recorded()
    neighbours = Neighbours(table, tar)
    for number in (number % len(sizes) for number in order):
        assert bytes(neighbours.read(number)) == tar.expected(table, number)
    assert all(length <= RUN_BYTES for _, length in tar.ranges)


def test_members_in_order_take_few_requests_and_no_byte_twice():
    table, tar = table_of([2000] * 5000), Recorded()
    neighbours = Neighbours(table, tar)
    for number in range(len(table)):
        neighbours.read(number)
    assert len(tar.ranges) == 2 + table.end_of(4999) // RUN_BYTES
    assert sum(length for _, length in tar.ranges) <= table.end_of(4999)


def test_members_here_and_there_are_read_alone():
    table, tar = table_of([2000] * 5000), Recorded()
    neighbours = Neighbours(table, tar)
    for number in range(0, 5000, 100):
        neighbours.read(number)
    assert [length for _, length in tar.ranges] == [2512] * 50


def test_what_isnt_wanted_is_not_read():
    table, tar = table_of([2000] * 100), Recorded()
    neighbours = Neighbours(table, tar, lambda number: number < 10)
    for number in range(10):
        neighbours.read(number)
    assert max(start + length for start, length in tar.ranges) == table.end_of(9)


def test_a_run_that_cant_be_read_fails_one_reader_and_is_read_again():
    table, tar = table_of([2000] * 100), Recorded()
    failing = [True]

    def once(offset: int, length: int) -> memoryview:
        if length > 3000 and failing.pop():
            failing.append(False)
            raise OSError("reset")
        return tar(offset, length)

    neighbours = Neighbours(table, once)
    neighbours.read(0)
    with pytest.raises(OSError, match="reset"):
        neighbours.read(1)
    assert bytes(neighbours.read(1)) == tar.expected(table, 1)
    assert bytes(neighbours.read(2)) == tar.expected(table, 2)


@given(st.lists(paths, unique=True, max_size=12), st.sampled_from(["", "a", "b", "a/b"]))
def test_the_table_lists_as_a_tree_does(names, folder):
    kept: list[str] = []
    for name in [*names, *(f"{base}{end}" for base in ("a/b/", "a", "b/") for end in "-0c")]:
        if not any(f"{a}/".startswith(f"{b}/") for k in kept for a, b in ((k, name), (name, k))):
            kept.append(name)
    placed = [
        Placed(IndexRow(path, 512 * (2 * n + 1), 0, "0" * 32, 0, 0), 1024 * n)
        for n, path in enumerate(kept)
    ]
    table = MemberTable(placed)
    start = f"{folder}/" if folder else ""
    inside = sorted((p for p in kept if p.startswith(start)), key=os.fsencode)
    assert [table[number].row.path for number in table.below(folder)] == inside
    assert table.has_below(folder) is bool(inside)
    rest = [path[len(start) :] for path in inside]
    expected = {path.partition("/")[0]: "/" in path for path in rest}
    found = table.names_in(folder)
    assert found == expected
    assert list(found) == sorted(found, key=os.fsencode)
    for number, one in enumerate(placed):
        assert table.find(one.row.path) == number
        assert table[number] == one
    assert table.find("a/b") is None
