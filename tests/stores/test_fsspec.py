"""Filesystems of fsspec as stores: objects, and schemes that only fsspec knows."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFile, MemoryFileSystem
from fsspec.registry import _registry

from jobtool.errors import (
    FileError,
    NotFoundError,
    RefusedError,
    ServerError,
    SourceChangedError,
    StoreError,
    StoreSettingsError,
    StoreUnavailableError,
    UnreachableError,
    UsageError,
)
from jobtool.plugins import fsspec_knows
from jobtool.stores.anyfs.errors import of_failure
from jobtool.stores.anyfs.info import mtime_ns, version
from jobtool.stores.anyfs.store import FsspecStore
from jobtool.stores.location import Location
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.store import Attributes, Entry, Unlisted, entry_of, kind_of
from jobtool.stores.storetype import store_type
from jobtool.testing.store_suite import PrunesSuite, StoreSuite, TemporariesSuite
from tests import commands
from tests.stores.raw import LocalRaw

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class FsspecMemoryRaw:
    """By the dictionary that holds the files of fsspec's memory."""

    def __init__(self, root):
        self.root = root

    def write(self, path, data, mtime_ns=None):
        file = MemoryFile(MemoryFileSystem(), f"{self.root}/{path}", data)
        if mtime_ns is not None:
            file.created = file.modified = EPOCH + timedelta(microseconds=mtime_ns // 1000)
        MemoryFileSystem.store[f"{self.root}/{path}"] = file

    def read(self, path):
        return MemoryFileSystem.store[f"{self.root}/{path}"].getvalue()

    def paths(self):
        start = f"{self.root}/"
        return {key.removeprefix(start) for key in MemoryFileSystem.store if key.startswith(start)}


class TestMemoryObject(TemporariesSuite, PrunesSuite, StoreSuite):
    @pytest.fixture
    def store(self):
        fs, root = fsspec.filesystem("memory"), f"/{secrets.token_hex(8)}"
        fs.makedirs(root)
        yield FsspecStore(fs, root, owner="ours")
        for key in [key for key in fs.store if key.startswith(f"{root}/")]:
            del fs.store[key]

    @pytest.fixture
    def strangers_store(self, store):
        root = "/" + store.url.partition("://")[2]
        return FsspecStore(fsspec.filesystem("memory"), root, owner="theirs")

    @pytest.fixture
    def raw(self, store):
        return FsspecMemoryRaw("/" + store.url.partition("://")[2])


class TestLocalObject(TemporariesSuite, PrunesSuite, StoreSuite):
    @pytest.fixture
    def store(self, folder):
        return FsspecStore(LocalFileSystem(), str(folder), owner="ours")

    @pytest.fixture
    def strangers_store(self, folder):
        return FsspecStore(LocalFileSystem(), str(folder), owner="theirs")

    @pytest.fixture
    def raw(self, folder):
        return LocalRaw(str(folder))


class Direct(LocalFileSystem):
    """A filesystem that can't move a file in one step: it has fsspec's own ``mv``."""

    protocol = "direct"
    mv = fsspec.AbstractFileSystem.mv


class TestWithoutMoves(TemporariesSuite, PrunesSuite, StoreSuite):
    """A filesystem whose files are written under their own names."""

    @pytest.fixture
    def store(self, folder):
        return FsspecStore(Direct(), str(folder), owner="ours")

    @pytest.fixture
    def strangers_store(self, folder):
        return FsspecStore(Direct(), str(folder), owner="theirs")

    @pytest.fixture
    def raw(self, folder):
        return LocalRaw(str(folder))

    def test_readers_see_the_old_file_until_the_stream_ends(self, store, raw):
        pytest.skip("this filesystem can't move a file in one step")

    def test_listed_files_that_are_unfinished_are_told(self, store, raw):
        pytest.skip("they have their files' own names")

    def test_a_stream_that_breaks_off_leaves_what_was_there(self, store, raw):
        def chunks():
            yield b"new" * 1000
            raise SourceChangedError("changed while it was read")

        raw.write("folder/file", b"old")
        with pytest.raises(SourceChangedError):
            store.write("folder/file", chunks(), Attributes(mtime_ns=0))
        assert raw.paths() == set()


class ZipRaw:
    """By zipfile: each file is appended to the archive."""

    def __init__(self, path):
        self.path = path

    def write(self, path, data, mtime_ns=None):
        kept = {}
        if self.path.exists():
            with zipfile.ZipFile(self.path) as archive:
                kept = {item: archive.read(item) for item in archive.infolist()}
        with zipfile.ZipFile(self.path, "w") as archive:
            for item, old in kept.items():
                if item.filename != path:
                    archive.writestr(item, old)
            info = zipfile.ZipInfo(path)
            if mtime_ns is not None:
                info.date_time = (EPOCH + timedelta(seconds=mtime_ns // 10**9)).timetuple()[:6]
            archive.writestr(info, data)

    def read(self, path):
        with zipfile.ZipFile(self.path) as archive:
            return archive.read(path)

    def paths(self):
        with zipfile.ZipFile(self.path) as archive:
            return set(archive.namelist())


@pytest.fixture
def archive(tmp_path):
    raw = ZipRaw(tmp_path / "x.zip")
    for path, data in (("plate/a b", b"1"), ("plate/sub/c#%", b"22"), ("top", b"333")):
        raw.write(path, data, mtime_ns=1_700_000_000 * 10**9)
    return raw


def opened(url, **tables):
    return StoreRegistry(tables).open(url, "source")


def test_a_zip_file_is_a_source_by_its_table(archive):
    table = {"fo": str(archive.path)}
    whole = opened("zip://.", zip=table)
    assert [entry.path for entry in whole.list()] == ["plate/a b", "plate/sub/c#%", "top"]
    below = opened("zip://plate/sub", zip=table)
    (entry,) = below.list()
    assert (entry.path, entry.size, entry.mtime_ns) == ("c#%", 2, 1_700_000_000 * 10**9)
    assert bytes(below.read(entry, 1, 1).data) == b"2"
    assert (kind_of(whole, "plate"), kind_of(whole, "no")) == ("folder", "missing")
    assert whole.digest("top") == hashlib.md5(b"333", usedforsecurity=False).hexdigest()
    named = opened("zip://.", zip={"source": table, "destination": {"fo": "/nowhere"}})
    assert kind_of(named, "top") == "file"


def test_a_zip_file_is_copied_by_the_commands(archive, tmp_path):
    table = tmp_path / "files.csv"
    table.write_text(
        "src_path,dst_path\nzip://plate/a b,a b\nzip://plate/sub/c#%,c\nzip://./top,top\n"
    )
    commands.run_ok(
        "generate-joblist", "-i", table, "-o", tmp_path / "jobs", "-d", tmp_path / "out", "-v", 0
    )
    with open(tmp_path / "jobs" / "joblist.toml", "a") as file:
        file.write(f'\n[zip]\nfo = "{archive.path}"\n')
    done = commands.run("transfer-worker", "-i", tmp_path / "jobs")
    assert done.exit_code == 0, done
    found = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert found == {"a b": b"1", "c": b"22", "top": b"333"}


def test_an_archive_is_no_destination(archive):
    registry = StoreRegistry({"zip": {"fo": str(archive.path)}})
    with pytest.raises(UsageError, match="can only be a source"):
        registry.open("zip://new", "destination")


@pytest.mark.parametrize(
    ("options", "expected"),
    [({"fo": "/nowhere.zip"}, "FileNotFoundError"), ({"mode": "?"}, "ValueError")],
)
def test_options_that_make_no_filesystem_are_told_with_their_table(options, expected):
    with pytest.raises(StoreSettingsError, match=r"table \[zip\]") as caught:
        opened("zip://.", zip=options).stat("x")
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("zip://inner::https://h.example/x.zip", "[zip] fo in joblist.toml"),
        ("github://org:repo@main/docs", "table [github]"),
        ("smb://me:hunter2hunter2@host/share", "table [smb]"),
        ("zip://", "found nothing"),
        ("zip://a//b", "Did you mean zip://a/b?"),
    ],
)
def test_urls_that_a_path_can_t_follow_are_refused(url, expected, monkeypatch):
    fake = type("Fake", (fsspec.AbstractFileSystem,), {})
    for scheme in ("github", "smb"):
        monkeypatch.setitem(_registry, scheme, fake)
    store_type.cache_clear()
    with pytest.raises(UsageError) as caught:
        Location.parse(url)
    assert expected in str(caught.value)
    assert "hunter2" not in str(caught.value)
    store_type.cache_clear()


def test_a_scheme_whose_package_is_missing_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "dropboxdrivefs", None)
    with pytest.raises(UsageError, match="dropboxdrivefs") as caught:
        Location.parse("dropbox://x/y")
    assert "fsspec knows this scheme" in str(caught.value)


