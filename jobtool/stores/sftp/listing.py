"""List a tree in the order of its paths. The names of folders to come are fetched ahead of time.

The answer to a listing has the attributes of each name, so no file is asked for by itself.
"""

from __future__ import annotations

import os
import stat as modes
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future

import asyncssh
import msgspec

from jobtool.errors import FileError, NotFoundError, SourceError
from jobtool.names import quote
from jobtool.stores.beneath import LinkInTheWayError
from jobtool.stores.sftp.attributes import entry_of, mtime_ns_of
from jobtool.stores.sftp.connection import Link, Session
from jobtool.stores.sftp.reading import reading
from jobtool.stores.sftp.tree import MISSING, Tree, mode_of, real_path
from jobtool.stores.store import Child, Entry, Special, SpecialKind, Unlisted

#: How many folders of one level are fetched ahead of time.
_AHEAD = 8

_FOLDER_MARK = b"/"

Listed = Entry | Special | Unlisted


class _Name(msgspec.Struct, frozen=True, order=True, gc=False):
    """A name in a folder, with a slash at the end of a folder's, so that whole paths are in order.

    ``mode`` is its type and mode as ``lstat(2)`` says.
    """

    marked: bytes
    size: int
    mtime_ns: int
    mode: int


def list_tree(
    link: Link, tree: Tree, excludes: Callable[[str], bool] | None = None
) -> Iterator[Listed]:
    """Yield everything below the root, with links by policy.

    A folder that ``excludes`` is the special ``excluded-folder``, and isn't opened.

    Holds the names of the folders on the way down and of up to 8 more on each level. Raises the
    errors of reading the root and those of the whole store.
    """
    yield from _Walk(link, tree, excludes).below("", _names(link, tree, "").result())


class _Walk:
    def __init__(self, link: Link, tree: Tree, excludes: Callable[[str], bool] | None) -> None:
        self._link = link
        self._tree = tree
        self._excludes = excludes

    def below(self, prefix: str, names: Sequence[_Name]) -> Iterator[Listed]:
        """Yield what is below a folder whose names are known. Nested folders take no recursion."""
        stack = [self._in_folder(prefix, names)]
        while stack:
            for item in stack[-1]:
                if isinstance(item, tuple):
                    stack.append(self._in_folder(*item))
                    break
                yield item
            else:
                stack.pop()

    def _in_folder(
        self, prefix: str, names: Sequence[_Name]
    ) -> Iterator[Listed | tuple[str, Sequence[_Name]]]:
        excludes = self._excludes
        of_folders = [name for name in names if name.marked.endswith(_FOLDER_MARK)]
        excluded: set[bytes] = set()
        if excludes is not None:
            excluded = {each.marked for each in of_folders if excludes(prefix + _text(each))}
        folders = iter([name for name in of_folders if name.marked not in excluded])
        coming: deque[Future[Sequence[_Name]]] = deque()

        def look_ahead() -> None:
            while len(coming) < _AHEAD and (name := next(folders, None)) is not None:
                coming.append(_names(self._link, self._tree, prefix + _text(name)))

        for name in names:
            path = prefix + _text(name)
            if not name.marked.endswith(_FOLDER_MARK):
                yield self._file(path, name)
                continue
            if name.marked in excluded:
                yield Special(path, "excluded-folder")
                continue
            look_ahead()
            below = self._folder(path, coming.popleft())
            yield (f"{path}/", below) if isinstance(below, list) else below

    def _folder(
        self, path: str, coming: Future[Sequence[_Name]]
    ) -> Special | Unlisted | list[_Name]:
        try:
            below = list(coming.result())
        except NotFoundError:
            return Unlisted(path, _removed(self._tree, path), is_folder=True)
        except FileError as error:
            return Unlisted(path, error, is_folder=True)
        return below or Special(path, "empty-folder")

    def _file(self, path: str, name: _Name) -> Listed:
        if modes.S_ISREG(name.mode):
            return Entry(path, name.size, name.mtime_ns)
        if not modes.S_ISLNK(name.mode):
            return Special(path, _special_kind(name.mode))
        try:
            return self._link.run(lambda session: _judge_file(session, self._tree, path))
        except NotFoundError:
            return Unlisted(path, _removed(self._tree, path))
        except FileError as error:
            return Unlisted(path, error)


def _names(link: Link, tree: Tree, path: str) -> Future[Sequence[_Name]]:
    return link.start(lambda session: _names_in(session, tree, path), again=True)


async def _names_in(session: Session, tree: Tree, path: str) -> Sequence[_Name]:
    """Return the sorted names in a folder."""
    found = []
    with reading(tree.url_of(path)):
        try:
            await tree.require_inside(session, path)
        except LinkInTheWayError as error:
            raise SourceError(str(error)) from None
        try:
            async for item in session.sftp.scandir(tree.full(path)):
                if item.filename not in (b".", b".."):
                    found.append(await _name(session, tree, path, item))
        except MISSING:
            await _require_folder(session, tree, path)
            raise
    found.sort()
    return found


