"""The local store passes the suite, and handles what is special about filesystems."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import stat
import subprocess
from typing import ClassVar

import pytest

from jobtool.errors import (
    DigestMismatchError,
    FileError,
    JobtoolError,
    NotFoundError,
    RefusedError,
    SourceError,
    StoreUnavailableError,
)
from jobtool.md5 import md5_of
from jobtool.stores.local import LocalStore, owner_tag, small
from jobtool.stores.store import (
    Attributes,
    Child,
    Entry,
    Part,
    Special,
    Unlisted,
    Upload,
    entry_of,
    kind_of,
)
from jobtool.testing.store_suite import (
    AccessCheckSuite,
    FolderAttributesSuite,
    MultipartSuite,
    ProverSuite,
    PrunesSuite,
    ReadsTogetherSuite,
    SpecialsSuite,
    StoreSuite,
    TakesFilesSuite,
    TemporariesSuite,
    WritesTogetherSuite,
)
from jobtool.transfer.partranges import MEBIBYTE
from tests.stores.raw import LocalRaw

DEPTH = 1500


class TestLocalStore(
    StoreSuite,
    MultipartSuite,
    TemporariesSuite,
    TakesFilesSuite,
    ProverSuite,
    PrunesSuite,
    SpecialsSuite,
    FolderAttributesSuite,
    AccessCheckSuite,
    ReadsTogetherSuite,
    WritesTogetherSuite,
):
    raw_specials: ClassVar = frozenset({"empty-folder", "link"})

    @pytest.fixture
    def store(self, folder):
        return LocalStore(str(folder), owner="we", links="keep")

    @pytest.fixture
    def strangers_store(self, folder):
        return LocalStore(str(folder), owner="they", links="keep")

    @pytest.fixture
    def raw(self, folder):
        return LocalRaw(str(folder))


class TestWithoutExtension(TestLocalStore):
    """What the extension leaves to the general way, and all where it isn't built."""

    @pytest.fixture
    def store(self, folder, monkeypatch):
        monkeypatch.setattr(small, "extension", None)
        return LocalStore(str(folder), owner="we", links="keep")


@pytest.fixture
def store(folder):
    return LocalStore(str(folder))


@pytest.fixture
def raw(folder):
    return LocalRaw(str(folder))


def put(store, path, data=b"data"):
    return store.write(path, [data], Attributes(mtime_ns=0, md5=md5_of(data)))


def unlisted(store):
    """What a listing can't carry."""
    return [entry for entry in store.list() if isinstance(entry, Unlisted)]


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
def test_a_folder_without_the_right_to_write_may_be_one_of_many(store, folder):
    folder.chmod(0o500)
    try:
        with pytest.raises(RefusedError, match="mode"):
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
    with pytest.raises(FileError, match="there is a file where a folder is needed"):
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
    (found,) = unlisted(store)
    assert found.path == "a/b/link"
    assert "link to a folder above itself" in str(found.error)
    assert [entry.path for entry in store.list() if isinstance(entry, Entry)] == ["a/b/file"]


def test_a_link_to_itself_is_an_error(store, folder):
    (folder / "self").symlink_to("self")
    (found,) = unlisted(store)
    assert found.path == "self"
    assert "self" in str(found.error)


def test_a_dangling_link_is_an_error_that_tells_where_it_leads(store, folder):
    (folder / "link").symlink_to("nowhere")
    (found,) = unlisted(store)
    assert re.search(r"link.* is a link to nowhere.*--links", str(found.error))
    with pytest.raises(NotFoundError):
        entry_of(store, "link")
    assert kind_of(store, "link") == "missing"


@pytest.mark.parametrize(
    "target", ["../elsewhere/file", "../elsewhere", "{}/elsewhere/file", "inner/../../elsewhere"]
)
def test_a_link_that_leads_out_of_the_tree_is_an_error_that_tells_where(folder, target):
    (folder / "tree" / "inner").mkdir(parents=True)
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "file").write_bytes(b"secret")
    (folder / "tree" / "link").symlink_to(target.format(folder))
    (found,) = unlisted(LocalStore(str(folder / "tree")))
    assert found.path == "link"
    assert re.search(r"elsewhere.*outside.*--links skip", str(found.error))


def test_a_link_is_inside_even_where_the_root_is_reached_by_another_link(folder):
    (folder / "tree").mkdir()
    (folder / "tree" / "file").write_bytes(b"1")
    (folder / "tree" / "link").symlink_to(folder / "tree" / "file")
    (folder / "alias").symlink_to("tree")
    found = LocalStore(str(folder / "alias")).list()
    assert [entry.path for entry in found] == ["file", "link"]


LINKS = {"inside": "file", "folder": "inner", "dangling": "nowhere", "out": "..", "self": "self"}


