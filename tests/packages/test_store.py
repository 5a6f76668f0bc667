"""The tar of a package: the same bytes by any reads, and what every program for tars reads."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tarfile
import threading
import time
from itertools import count, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobtool.errors import (
    FileError,
    NotFoundError,
    SourceChangedError,
    SourceError,
    StoppedError,
)
from jobtool.md5 import can_resume
from jobtool.packages.index import rows_of
from jobtool.packages.memberdigests import MemberDigests
from jobtool.packages.members import Member, MemberList
from jobtool.packages.store import PackageStore
from jobtool.packages.tarlayout import TarLayout
from jobtool.stores.local import LocalStore
from jobtool.stores.store import kind_of
from tests.needs import need
from tests.packages.lists import HUGE, Endless, content_of, list_of, lists, paths

MIB = 1024 * 1024


def read(store, offset=0, length=None):
    length = store.entry.size - offset if length is None else length
    return bytes(store.read(store.entry, offset, length).data)


def cuts(size):
    return st.lists(st.integers(0, size), max_size=8).map(lambda at: [0, *sorted(at), size])


def package(members, **changes):
    return PackageStore("pack age", members, Endless(members), **changes)


def tar_by_hand(members):
    """The same tar, member by member."""
    layout = TarLayout(members)
    found = b""
    for number, member in enumerate(members):
        found += layout.header_of(number) + content_of(member.path, 0, member.size)
        found += bytes(-len(found) % 512)
    return found + bytes(1024)


@given(st.data(), lists())
def test_any_partition_into_reads_gives_the_same_bytes_and_digests(data, members):
    store = package(members)
    whole = tar_by_hand(members)
    assert store.entry.size == len(whole)
    at = data.draw(cuts(len(whole)))
    pieces = [read(store, start, end - start) for start, end in pairwise(at)]
    assert b"".join(pieces) == whole
    assert store.digests.missing_count == 0
    for number, row in enumerate(rows_of(store.layout, store.digests)):
        assert row.path == members[number].path
        assert hashlib.md5(whole[row.offset :][: row.size]).hexdigest() == row.md5


@given(st.data(), lists())
def test_reads_in_any_order_give_the_same_bytes_and_in_the_end_all_digests(data, members):
    store = package(members)
    whole = tar_by_hand(members)
    at = data.draw(cuts(len(whole)))
    ranges = data.draw(st.permutations([*pairwise(at)]))
    for start, end in ranges[: data.draw(st.integers(0, len(ranges)))]:
        assert read(store, start, end - start) == whole[start:end]
    store.finish_index()
    for row in rows_of(store.layout, store.digests):
        assert hashlib.md5(whole[row.offset :][: row.size]).hexdigest() == row.md5


@given(st.data(), lists((*HUGE, 1, 513)))
def test_ranges_of_huge_packages_are_found(data, members):
    store = package(members)
    layout = store.layout
    bounds = [0, store.entry.size]
    for number in range(len(members)):
        start = layout.data_offset(number)
        bounds += [layout.start_of(number), start, start + members[number].size]
    offset = data.draw(st.sampled_from(bounds)) - data.draw(st.integers(0, 1100))
    offset = max(offset, 0)
    length = data.draw(st.integers(0, min(3000, store.entry.size - offset)))
    expected = bytearray(length)
    for number, member in enumerate(members):
        blocks, start = layout.header_of(number), layout.start_of(number)
        for at in range(max(start, offset), min(start + len(blocks), offset + length)):
            expected[at - offset] = blocks[at - start]
        start = layout.data_offset(number)
        first, last = max(start, offset), min(start + member.size, offset + length)
        if first < last:
            found = content_of(member.path, first - start, last - first)
            expected[first - offset : last - offset] = found
    assert read(store, offset, length) == expected


# Other programs


SHORT = paths.filter(
    lambda path: (
        len(os.fsencode(path)) < 1000
        and all(len(os.fsencode(part)) <= 255 for part in path.split("/"))
    )
)
DATED = st.builds(
    lambda members: list_of(
        Member(path=m.path, size=m.size, mtime_ns=m.mtime_ns % 2**61, mode=0o640) for m in members
    ),
    lists(path=SHORT),
)


def extracted(folder):
    """The bytes, time and permissions of each file of a tree."""
    found = {}
    for above, _, files in os.walk(os.fsencode(folder)):
        for name in files:
            path = os.path.join(above, name)
            with open(path, "rb") as file:
                data = file.read()
            status = os.stat(path)
            relative = os.path.relpath(path, os.fsencode(folder))
            found[relative] = data, status.st_mtime_ns, status.st_mode & 0o7777
    return found


def by_program(name, tar, folder):
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    # Without -P bsdtar takes a backslash or "c:" at the beginning for a root, as on Windows.
    extract = ["-Pxpf"] if name == "bsdtar" else ["-xpf"]
    for flags in (["-tf"], extract):
        command = [name, *flags, tar, *(["-C", folder] if flags == extract else [])]
        done = subprocess.run(command, env=environment, capture_output=True)
        assert done.returncode == 0, done.stderr


@settings(max_examples=12)
@given(members=DATED)
def test_gnu_tar_and_bsdtar_and_tarfile_extract_the_same(members, tmp_path_factory):
    need("tar", "bsdtar", packages="tar libarchive-tools")
    folder = tmp_path_factory.mktemp("tars")
    tar = folder / "package.tar"
    tar.write_bytes(read(package(members)))
    expected = {
        os.fsencode(m.path): (content_of(m.path, 0, m.size), m.mtime_ns, 0o640) for m in members
    }
    for name in ("tar", "bsdtar"):
        to = folder / name
        to.mkdir()
        by_program(name, str(tar), str(to))
        assert extracted(to) == expected
    to = folder / "tarfile"
    with tarfile.open(tar, errors="surrogateescape") as opened:
        opened.extractall(to, filter="data")
    found = extracted(to)
    assert {path: data for path, (data, _, _) in found.items()} == {
        path: data for path, (data, _, _) in expected.items()
    }


def test_an_empty_package_is_an_empty_tar(tmp_path):
    tar = tmp_path / "empty.tar"
    tar.write_bytes(read(package(MemberList())))
    assert tar.stat().st_size == 1024
    assert subprocess.run(["tar", "-tf", tar], capture_output=True, check=True).stdout == b""


# Reads of the source


def small_files(count, size):
    return list_of(Member(path=f"{number:05}", size=size, mtime_ns=1) for number in range(count))


def test_a_small_member_is_read_once_for_all_ranges_that_it_lies_in():
    members = small_files(40, 5000)
    store = package(members)
    for start in range(0, store.entry.size, 1000):
        read(store, start, min(1000, store.entry.size - start))
    assert sorted(store._composer._source.reads) == [(f"{n:05}", 0, 5000) for n in range(40)]


def test_a_large_member_is_read_in_the_ranges_that_are_asked_for():
    members = list_of([Member(path="large", size=3 * MIB, mtime_ns=0)])
    source = Endless(members)
    store = PackageStore("p", members, source)
    for start in range(0, store.entry.size, MIB):
        read(store, start, min(MIB, store.entry.size - start))
    assert source.reads == [
        ("large", 0, MIB - 512),
        ("large", MIB - 512, MIB),
        ("large", 2 * MIB - 512, MIB),
        ("large", 3 * MIB - 512, 512),
    ]
    source.reads.clear()
    store.finish_index()
    assert source.reads == []


@pytest.mark.parametrize("cheap_reads", [True, False])
def test_a_long_range_of_a_large_member_is_read_in_pieces(cheap_reads):
    members = list_of([Member(path="large", size=20 * MIB + 1, mtime_ns=0)])
    source = Endless(members, cheap_reads=cheap_reads)
    store = PackageStore("p", members, source)
    assert read(store) == tar_by_hand(members)
    assert sorted(source.reads) == [
        ("large", 0, 8 * MIB),
        ("large", 8 * MIB, 8 * MIB),
        ("large", 16 * MIB, 4 * MIB + 1),
    ]
    assert store.digests.missing_count == 0
    store.close()


def test_a_stop_while_the_index_is_finished_loses_nothing(tmp_path):
    members = list_of(Member(path=str(number), size=9 * MIB, mtime_ns=0) for number in range(2))
    source, log = Endless(members), str(tmp_path / "md5s")
    store = PackageStore("p", members, source, digests=MemberDigests(members, log=log))
    calls = count()

    def require_going():
        if next(calls) == 4:
            raise StoppedError("stopped")

    with pytest.raises(StoppedError):
        store.finish_index(require_going)
    read_before = sum(length for _, _, length in source.reads)
    store = PackageStore("p", members, source, digests=MemberDigests(members, log=log))
    store.finish_index()
    read_again = sum(length for _, _, length in source.reads) - 18 * MIB
    assert 0 < read_before < 18 * MIB
    assert read_again == 0 or not can_resume()
    for number, row in enumerate(rows_of(store.layout, store.digests)):
        assert row.md5 == hashlib.md5(content_of(str(number), 0, 9 * MIB)).hexdigest()


def test_members_of_a_slow_store_are_read_at_the_same_time():
    members = small_files(12, 3)
    source = Endless(members, cheap_reads=False)
    barrier, inner = threading.Barrier(4, timeout=30), source.read

    def waiting(entry, offset, length):
        barrier.wait()  # fails unless four threads read at a time
        return inner(entry, offset, length)

    source.read = waiting
    joined = []
    store = PackageStore("p", members, source, readers=4, on_thread=lambda: joined.append(1))
    assert read(store) == tar_by_hand(members)
    store.close()
    assert len(joined) == 4


def test_members_of_a_cheap_store_are_read_by_threads_once_it_turns_out_to_be_slow():
    members = small_files(200, 3)
    source = Endless(members)
    inner, readers = source.read, set()

    def slow(entry, offset, length):
        time.sleep(0.002)
        readers.add(threading.current_thread().name)
        return inner(entry, offset, length)

    source.read = slow
    store = PackageStore("p", members, source, readers=4)
    assert read(store) == tar_by_hand(members)
    store.close()
    assert len(readers) > 1


def test_threads_may_read_one_package():
    members = small_files(300, 2000)
    store = PackageStore("p", members, Endless(members, cheap_reads=False))
    whole, found = tar_by_hand(members), {}

    def work(first):
        for start in range(first * 7000, len(whole), 4 * 7000):
            found[start] = read(store, start, min(7000, len(whole) - start))

    threads = [threading.Thread(target=work, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert b"".join(found[start] for start in sorted(found)) == whole
    store.finish_index()
    for row in rows_of(store.layout, store.digests):
        assert hashlib.md5(whole[row.offset :][: row.size]).hexdigest() == row.md5
    store.close()


# What has changed


@pytest.mark.parametrize("cheap_reads", [True, False])
def test_a_member_that_has_changed_is_named(cheap_reads):
    members = small_files(9, 10)
    source = Endless(members, cheap_reads=cheap_reads)
    source.changed.add("00004")
    store = PackageStore("pack", members, source)
    with pytest.raises(SourceChangedError, match=r"pack\.tar, member 00004: .*plan it again"):
        read(store)
    assert read(store, 0, 512 * 5) == tar_by_hand(members)[: 512 * 5]
    store.close()


def test_an_empty_member_that_has_changed_is_noticed(tmp_path):
    (tmp_path / "empty").touch()
    source = LocalStore(str(tmp_path))
    found = source.stat("empty")
    members = list_of([Member(path="empty", size=0, mtime_ns=found.mtime_ns)])
    store = PackageStore("pack", members, source)
    read(store)
    (tmp_path / "empty").write_bytes(b"more")
    os.utime(tmp_path / "empty", ns=(found.mtime_ns, found.mtime_ns))
    with pytest.raises(SourceChangedError, match="member empty"):
        read(store)


def test_a_member_that_is_gone_fails_the_read():
    members = small_files(3, 10)
    store = package(members)
    store._composer._source.gone.add("00001")
    with pytest.raises(NotFoundError, match="00001"):
        read(store)


def test_a_package_of_other_members_is_another_file():
    one, other = package(small_files(2, 10)), package(small_files(3, 10))
    assert one.url_of(one.file_name) != other.url_of(other.file_name)
    assert package(small_files(2, 10)).url == one.url
    etag = one.read(one.entry, 0, 1).etag
    assert etag != other.read(other.entry, 0, 1).etag
    with pytest.raises(SourceChangedError, match="members are others"):
        other.read(one.entry, 0, 1)


# The store


def test_the_store_has_one_file_and_takes_none():
    store = package(small_files(2, 10))
    assert store.stat("") == "folder"
    assert store.stat("pack age.tar") == store.entry
    assert kind_of(store, "other") == "missing"
    assert list(store.list()) == [store.entry]
    assert [child.name for child in store.children("")] == ["pack age.tar"]
    assert store.digest("pack age.tar") == hashlib.md5(read(store)).hexdigest()
    with pytest.raises(FileError, match="can only be a source"):
        store.write("x", [], None)
    with pytest.raises(SourceError, match="within"):
        store.read(store.entry, store.entry.size, 1)


@pytest.mark.parametrize("name", ["", "a/b", "..", "a\0", "a" * 201])
def test_a_name_that_no_file_can_have_is_refused(name):
    with pytest.raises(FileError, match="name of a package"):
        PackageStore(name, MemberList(), Endless(MemberList()))
