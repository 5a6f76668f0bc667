"""Listings of a container, in ascending order of the bytes of paths.

A flat account lists all blobs below a prefix in the order of their names. An account with a
hierarchical namespace lists folders as blobs, and a folder's contents before names that begin like
it, so it is listed folder by folder. Folders are blobs with ``hdi_isfolder`` in their metadata.
Other programs make such markers in flat accounts, too, or blobs whose name ends in a slash.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from azure.storage.blob import BlobPrefix, BlobProperties

from jobtool.errors import NotFoundError, ServerError, SourceError
from jobtool.names import quote
from jobtool.stores.azure.container import Container
from jobtool.stores.azure.metadata import etag_of, is_folder, modified_ns
from jobtool.stores.azure.order import in_byte_order
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

    def _items(self, path: str, begin: str, *, by_folder: bool, most: int = 0) -> Iterator[Any]:
        """Yield blobs and, ``by_folder``, the folders beside them. Errors name ``path``."""
        client = self._container.client
        options: dict[str, Any] = {"include": ["metadata"], "results_per_page": most or PAGE}
        make: Callable[[], Any] = (
            (lambda: client.walk_blobs(begin, delimiter="/", **options))
            if by_folder
            else (lambda: client.list_blobs(begin, **options))
        )
        pages = self._call(path, lambda: make().by_page())
        while True:
            page = self._call(path, lambda: _next_page(pages))
            if page is None:
                return
            yield from page

    def _call(self, path: str, request: Callable[[], Any]) -> Any:
        return self._container.call(self._url_of(path), request, self._root)

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
            if isinstance(item, BlobPrefix):
                found[name.removesuffix("/"), True] = None
            elif name:  # else the marker of the folder itself
                found[name, is_folder(item.metadata)] = None
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
        return any(item.name == name and is_folder(item.metadata) for item in items)

    def entries(self) -> Iterator[Listed]:
        """Yield everything below the prefix."""
        if self._container.is_hierarchical(self._root):
            yield from self._in_folder(self._prefix)
            return
        last = b""
        waiting: list[str] = []  # folders that are marked; each is empty unless something follows
        items = self._items("", self._prefix, by_folder=False)
        for item in in_byte_order(items, lambda item: str(item.name)):
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
            if is_folder(item.metadata) or (item.size == 0 and (path.endswith("/") or not path)):
                if path:
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
        files: dict[str, BlobProperties] = {}
        folders = set()
        for item in self._items(inside[len(self._prefix) :].rstrip("/"), inside, by_folder=True):
            if isinstance(item, BlobPrefix):
                folders.add(item.name)
            elif is_folder(item.metadata):
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

    def _entry(self, item: BlobProperties, path: str) -> Listed:
        if unfit_reason(path) is not None:
            return self._unlisted(self._prefix + path)
        return Entry(path, item.size, modified_ns(item), etag_of(item.etag))

    def _unlisted(self, name: str) -> Unlisted:
        """Return the entry of a listing for a name that isn't a path."""
        path = name.removeprefix(self._prefix)
        error = SourceError(
            f"{quote(self._url_of(path))}: a blob of this name can't be transferred: the name has "
            f"{unfit_reason(name)}. Copy it to another name, or leave it out."
        )
        return Unlisted(path, error)


def _next_page(pages: Any) -> list[Any] | None:
    page = next(pages, None)
    return None if page is None else list(page)