@pytest.fixture
def tree_of_links(folder, raw):
    """A tree with a file, and beside it a link of every kind."""
    raw.write("file", b"data")
    raw.write("inner/file", b"data")
    for name, target in LINKS.items():
        (folder / name).symlink_to(target)
    return str(folder)


@pytest.mark.parametrize("policy", ["skip", "keep"])
def test_links_that_are_not_followed_are_listed_as_they_are_written(tree_of_links, policy):
    found = list(LocalStore(tree_of_links, links=policy).list())
    assert [entry.path for entry in found if isinstance(entry, Entry)] == ["file", "inner/file"]
    links = {entry.path: entry for entry in found if isinstance(entry, Special)}
    assert links == {name: Special(name, "link", target) for name, target in LINKS.items()}


@pytest.mark.parametrize("name", LINKS)
def test_any_link_is_an_error_where_that_was_asked_for(folder, raw, name):
    raw.write("file", b"data")
    raw.write("inner/file", b"data")
    (folder / name).symlink_to(LINKS[name])
    store = LocalStore(str(folder), links="error")
    (found,) = unlisted(store)
    assert found.path == name
    assert re.search(rf"{name}\"? is a link to .*--links error", str(found.error))
    files = [entry.path for entry in store.list() if isinstance(entry, Entry)]
    assert files == ["file", "inner/file"]


def test_a_link_replaces_another_link_and_never_a_file(folder, raw):
    raw.write("file", b"data")
    store = LocalStore(str(folder), links="keep")
    (folder / "link").symlink_to("file")
    with pytest.raises(FileError, match="something else is there"):
        store.make_special(Special("file", "link", "elsewhere"))
    store.make_special(Special("link", "link", "elsewhere"))
    assert raw.read("file") == b"data"
    assert os.readlink(folder / "link") == "elsewhere"


def bind_socket(folder, name):
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.getcwd()
        os.chdir(folder)  # the path of a socket is short
        try:
            listening.bind(name)
        finally:
            os.chdir(here)


def test_pipes_and_sockets_are_listed_as_such_and_never_waited_for(store, raw, folder):
    raw.write("file", b"1")
    os.mkfifo(folder / "pipe")
    bind_socket(folder, "socket")
    (folder / "to the pipe").symlink_to("pipe")
    assert list(store.list()) == [
        Entry("file", 1, (folder / "file").stat().st_mtime_ns),
        Special("pipe", "pipe"),
        Special("socket", "socket"),
        Special("to the pipe", "pipe"),
    ]
    for path in ("pipe", "socket"):
        with pytest.raises(SourceError, match=f"{path}.*device, socket or pipe"):
            entry_of(store, path)


def test_devices_are_listed_as_such(store, folder):
    try:
        os.mknod(folder / "device", 0o600 | stat.S_IFCHR, os.makedev(1, 5))
    except OSError:
        pytest.skip("needs the right to make devices")
    assert list(store.list()) == [Special("device", "device")]


def test_empty_folders_are_listed_and_others_are_not(store, raw, folder):
    raw.write("full/file", b"1")
    (folder / "full" / "empty").mkdir()
    (folder / "nested" / "empty").mkdir(parents=True)
    assert [entry for entry in store.list() if isinstance(entry, Special)] == [
        Special("full/empty", "empty-folder"),
        Special("nested/empty", "empty-folder"),
    ]


def test_the_mode_of_a_file_is_set_and_bits_that_give_rights_to_programs_are_not(store, folder):
    attributes = Attributes(mtime_ns=0, md5=md5_of(b"data"), mode=0o4751)
    store.write("file", [b"data"], attributes)
    assert stat.S_IMODE((folder / "file").stat().st_mode) == 0o751


@pytest.mark.parametrize(
    ("left_out", "added", "message"),
    [(1, b"", "of a part at 10"), (2, b"", "of 20 bytes"), (None, b"x", "of 30 bytes")],
)
def test_a_file_that_is_more_than_its_parts_is_not_published(store, raw, left_out, added, message):
    attributes = Attributes(mtime_ns=0, md5=md5_of(b"0123456789" * 3))
    upload = store.begin("file", attributes)
    parts = [
        store.put_part(upload, n + 1, 10 * n, b"0123456789", md5_of(b"0123456789"))
        for n in range(3)
    ]
    with open(upload.token, "ab") as file:
        file.write(added)
    told = [part for n, part in enumerate(parts) if n != left_out]
    with pytest.raises(DigestMismatchError, match=message):
        store.complete(upload, told, attributes)
    assert raw.paths() == set()


def test_a_file_of_one_part_is_compared_with_the_digest_of_the_whole_too(store, raw):
    upload = store.begin("file", Attributes(mtime_ns=0))
    part = store.put_part(upload, 1, 0, b"data", md5_of(b"data"))
    with pytest.raises(DigestMismatchError, match=md5_of(b"other")):
        store.complete(upload, [part], Attributes(mtime_ns=0, md5=md5_of(b"other")))
    assert raw.paths() == set()


