"""Workers read only inside the source, whatever its owner exchanges after the listing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jobtool.errors import FileError, SourceError
from jobtool.stores.local import LinkPolicy, LocalStore
from jobtool.stores.store import Entry, Unlisted, entry_of
from tests.trees import write

SECRET = b"private"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A source, and beside it a private file of the same name, size and time as one in it."""
    times = (10**18, 10**18)
    for path, data in (("tree/sub/file", b"harmles"), ("private/file", SECRET)):
        os.utime(write(tmp_path / path, data), ns=times)
    write(tmp_path / "tree" / "real" / "file", b"inside")
    return tmp_path / "tree"


def listed(store: LocalStore, path: str) -> Entry:
    (entry,) = [one for one in store.list() if isinstance(one, Entry) and one.path == path]
    return entry


@pytest.mark.parametrize("links", ["follow", "skip", "keep", "error"])
@pytest.mark.parametrize("what", ["folder", "file"])
def test_what_was_exchanged_for_a_link_out_after_listing_is_not_read(
    tree: Path, links: LinkPolicy, what: str
) -> None:
    store = LocalStore(str(tree), links=links)
    entry = listed(store, "sub/file")
    assert store.read(entry, 0, entry.size).data == b"harmles"
    if what == "folder":
        os.rename(tree / "sub", tree / "away")
        (tree / "sub").symlink_to(tree.parent / "private")
    else:
        (tree / "sub" / "file").unlink()
        (tree / "sub" / "file").symlink_to(tree.parent / "private" / "file")
    for call in (
        lambda: store.read(entry, 0, entry.size),
        lambda: entry_of(store, "sub/file"),
        lambda: store.digest("sub/file"),
    ):
        with pytest.raises(FileError, match="link"):
            call()


@pytest.mark.parametrize("links", ["follow", "skip", "keep"])
def test_a_folder_that_becomes_a_link_out_is_not_listed(tree: Path, links: LinkPolicy) -> None:
    store = LocalStore(str(tree), links=links)
    listing = iter(store.list())
    assert next(listing) == listed(store, "real/file")
    os.rename(tree / "sub", tree / "away")
    (tree / "sub").symlink_to(tree.parent / "private")
    (sub,) = (one for one in listing if one.path.startswith("sub"))
    if isinstance(sub, Entry):  # it was listed ahead, when it was a folder still
        with pytest.raises(FileError, match="link"):
            store.read(sub, 0, sub.size)
    else:
        assert isinstance(sub, Unlisted)
        assert "link" in str(sub.error)


def test_links_inside_are_followed_still_also_where_the_root_was_moved(tree: Path) -> None:
    (tree / "link").symlink_to("real")
    store = LocalStore(str(tree))
    entry = listed(store, "link/file")
    assert store.read(entry, 0, 6).data == b"inside"
    os.rename(tree, tree.with_name("moved"))
    tree.symlink_to("moved")
    assert store.read(entry, 0, 6).data == b"inside"


@pytest.mark.parametrize("links", ["follow", "keep"])
def test_a_pipe_in_place_of_a_listed_file_is_an_error_and_never_waited_for(
    tree: Path, links: LinkPolicy
) -> None:
    store = LocalStore(str(tree), links=links)
    entry = listed(store, "sub/file")
    (tree / "sub" / "file").unlink()
    os.mkfifo(tree / "sub" / "file")
    with pytest.raises(SourceError):
        store.read(entry, 0, entry.size)
    with pytest.raises(SourceError, match="pipe"):
        entry_of(store, "sub/file")
