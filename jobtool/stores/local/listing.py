"""What lies in a folder and below it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence

from jobtool.stores.local.errors import read_error
from jobtool.stores.local.links import judge_link
from jobtool.stores.local.tree import Tree
from jobtool.stores.store import Child, Entry, Special, SpecialKind, Unlisted

# Marks of names in a listing: neither byte can be in a name.
_FOLDER_MARK, _LINK_MARK = b"/", b"\0"
_MARKS = _FOLDER_MARK + _LINK_MARK


def children(folder: str) -> Iterator[Child]:
    """Yield what is directly inside a folder, sorted by name."""
    for entry in sorted(scan(folder), key=lambda entry: entry.name):
        yield Child(entry.name, _is_folder(entry), entry.is_symlink())


def scan(folder: str) -> Sequence[os.DirEntry[str]]:
    """Return what is directly inside a folder."""
    try:
        with os.scandir(folder) as entries:
            return tuple(entries)
    except OSError as error:
        raise read_error(error, folder) from None


def list_tree(tree: Tree) -> Iterator[Entry | Special | Unlisted]:
    """Yield everything below the root; links by policy."""
    # Depth first with a stack of its own: a tree may be deeper than Python's calls may nest.
    stack = [("", iter(_marked_names(tree, "")))]
    while stack:
        prefix, names = stack[-1]
        marked = next(names, None)
        if marked is None:
            stack.pop()
            continue
        path = prefix + os.fsdecode(marked.rstrip(_MARKS))
        is_folder = _FOLDER_MARK in marked
        if marked.endswith(_LINK_MARK):
            target = judge_link(tree.full(path), tree.root, tree.links, is_folder=is_folder)
            if target is not None:
                yield Special(path, "link", target)
                continue
        if is_folder:
            below = _marked_names(tree, path)
            if below:
                stack.append((path + "/", iter(below)))
            else:
                yield Special(path, "empty-folder")
        else:
            yield _entry_or_special(tree, path)


def _marked_names(tree: Tree, path: str) -> Sequence[bytes]:
    """Return the names in a folder in order, folders and links marked at their ends.

    A folder sorts as if its name ended in a slash, so that whole paths come in order. A million
    names take a fifth of what as many directory entries would.
    """
    try:
        descriptor = tree.open_folder(path)
        try:
            with os.scandir(b"/proc/self/fd/%d" % descriptor) as entries:
                return sorted(
                    entry.name
                    + (_FOLDER_MARK if _is_folder(entry) else b"")
                    + (_LINK_MARK if entry.is_symlink() else b"")
                    for entry in entries
                )
        finally:
            os.close(descriptor)
    except OSError as error:
        raise read_error(error, tree.full(path)) from None


def _entry_or_special(tree: Tree, path: str) -> Entry | Special:
    full = tree.full(path)
    try:
        found = os.stat(full)
    except OSError as error:
        raise read_error(error, full) from None
    if stat.S_ISREG(found.st_mode):
        return Entry(path, found.st_size, found.st_mtime_ns)
    return Special(path, _special_kind(found.st_mode))


def _is_folder(entry: os.DirEntry[str] | os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _special_kind(mode: int) -> SpecialKind:
    if stat.S_ISFIFO(mode):
        return "pipe"
    return "socket" if stat.S_ISSOCK(mode) else "device"
