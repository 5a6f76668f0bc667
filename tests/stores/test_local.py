"""The local store passes the suite; and what is special about filesystems."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess

import pytest

from jobtool.errors import FileError, NotFoundError, SourceError, StoreUnavailableError
from jobtool.stores.local import LocalStore
from jobtool.stores.store import Attributes, Child
from jobtool.testing.store_suite import StoreSuite
from jobtool.transfer.checksum import MEBIBYTE, md5_of
from tests.stores.raw import LocalRaw

DEPTH = 1500


class TestLocalStore(StoreSuite):
    @pytest.fixture
    def store(self, folder):
        return LocalStore(str(folder))

    @pytest.fixture
    def raw(self, folder):
        return LocalRaw(str(folder))


@pytest.fixture
def store(folder):
    return LocalStore(str(folder))


@pytest.fixture
def raw(folder):
    return LocalRaw(str(folder))


def put(store, path, data=b"data"):
    return store.put(path, data, Attributes(mtime_ns=0, md5=md5_of(data)))


@pytest.fixture
def small_filesystem(tmp_path):
    """A filesystem of one MiB."""
    mounted = tmp_path / "small"
    mounted.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(mounted)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a small tmpfs")
    yield str(mounted)
    subprocess.run(["umount", str(mounted)], check=True)


def test_a_full_filesystem_is_the_worlds_fault_and_nothing_is_left_on_it(small_filesystem):
    store, raw = LocalStore(small_filesystem), LocalRaw(small_filesystem)
    with pytest.raises(StoreUnavailableError, match="No space left"):
        put(store, "a/file", b"x" * 2 * MEBIBYTE)
    assert raw.paths() == set()
    data = b"x" * 2 * MEBIBYTE
    upload = store.begin("b/file", Attributes(mtime_ns=0))
    with pytest.raises(StoreUnavailableError, match="No space left"):
        store.put_part(upload, 1, 0, data, md5_of(data))
    store.abort(upload)
    assert raw.paths() == set()
    assert put(store, "a/file").md5 == md5_of(b"data")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to any folder")
def test_a_folder_without_the_right_to_write_is_the_worlds_fault(store, folder):
    folder.chmod(0o500)
    try:
        with pytest.raises(StoreUnavailableError, match="mode"):
            put(store, "file")
    finally:
        folder.chmod(0o700)


def test_a_read_only_filesystem_is_the_worlds_fault(small_filesystem):
    subprocess.run(["mount", "-o", "remount,ro", small_filesystem], check=True)
    with pytest.raises(StoreUnavailableError, match="Read-only"):
        put(LocalStore(small_filesystem), "file")


def test_a_folder_in_place_of_a_file_fails_that_file_only(store, raw):
    raw.write("target/inside", b"1")
    with pytest.raises(FileError, match="target"):
        put(store, "target")
    assert raw.paths() == {"target/inside"}


def test_a_file_in_place_of_a_folder_is_named_and_kept(store, raw):
    raw.write("folder", b"1")
    with pytest.raises(StoreUnavailableError, match="a file stands where a folder is needed"):
        put(store, "folder/deeper/file")
    assert raw.paths() == {"folder"}
    assert raw.read("folder") == b"1"


def test_a_name_too_long_for_the_filesystem_fails_that_file_only(store, raw):
    with pytest.raises(FileError, match="File name too long"):
        put(store, "x" * 256)
    assert raw.paths() == set()


def test_links_to_files_and_folders_are_followed(store, raw, folder):
    raw.write("real/file", b"data")
    (folder / "link").symlink_to("real")
    (folder / "real" / "also").symlink_to("file")
    assert [(entry.path, entry.size) for entry in store.list()] == [
        ("link/also", 4),
        ("link/file", 4),
        ("real/also", 4),
        ("real/file", 4),
    ]
    kinds = [(child.name, child.is_folder) for child in store.children("")]
    assert kinds == [("link", True), ("real", True)]


@pytest.mark.parametrize("target", [".", "..", "../..", "../b/../../a"])
def test_links_that_loop_are_an_error_and_no_endless_listing(store, raw, folder, target):
    raw.write("a/b/file", b"1")
    (folder / "a" / "b" / "link").symlink_to(target)
    with pytest.raises(SourceError, match="link to a folder above itself"):
        list(store.list())


def test_a_link_to_itself_is_an_error(store, folder):
    (folder / "self").symlink_to("self")
    with pytest.raises(SourceError, match="self"):
        list(store.list())


def test_a_dangling_link_is_an_error_that_tells_where_it_leads(store, folder):
    (folder / "link").symlink_to("nowhere")
    with pytest.raises(NotFoundError, match=r"link.* is a link to nowhere"):
        list(store.list())
    with pytest.raises(NotFoundError):
        store.head("link")
    assert store.kind("link") == "missing"


def test_pipes_and_sockets_are_errors_and_not_waited_for(store, folder, tmp_path):
    os.mkfifo(folder / "pipe")
    with pytest.raises(SourceError, match="pipe"):
        list(store.list())
    (folder / "pipe").unlink()
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.getcwd()
        os.chdir(folder)  # the path of a socket is short
        try:
            listening.bind("socket")
        finally:
            os.chdir(here)
    with pytest.raises(SourceError, match="socket"):
        store.head("socket")


@pytest.fixture
def deep_tree(folder):
    """A tree that Python's own rmtree can't remove."""
    here = os.open(folder, os.O_RDONLY)
    try:
        for _ in range(DEPTH):
            os.mkdir("d", dir_fd=here)
            below = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=here))
        yield folder
    finally:
        os.close(here)
        subprocess.run(["rm", "-rf", str(folder / "d")], check=True)


def test_a_tree_deeper_than_pythons_calls_may_nest_is_listed(deep_tree):
    found = LocalStore(str(deep_tree)).list()
    assert [entry.path for entry in found] == ["d/" * DEPTH + "file"]


def test_names_that_are_no_utf8_are_listed_in_byte_order(store, folder):
    for name in (b"\xff", b"\xc3\xa9", b"a\x80b", b"a", b"\xf0\x9f\xa7\xac"):
        with open(os.path.join(os.fsencode(folder), name), "wb"):
            pass
    found = [os.fsencode(entry.path) for entry in store.list()]
    assert found == [b"a", b"a\x80b", b"\xc3\xa9", b"\xf0\x9f\xa7\xac", b"\xff"]


def test_a_change_of_the_time_alone_is_noticed(store, raw):
    raw.write("file", b"12345", mtime_ns=10**18)
    entry = store.head("file")
    raw.write("file", b"54321", mtime_ns=10**18 + 1)
    with pytest.raises(SourceError, match="was changed while it was read"):
        store.read(entry, 0, 5)


def test_new_files_and_folders_follow_the_users_mask(store, folder):
    before = os.umask(0o027)
    try:
        put(store, "folder/file")
    finally:
        os.umask(before)
    assert (folder / "folder").stat().st_mode & 0o777 == 0o750
    assert (folder / "folder" / "file").stat().st_mode & 0o777 == 0o640


def test_a_link_at_the_target_is_replaced_and_what_it_leads_to_is_kept(store, raw, folder):
    raw.write("precious", b"precious")
    (folder / "target").symlink_to("precious")
    put(store, "target", b"new")
    assert raw.read("precious") == b"precious"
    assert raw.read("target") == b"new"
    assert not (folder / "target").is_symlink()


def test_a_folder_removed_by_somebody_is_made_again(store, raw, folder):
    put(store, "folder/file")
    (folder / "folder" / "file").unlink()
    (folder / "folder").rmdir()
    with contextlib.suppress(StoreUnavailableError):
        put(store, "folder/file")  # finds out
    put(store, "folder/file")
    assert raw.paths() == {"folder/file"}


def test_a_missing_root_is_made_by_the_first_put(folder):
    store = LocalStore(str(folder / "not yet"))
    assert store.kind("") == "missing"
    put(store, "file")
    assert list(store.children("")) == [Child("file", False)]
