"""What every store must do for reading: list, stat, read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest
from msgspec.structs import replace

from jobtool.errors import (
    NotFoundError,
    SourceChangedError,
    SourceError,
)
from jobtool.stores.store import (
    Child,
    Entry,
    Store,
    entry_of,
    kind_of,
)
from jobtool.testing.store_suite.common import (
    MTIME_NS,
    THREADS,
    RawAccess,
    Suite,
    files_of,
    md5_of,
    some_bytes,
)


class Reading(Suite):
    """Listing, stat and reading."""

    def test_list_of_an_empty_store_yields_nothing(self, store: Store) -> None:
        """Listing a root without files isn't an error."""
        assert list(store.list()) == []

    def test_list_is_recursive_in_byte_order_with_sizes(self, store: Store, raw: RawAccess) -> None:
        """``a-b`` < ``a.b`` < ``a/b`` < ``a0``, whichever of them are folders."""
        paths = [
            "a-b",
            "a.b",
            "a/b",
            "a/c/d",
            "a/c.d",
            "a/c0",
            "a0",
            "A",
            "a~",
            "b/é",
            "b/z",
            "b/zz/1",
            "b/zz/2",
            "ü",
            "🧬",
        ]
        for number, path in enumerate(reversed(paths)):
            raw.write(path, b"x" * number)
        found = files_of(store)
        assert [entry.path for entry in found] == sorted(paths, key=os.fsencode)
        assert {entry.path: entry.size for entry in found} == {
            path: number for number, path in enumerate(reversed(paths))
        }

    def test_listed_files_can_be_read_as_listed(self, store: Store, raw: RawAccess) -> None:
        """``read`` and ``stat`` see the same size and time as the listing."""
        for path in ("a", "b/c"):
            raw.write(path, path.encode())
        for entry in files_of(store):
            assert bytes(store.read(entry, 0, entry.size).data) == entry.path.encode()
            assert replace(entry_of(store, entry.path), etag=None) == replace(entry, etag=None)

    def test_more_files_than_a_page_of_a_listing_are_all_listed(
        self, store: Store, raw: RawAccess
    ) -> None:
        """Servers list a page at a time: the listing has all of them."""
        paths = [f"folder/{number:04}" for number in range(self.page_size + 50)]
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda path: raw.write(path, b""), paths))
        assert [entry.path for entry in store.list()] == paths
        children = store.children("folder")
        assert [getattr(child, "name", None) for child in children] == [path[7:] for path in paths]

    def test_children_are_sorted_and_tell_folders(self, store: Store, raw: RawAccess) -> None:
        """Only one level is listed, and each folder once."""
        for path in ("b/x", "b/y/z", "a", "c", "b.d", "d/e/f/g"):
            raw.write(path, b"1")
        names = [("a", False), ("b", True), ("b.d", False), ("c", False), ("d", True)]
        assert list(store.children("")) == [Child(name, folder) for name, folder in names]
        assert list(store.children("b")) == [Child("x", False), Child("y", True)]
        assert list(store.children("d/e")) == [Child("f", True)]

    def test_children_of_nothing_and_of_a_file_are_errors(
        self, store: Store, raw: RawAccess
    ) -> None:
        """A missing path raises ``NotFoundError``, and a file ``SourceError``."""
        raw.write("file", b"1")
        with pytest.raises(NotFoundError):
            list(store.children("nothing"))
        with pytest.raises(SourceError):
            list(store.children("file"))

    def test_stat_tells_file_folder_and_missing(self, store: Store, raw: RawAccess) -> None:
        """A prefix of a name isn't a folder."""
        raw.write("folder/file", b"1")
        assert kind_of(store, "") == "folder"
        assert kind_of(store, "folder") == "folder"
        assert kind_of(store, "folder/file") == "file"
        for path in ("fold", "folder/fil", "folder/file/x", "folder/missing"):
            assert kind_of(store, path) == "missing", path

    def test_stat_tells_the_size(self, store: Store, raw: RawAccess) -> None:
        """The entry's path is the one passed to ``stat``."""
        raw.write("a/b", b"12345")
        entry = entry_of(store, "a/b")
        assert (entry.path, entry.size) == ("a/b", 5)

    def test_what_is_missing_is_not_found(self, store: Store, raw: RawAccess) -> None:
        """Every method that needs a file raises an error that names it."""
        raw.write("there", b"12345")
        entry = Entry("missing", 5, entry_of(store, "there").mtime_ns)
        for attempt in (
            lambda: entry_of(store, "missing"),
            lambda: store.read(entry, 0, 5),
            lambda: store.digest("missing"),
            lambda: entry_of(store, "missing/deeper"),
        ):
            with pytest.raises(NotFoundError, match="missing"):
                attempt()

    def test_a_folder_is_no_file(self, store: Store, raw: RawAccess) -> None:
        """Methods that need a file raise an error."""
        raw.write("folder/file", b"1")
        assert store.stat("folder", file_only=True) in ("folder", "missing")
        with pytest.raises(SourceError):
            entry_of(store, "folder")

    @pytest.mark.parametrize(
        ("offset", "length"), [(0, 1000), (0, 1), (0, 0), (999, 1), (1000, 0), (123, 456)]
    )
    def test_read_returns_the_range(
        self, store: Store, raw: RawAccess, offset: int, length: int
    ) -> None:
        """It returns exactly the requested bytes."""
        data = some_bytes(1000)
        raw.write("file", data)
        content = store.read(entry_of(store, "file"), offset, length)
        assert bytes(content.data) == data[offset : offset + length]

    def test_a_file_changed_after_its_listing_is_noticed(
        self, store: Store, raw: RawAccess
    ) -> None:
        """The error is raised for every range."""
        raw.write("file", b"12345", mtime_ns=MTIME_NS)
        entry = entry_of(store, "file")
        raw.write("file", b"123456", mtime_ns=MTIME_NS)
        for offset, length in ((0, 5), (0, 1), (4, 1)):
            with pytest.raises(SourceChangedError, match="file"):
                store.read(entry, offset, length)

    def test_a_file_replaced_without_a_new_size_or_time_is_noticed(
        self, store: Store, raw: RawAccess
    ) -> None:
        """Where files have ETags. What is read tells the same ETag as the entry, if any."""
        raw.write("file", b"12345", mtime_ns=MTIME_NS)
        entry = entry_of(store, "file")
        if entry.etag is None:
            pytest.skip("this store has no ETags")
        for offset, length in ((0, 5), (1, 2)):
            assert store.read(entry, offset, length).etag in (None, entry.etag)
            with pytest.raises(SourceChangedError, match="file"):
                store.read(replace(entry, etag="another"), offset, length)

    def test_digest_is_the_md5(self, store: Store, raw: RawAccess) -> None:
        """An empty file has one, too."""
        raw.write("file", b"12345")
        raw.write("empty", b"")
        assert store.digest("file") == md5_of(b"12345")
        assert store.digest("empty") == md5_of(b"")

    def test_a_modification_time_set_by_others_is_read(self, store: Store, raw: RawAccess) -> None:
        """Times set by other programs are kept."""
        raw.write("file", b"data", mtime_ns=MTIME_NS)
        content = store.read(entry_of(store, "file"), 0, 4)
        assert self.is_time(content.attributes.mtime_ns, MTIME_NS)

    def test_urls_extend_the_root(self, store: Store) -> None:
        """``""`` is the root itself."""
        assert store.url_of("") == store.url
        assert store.url_of("a/b") == store.url.rstrip("/") + "/a/b"


def require_named_files(store: Store, files: Mapping[str, bytes]) -> None:
    """Check that a store holds these files of ``named_files``, in every method that reads."""
    assert [entry.path for entry in store.list()] == sorted(files, key=os.fsencode)
    names = sorted((path[: len(path) // 2] for path in files), key=os.fsencode)
    assert list(store.children("")) == [Child(name, True) for name in names]
    for name in names:
        path = f"{name}/{name}"
        data = files[path]
        assert list(store.children(name)) == [Child(name, False)]
        assert (kind_of(store, name), kind_of(store, path)) == ("folder", "file"), path
        entry = entry_of(store, path)
        assert (entry.path, entry.size) == (path, len(data))
        assert bytes(store.read(entry, 0, len(data)).data) == data, path
        assert store.digest(path) == md5_of(data), path
