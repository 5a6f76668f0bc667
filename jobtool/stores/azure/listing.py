"""Listings of a container, in ascending order of the bytes of paths.

A flat account lists all blobs below a prefix in the order of their names. An account with a
hierarchical namespace lists folders as blobs, and a folder's contents before names that begin like
it, so it is listed folder by folder. Folders are blobs with ``hdi_isfolder`` in their metadata.
Other programs make such markers in flat accounts, too, or blobs whose name ends in a slash.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from jobtool.errors import NotFoundError, ServerError, SourceError
from jobtool.names import quote
from jobtool.stores.azure.container import Container
from jobtool.stores.azure.order import in_byte_order
from jobtool.stores.azure.page import Item, Page, read_page
from jobtool.stores.location import unfit_reason
from jobtool.stores.store import Child, Entry, Special, Unlisted

Listed = Entry | Special | Unlisted

#: Names in a page: the most that the service allows.
PAGE = 5000


class Listing:
    """Lists the blobs below ``prefix``, which is empty or ends in a slash."""

    def __init__(self, container: Container, prefix: str, root: str) -> None:
        self._container = container
        self._prefix = prefix
        self._root = root

    def _url_of(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root

    def _items(self, path: str, begin: str, *, by_folder: bool, most: int = 0) -> Iterator[Item]:
        """Yield blobs and, ``by_folder``, the folders beside them. Errors name ``path``."""
        query = {"include": "metadata", "maxresults": str(most or PAGE), "prefix": begin}
        if by_folder:
            query["delimiter"] = "/"
        mark = ""
        while True:
            asked = {**query, "marker": mark} if mark else query
            page = self._page(path, asked)
            yield from page.items
            if not page.next_mark:
                return
            if page.next_mark == mark:
                raise ServerError(
                    f"{quote(self._url_of(path))}: the service says that its listing continues, "
                    "but not where"
                )
            mark = page.next_mark

    def _page(self, path: str, query: Mapping[str, str]) -> Page:
        direct = self._container.direct
        return self._container.call(
            self._url_of(path), lambda: read_page(direct.list_page(query)), self._root
        )

    def is_any(self, path: str, inside: str) -> bool:
        """Return True if the name of any blob begins with ``inside``."""
        return next(self._items(path, inside, by_folder=False, most=1), None) is not None

    def try_it(self) -> None:
        """List one blob. Raises the errors of stores."""
        next(self._items("", self._prefix, by_folder=False, most=1), None)

    def children(self, path: str, inside: str) -> Iterator[Child | Unlisted]:
        """Yield what is directly inside a folder, whose names begin with ``inside``."""
        found: dict[tuple[str, bool], None] = {}
        is_there = not inside
        for item in self._items(path, inside, by_folder=True):
            is_there = True
            name = item.name[len(inside) :]
            if item.is_prefix:
                found[name.removesuffix("/"), True] = None
            elif name:  # else the marker of the folder itself
                found[name, item.is_folder] = None
        if not is_there and not self._is_marked(path, inside):
            where = quote(self._url_of(path))
            raise NotFoundError(f"expected a folder at {where}; found nothing")
        for name, folder in sorted(found):
            if unfit_reason(name) is None:
                yield Child(name, folder)
            else:
                yield self._unlisted(inside + name + "/" * folder)

    def _is_marked(self, path: str, inside: str) -> bool:
        """Return True if a marker says that an empty folder is there."""
        name = inside.removesuffix("/")
        items = self._items(path, name, by_folder=True, most=2)
        return any(item.name == name and item.is_folder for item in items)

    def entries(self) -> Iterator[Listed]:
        """Yield everything below the prefix."""
        if self._container.is_hierarchical(self._root):
            yield from self._in_folder(self._prefix)
            return
        last = b""
        waiting: list[str] = []  # folders that are marked; each is empty unless something follows
        items = self._items("", self._prefix, by_folder=False)
        for item in in_byte_order(items, lambda item: item.name):
            path = item.name[len(self._prefix) :]
            key = path.encode()
            if key <= last and last:
                raise ServerError(
                    f"{quote(self._root)}: the service lists {quote(item.name)} after a name that "
                    "follows it in the order of bytes. If the account has a hierarchical "
                    "namespace, set hierarchical = true in the table of joblist.toml."
                )
            last = key
            yield from self._empty_before(waiting, path)
            if item.is_folder or (item.size == 0 and (path.endswith("/") or not path)):
                if path and path.removesuffix("/") not in waiting:
                    waiting.append(path.removesuffix("/"))
            else:
                yield self._entry(item, path)
        yield from self._empty_before(waiting, None)

    def _empty_before(self, waiting: list[str], path: str | None) -> Iterator[Listed]:
        """Yield the marked folders that turn out to be empty when ``path`` is listed next."""
        if not waiting:
            return
        kept = []
        for folder in sorted(waiting, key=lambda folder: f"{folder}/".encode()):
            if path is None or f"{folder}/".encode() < path.encode():
                if path is None or not path.startswith(f"{folder}/"):
                    yield self._empty(folder)
            else:
                kept.append(folder)
        waiting[:] = kept

    def _in_folder(self, inside: str) -> Iterator[Listed]:
        """Yield everything inside a folder, in order. Holds the names of one folder a level."""
        files: dict[str, Item] = {}
        folders = set()
        for item in self._items(inside[len(self._prefix) :].rstrip("/"), inside, by_folder=True):
            if item.is_prefix:
                folders.add(item.name)
            elif item.is_folder:
                if item.name not in (inside, inside.removesuffix("/")):
                    folders.add(item.name.removesuffix("/") + "/")
            elif item.name != inside or item.size:
                files[item.name] = item
        if not files and not folders and inside != self._prefix:
            yield self._empty(inside[len(self._prefix) : -1])
        for name in sorted({*files, *folders}, key=str.encode):
            if name in folders:
                if unfit_reason(name[len(self._prefix) : -1]) is None:
                    yield from self._in_folder(name)
                else:
                    yield self._unlisted(name)
            if name in files:
                yield self._entry(files[name], name[len(self._prefix) :])

    def _empty(self, folder: str) -> Listed:
        if unfit_reason(folder) is not None:
            return self._unlisted(self._prefix + folder)
        return Special(folder, "empty-folder")

    def _entry(self, item: Item, path: str) -> Listed:
        if unfit_reason(path) is not None:
            return self._unlisted(self._prefix + path)
        return Entry(path, item.size, item.modified_ns, item.etag)

    def _unlisted(self, name: str) -> Unlisted:
        """Return the entry of a listing for a name that isn't a path."""
        path = name.removeprefix(self._prefix)
        error = SourceError(
            f"{quote(self._url_of(path))}: a blob of this name can't be transferred: the name has "
            f"{unfit_reason(name)}. Copy it to another name, or leave it out."
        )
        return Unlisted(path, error)