def test_a_folder_for_programs_that_others_may_enter_is_refused_by_its_owner_and_mode(folder):
    store = LocalStore(str(folder))
    made = folder / store.incoming_for("file")
    made.mkdir()
    made.chmod(0o755)
    with pytest.raises(FileError, match=f"found a folder of user {os.geteuid()}, mode 0755"):
        store.make_incoming(made.name)


def test_what_was_written_is_proven_from_its_medium_too(folder):
    store = LocalStore(str(folder), read_back=True)
    assert put(store, "whole").verified_by == "read-back"
    upload = store.begin("parts", Attributes(mtime_ns=0))
    part = store.put_part(upload, 1, 0, b"data", md5_of(b"data"))
    store.complete(upload, [part], Attributes(mtime_ns=0, md5=md5_of(b"data")))
    assert LocalRaw(str(folder)).paths() == {"whole", "parts"}
    with pytest.raises(DigestMismatchError):
        store.write("wrong", [b"data"], Attributes(mtime_ns=0, md5=md5_of(b"other")))
    assert LocalRaw(str(folder)).paths() == {"whole", "parts"}


FOREIGN_NAMES = [
    "precious",
    "../precious",
    f"sub/.jobtool-{owner_tag('we')}-0123456789abcdef.part",  # of another folder
    f".jobtool-{owner_tag('they')}-0123456789abcdef.part",
    f".jobtool-{owner_tag('we')}-0123456789abcdef.part.txt",
    f".jobtool-{owner_tag('we')}-0123456789abcdeX.part",
]


@pytest.mark.parametrize("name", FOREIGN_NAMES)
def test_a_token_that_names_what_is_not_ours_is_never_touched(folder, name):
    (folder / "tree" / "sub").mkdir(parents=True)
    victim = folder / "tree" / name
    victim.write_bytes(b"precious")
    store = LocalStore(str(folder / "tree"), owner="we")
    attributes = Attributes(mtime_ns=0, md5=md5_of(b"precious"))
    for token in (str(victim), os.path.normpath(victim)):
        upload = Upload(path="file", token=token, attributes=attributes)
        part = Part(number=1, offset=0, size=8, md5=md5_of(b"precious"))
        with pytest.raises(NotFoundError):
            store.held_parts(upload, [part])
        with pytest.raises(NotFoundError):
            store.put_part(upload, 1, 0, b"spoilt", md5_of(b"spoilt"))
        with pytest.raises(NotFoundError):
            store.complete(upload, [part], attributes)
        with pytest.raises(NotFoundError):
            store.complete(upload, [part], Attributes(mtime_ns=0, md5=md5_of(b"other")))
        store.abort(upload)
        assert victim.read_bytes() == b"precious"
    assert not (folder / "tree" / "file").exists()


def test_a_temporary_file_replaced_by_a_link_is_not_written_or_read_through(folder, raw):
    store = LocalStore(str(folder), owner="we")
    upload = store.begin("file", Attributes(mtime_ns=0))
    raw.write("precious", b"precious")
    os.unlink(upload.token)
    os.symlink("precious", upload.token)
    with pytest.raises(JobtoolError):
        store.put_part(upload, 1, 0, b"spoilt", md5_of(b"spoilt"))
    with pytest.raises(JobtoolError):
        store.held_parts(upload, [Part(number=1, offset=0, size=8, md5=md5_of(b"precious"))])
    store.abort(upload)
    assert raw.read("precious") == b"precious"
    assert raw.paths() == {"precious"}


def test_owners_are_told_apart_whatever_their_names():
    owners = ["", "a", "b", "/lists/a\0job", "/lists/a\0job2", "\udcff"]
    tags = {owner_tag(owner) for owner in owners}
    assert len(tags) == len(owners)
    assert all(len(tag) == 12 for tag in tags)


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
    entry = entry_of(store, "file")
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
        put(store, "folder/file")  # detects it
    put(store, "folder/file")
    assert raw.paths() == {"folder/file"}


def test_a_missing_root_is_made_by_the_first_put(folder):
    store = LocalStore(str(folder / "not yet"))
    assert kind_of(store, "") == "missing"
    put(store, "file")
    assert list(store.children("")) == [Child("file", False)]


def test_a_file_that_is_proven_gets_its_time_and_mode_and_one_that_is_not_keeps_its_own(
    store, raw, folder
):
    raw.write("file", b"data", mtime_ns=1)
    wanted = Attributes(mtime_ns=1_700_000_000_123_456_789, mode=0o640)
    assert store.prove("file", "0" * 32, "", wanted) is None
    assert (folder / "file").stat().st_mtime_ns == 1
    assert store.prove("file", md5_of(b"data"), "", wanted) is not None
    found = (folder / "file").stat()
    assert (found.st_mtime_ns, found.st_mode & 0o777) == (wanted.mtime_ns, 0o640)