@pytest.mark.parametrize("scheme", ["local", "simplecache", "ssh", "s3a", "irods", "data"])
def test_what_is_no_place_is_unknown_as_before(scheme):
    assert not fsspec_knows(scheme)
    with pytest.raises(UsageError, match="no store has URLs of this kind"):
        Location.parse(f"{scheme}://bucket/x")


def test_without_fsspec_all_is_as_before(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec.registry", None)
    store_type.cache_clear()
    with pytest.raises(UsageError, match="no store has URLs of this kind"):
        Location.parse("zip://x/y")
    store_type.cache_clear()


def test_a_destination_by_a_url_is_written_and_read_back(tmp_path, monkeypatch):
    """A scheme that only fsspec knows; its filesystem is local."""
    local = type("Lab", (LocalFileSystem,), {"protocol": "lab"})
    monkeypatch.setitem(_registry, "lab", local)
    store_type.cache_clear()
    registry = StoreRegistry()
    store = registry.open(f"lab://.{tmp_path}/out", "destination")
    assert store.write("a/b c", [b"da", b"ta"], Attributes(mtime_ns=0)) is None
    assert (tmp_path / "out" / "a" / "b c").read_bytes() == b"data"
    assert store.url_of("a") == f"lab://.{tmp_path}/out/a"
    store_type.cache_clear()


def test_an_existing_file_that_must_stay_stays(tmp_path):
    store = FsspecStore(LocalFileSystem(), str(tmp_path))
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileError, match="found a file"):
        store.write("file", [b"new"], Attributes(mtime_ns=0, may_replace=False))
    with pytest.raises(FileError, match="found one"):
        store.write("folder", [b"new"], Attributes(mtime_ns=0))
    with pytest.raises(FileError, match="something else"):
        store.write("file/x", [b"new"], Attributes(mtime_ns=0))
    assert (tmp_path / "file").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_links_to_folders_are_not_followed(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_bytes(b"1")
    (tmp_path / "link").symlink_to("folder")
    (tmp_path / "loop").symlink_to(".")
    (tmp_path / "nowhere").symlink_to("nothing")
    found = list(FsspecStore(LocalFileSystem(), str(tmp_path)).list())
    assert [item.path for item in found if isinstance(item, Entry)] == ["folder/file"]
    assert {item.path for item in found if isinstance(item, Unlisted)} >= {"link", "loop"}


class Uploading(fsspec.spec.AbstractBufferedFile):
    """A file that is published when it is closed, as those of object stores are."""

    def _initiate_upload(self):
        self.parts = []

    def _upload_chunk(self, final=False):
        self.parts.append(self.buffer.getvalue())
        if final:
            self.fs.held[self.path] = b"".join(self.parts)
        return True

    def discard(self):
        self.parts = []


class Bucket(fsspec.AbstractFileSystem):
    """An object store in memory without moves."""

    protocol = "bucket"
    cachable = False

    def __init__(self):
        super().__init__()
        self.held = {}

    def info(self, path, **kwargs):
        if path in self.held:
            return {"name": path, "size": len(self.held[path]), "type": "file"}
        raise FileNotFoundError(path)

    def makedirs(self, path, exist_ok=False):
        raise NotImplementedError

    def _open(self, path, mode="rb", **kwargs):
        return Uploading(self, path, mode, block_size=2**16)

    def _rm(self, path):
        self.held.pop(path, None)


def test_an_upload_that_breaks_off_is_given_up_not_published():
    fs = Bucket()
    store = FsspecStore(fs, "b")
    store.write("x", [b"1" * 100_000, b"2"], Attributes(mtime_ns=0))
    assert fs.held == {"b/x": b"1" * 100_000 + b"2"}

    def chunks():
        yield b"3" * 100_000
        raise StoreError("broke off")

    before = dict(fs.held)
    for path in ("x", "y"):
        with pytest.raises(StoreError):
            store.write(path, chunks(), Attributes(mtime_ns=0))
    assert fs.held == before


def test_no_two_threads_are_in_a_filesystem_that_is_not_for_that(tmp_path):
    inside, most = [], []

    class Careful(LocalFileSystem):
        protocol = "careful"

        def cat_file(self, path, start=None, end=None, **kwargs):
            inside.append(path)
            most.append(len(inside))
            with contextlib.suppress(IndexError):
                found = super().cat_file(path, start, end)
                inside.pop()
            return found

    (tmp_path / "file").write_bytes(b"data")
    store = FsspecStore(Careful(), str(tmp_path))
    entry = entry_of(store, "file")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: store.read(entry, 0, 4), range(100)))
    assert set(most) == {1}


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (FileNotFoundError("x"), NotFoundError),
        (PermissionError("x"), RefusedError),
        (IsADirectoryError("x"), FileError),
        (NotImplementedError(), StoreUnavailableError),
        (UnicodeEncodeError("utf-8", "\udcff", 0, 1, "x"), FileError),
        (OSError(28, "No space left"), StoreUnavailableError),
        (OSError(36, "File name too long"), FileError),
        (TimeoutError("x"), UnreachableError),
        (ConnectionRefusedError("x"), UnreachableError),
        (OSError("x"), ServerError),
        (RuntimeError("two\nlines"), StoreError),
    ],
)
def test_each_error_has_a_scope_and_one_line(error, expected):
    found = of_failure(error, "lab://x/y")
    assert type(found) is expected
    assert "lab://x/y" in str(found)
    assert "\n" not in str(found)


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({"mtime": 1.5}, 1_500_000_000),
        ({"created": 2, "mtime": 1}, 1_000_000_000),
        ({"LastModified": EPOCH + timedelta(microseconds=7)}, 7000),
        ({"last_modified": datetime(1970, 1, 1)}, 0),
        ({"updated": "1970-01-01T00:00:01.000002Z"}, 1_000_002_000),
        ({"modified": "Thu, 01 Jan 1970 00:00:03 GMT"}, 3_000_000_000),
        ({"date_time": (1980, 1, 1, 0, 0, 0)}, 315_532_800_000_000_000),
        ({"mtime": "yesterday", "created": 1}, 1_000_000_000),
        ({}, 0),
    ],
)
def test_times_of_all_forms_are_read(info, expected):
    assert mtime_ns(info) == expected


def test_versions_are_read():
    assert version({"sha": "a"}) == "a"
    assert version({"CRC": 0}) == "0"
    assert version({}) is None