async def _name(session: Session, tree: Tree, path: str, item: asyncssh.SFTPName) -> _Name:
    name, attrs = item.filename, item.attrs
    assert isinstance(name, bytes)
    if b"/" in name or b"\0" in name or not name:
        where = quote(tree.url_of(path))
        raise SourceError(f"{where}: the server lists the name {name!r}, which no file can have")
    full = os.path.join(tree.full(path), name)
    if attrs.permissions is None:
        attrs = await session.sftp.lstat(full)
    mode = attrs.permissions or 0
    is_folder = modes.S_ISDIR(mode)
    if modes.S_ISLNK(mode) and tree.links == "follow":
        followed = await mode_of(session, full, follow=True)
        is_folder = followed is not None and modes.S_ISDIR(followed)
        if is_folder and await _refused_folder(session, tree, path, full):
            is_folder = False  # it is listed as a link that can't be followed
    marked = name + _FOLDER_MARK * is_folder
    return _Name(marked, attrs.size or 0, mtime_ns_of(attrs), mode)


async def _refused_folder(session: Session, tree: Tree, path: str, full: bytes) -> bool:
    """Return True for a link to a folder outside the root, or to one above itself."""
    real = await real_path(session, full)
    root = await tree.real_root(session)
    here = await real_path(session, tree.full(path))
    is_outside = not (real + b"/").startswith(root.rstrip(b"/") + b"/")
    return is_outside or (here + b"/").startswith(real.rstrip(b"/") + b"/")


async def _judge_file(session: Session, tree: Tree, path: str) -> Listed:
    """Return what a link is listed as, by the policy."""
    full, url = tree.full(path), quote(tree.url_of(path))
    with reading(tree.url_of(path)):
        found = await session.sftp.readlink(full)
        assert isinstance(found, bytes)
        target = os.fsdecode(found)
        if tree.links in ("skip", "keep"):
            return Special(path, "link", target)
        shown = f"{url} is a link to {quote(target)}"
        hint = "Remove it, or use --links skip or --links keep."
        if tree.links == "error":
            raise SourceError(f"{shown}, and --links error was asked for. {hint}")
        try:
            followed = await session.sftp.stat(full)
        except asyncssh.SFTPError as error:
            if isinstance(error, MISSING):
                raise SourceError(f"{shown}: nothing is there, or it loops. {hint}") from None
            raise
        real = await real_path(session, full)
        tree.require_real_inside(path, real, await tree.real_root(session))
    mode = followed.permissions or 0
    if modes.S_ISDIR(mode):
        raise SourceError(f"{shown}, a folder above itself: it loops. {hint}")
    return entry_of(path, followed) if modes.S_ISREG(mode) else Special(path, _special_kind(mode))


async def _require_folder(session: Session, tree: Tree, path: str) -> None:
    """Raise ``SourceError`` if something else is there. Servers answer as if nothing were."""
    mode = await mode_of(session, tree.full(path), follow=True)
    if mode is not None and not modes.S_ISDIR(mode):
        raise SourceError(f"expected a folder at {quote(tree.url_of(path))}; found a file")


def children(link: Link, tree: Tree, path: str) -> Iterator[Child]:
    """Yield what is directly inside a folder, sorted by name."""

    async def found(session: Session) -> list[Child]:
        children = []
        with reading(tree.url_of(path)):
            try:
                async for item in session.sftp.scandir(tree.full(path)):
                    if item.filename not in (b".", b".."):
                        children.append(await _child(session, tree.full(path), item))
            except MISSING:
                await _require_folder(session, tree, path)
                raise
        return children

    yield from sorted(link.run(found, again=True), key=lambda child: child.name)


async def _child(session: Session, folder: bytes, item: asyncssh.SFTPName) -> Child:
    assert isinstance(item.filename, bytes)
    mode: int | None = item.attrs.permissions or 0
    is_link = modes.S_ISLNK(mode or 0)
    if is_link:
        mode = await mode_of(session, os.path.join(folder, item.filename), follow=True)
    return Child(os.fsdecode(item.filename), modes.S_ISDIR(mode or 0), is_link)


async def check_readable(session: Session, tree: Tree) -> None:
    """Begin to list the root. Raises the errors of reading."""
    with reading(tree.url):
        async for _ in session.sftp.scandir(tree.root):
            break


def _text(name: _Name) -> str:
    return os.fsdecode(name.marked.rstrip(_FOLDER_MARK))


def _removed(tree: Tree, path: str) -> NotFoundError:
    return NotFoundError(f"{quote(tree.url_of(path))} was removed while its folder was listed")


def _special_kind(mode: int) -> SpecialKind:
    if modes.S_ISFIFO(mode):
        return "pipe"
    return "socket" if modes.S_ISSOCK(mode) else "device"
