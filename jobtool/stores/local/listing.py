"""The listing of one folder, with the kind of each name in it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence

from jobtool.errors import FileError, NotFoundError
from jobtool.names import quote
from jobtool.stores.local.errors import not_a_file, read_error
from jobtool.stores.local.links import judge_link
from jobtool.stores.local.tree import Tree
from jobtool.stores.store import Child, Entry, Special, SpecialKind, Unlisted

# Marks at the end of names in a listing. Neither byte can be in a name.
_FOLDER_MARK, _LINK_MARK = b"/", b"\0"
_MARKS = _FOLDER_MARK + _LINK_MARK


def children(folder: str) -> Iterator[Child]:
    """Yield what is directly inside a folder, sorted by name."""
    try:
        with os.scandir(folder) as entries:
            found = sorted((entry.name, _is_folder(entry), entry.is_symlink()) for entry in entries)
    except OSError as error:
        raise read_error(error, folder) from None
    for name, is_folder, is_link in found:
        yield Child(name, is_folder, is_link)


def check_readable(folder: str) -> None:
    """Read the first name in a folder, if any. Raise the errors of reading."""
    try:
        with os.scandir(folder) as entries:
            next(entries, None)
    except OSError as error:
        raise read_error(error, folder) from None


def marked_names(tree: Tree, path: str) -> Sequence[bytes]:
    """Return the sorted names in a folder, with marks at the end of folders and links.

    A folder sorts as if its name ended in a slash, so that whole paths are in order. A million
    names take a fifth of the memory of as many directory entries. Raises the errors of reading.
    """
    follows = tree.links == "follow"
    try:
        descriptor = tree.open_folder(path)
        try:
            with os.scandir(b"/proc/self/fd/%d" % descriptor) as entries:
                return sorted(
                    entry.name
                    + (_FOLDER_MARK if _is_folder(entry, follows=follows) else b"")
                    + (_LINK_MARK if entry.is_symlink() else b"")
                    for entry in entries
                )
        finally:
            os.close(descriptor)
    except OSError as error:
        raise read_error(error, tree.full(path)) from None


def look(
    tree: Tree, prefix: str, marked: bytes, excludes: Callable[[str], bool] | None = None
) -> Entry | Special | Unlisted | tuple[str, Sequence[bytes]]:
    """Return what a marked name is. For a non-empty folder, return its path and marked names.

    A folder that ``excludes`` isn't opened, and neither is a link to it followed.

    A name that can't be examined is ``Unlisted``. Errors of the whole store are raised.
    """
    name = marked.rstrip(_MARKS)
    path = prefix + os.fsdecode(name)
    try:
        if name == marked:
            return _file(path, tree.full(path))
        if excludes is not None and _FOLDER_MARK in marked and excludes(path):
            return Special(path, "excluded-folder")
        return _link_or_folder(tree, path, marked)
    except NotFoundError:
        gone = NotFoundError(f"{quote(tree.full(path))} was removed while its folder was listed")
        return Unlisted(path, gone, is_folder=_FOLDER_MARK in marked)
    except FileError as error:
        return Unlisted(path, error, is_folder=_FOLDER_MARK in marked)


def _file(path: str, full: str) -> Entry | Special:
    try:
        found = os.stat(full)
    except OSError as error:
        raise read_error(error, full) from None
    if stat.S_ISREG(found.st_mode):
        return Entry(path, found.st_size, found.st_mtime_ns)
    if stat.S_ISDIR(found.st_mode):  # a folder has replaced the file meanwhile
        raise not_a_file(full, found.st_mode)
    return Special(path, _special_kind(found.st_mode))


def _link_or_folder(
    tree: Tree, path: str, marked: bytes
) -> Entry | Special | tuple[str, Sequence[bytes]]:
    is_folder = _FOLDER_MARK in marked
    if marked.endswith(_LINK_MARK):
        target = judge_link(tree.full(path), tree.root, tree.links, is_folder=is_folder)
        if target is not None:
            return Special(path, "link", target)
    if not is_folder:
        return _file(path, tree.full(path))
    below = marked_names(tree, path)
    return (path, below) if below else Special(path, "empty-folder")


def _is_folder(entry: os.DirEntry[str] | os.DirEntry[bytes], *, follows: bool = True) -> bool:
    try:
        return entry.is_dir(follow_symlinks=follows)
    except OSError:
        return False


def _special_kind(mode: int) -> SpecialKind:
    if stat.S_ISFIFO(mode):
        return "pipe"
    return "socket" if stat.S_ISSOCK(mode) else "device"
