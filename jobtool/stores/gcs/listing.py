"""Listings of a bucket, in ascending order of the bytes of names.

The service has no folders: other programs mark them by empty objects whose names end in a slash.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from jobtool.errors import NotFoundError, ServerError, SourceError
from jobtool.names import quote
from jobtool.stores.gcs.metadata import LISTED_FIELDS, written_ns
from jobtool.stores.gcs.objects import Objects
from jobtool.stores.location import unfit_reason
from jobtool.stores.store import Child, Entry, Special, Unlisted

Listed = Entry | Special | Unlisted

#: Names in a page: the most that the service allows. Source: Google, "Objects: list".
PAGE = 1000

# What distinguishes a page of a listing, even an empty one, from any other document.
_KIND = "storage#objects"
_NEEDED = {"name", "size", "generation"}


class Listing:
    """Lists the objects below a prefix."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._prefix = objects.prefix

    def pages(
        self,
        path: str,
        begin: str,
        *,
        by_folder: bool = False,
        most: int = 0,
        fields: str = LISTED_FIELDS,
    ) -> Iterator[Mapping[str, Any]]:
        """Yield the pages of a listing of names that begin with ``begin``. Errors name ``path``.

        ``fields`` are those of objects. With ``most`` there is one page of so many at most.
        Raises ``ServerError`` for an answer that isn't a page: as a page, it would look empty.
        """
        query = {
            "fields": f"kind,nextPageToken,prefixes,items({fields})",
            "maxResults": str(most or PAGE),
            "prefix": begin,
        }
        if by_folder:
            query["delimiter"] = "/"
        token = None
        while True:
            page = self._page(path, query if token is None else {**query, "pageToken": token})
            yield page
            before, token = token, page.get("nextPageToken")
            if not token or most:
                return
            if token == before:
                raise ServerError(
                    f"{quote(self._objects.url_of(path))}: the service says that its listing "
                    "continues, but not where"
                )

    def _page(self, path: str, query: Mapping[str, str]) -> Mapping[str, Any]:
        place = f"/storage/v1/b/{self._objects.bucket}/o"
        page = self._objects.call(
            path, lambda: self._objects.service.ask("GET", place, query), is_object=False
        )
        items = page.get("items") or ()
        if page.get("kind") != _KIND or not all(item.keys() >= _NEEDED for item in items):
            raise ServerError(
                f"{quote(self._objects.url_of(path))}: {self._objects.service.url} answers with "
                "something else than a listing. Does something else answer, such as a proxy or a "
                "login page?"
            )
        return page

    def is_any(self, path: str, inside: str) -> bool:
        """Return True if the name of any object begins with ``inside``."""
        return any(page.get("items") for page in self.pages(path, inside, most=1))

    def folders(self, path: str, begin: str) -> list[str]:
        """Return the names of folders that begin with ``begin``, with a slash at their ends."""
        pages = self.pages(path, begin, by_folder=True)
        return [name for page in pages for name in page.get("prefixes") or ()]

    def children(self, path: str, inside: str) -> Iterator[Child | Unlisted]:
        """Yield what is directly inside a folder, whose names begin with ``inside``."""
        found: set[tuple[str, bool]] = set()
        is_there = not inside
        for page in self.pages(path, inside, by_folder=True):
            for name in page.get("prefixes") or ():
                found.add((name[len(inside) :].removesuffix("/"), True))
            for item in page.get("items") or ():
                is_there = True
                if item["name"] != inside or int(item["size"]):  # else a marker of the folder
                    found.add((item["name"][len(inside) :], False))
        if not found and not is_there and path:
            where = quote(self._objects.url_of(path))
            raise NotFoundError(f"expected a folder at {where}; found nothing")
        for name, is_folder in sorted(found, key=lambda each: (each[0].encode(), each[1])):
            if unfit_reason(name) is None:
                yield Child(name, is_folder)
            else:
                yield self._unlisted(inside[len(self._prefix) :] + name + "/" * is_folder)

    def entries(self) -> Iterator[Listed]:
        """Yield every object below the prefix, a thousand to a request."""
        marker = None  # the name of a folder, which is empty unless something in it follows
        last = b""
        for item in self._items():
            path = item["name"][len(self._prefix) :]
            name = path.encode()
            if name <= last and last:
                raise ServerError(
                    f"{quote(self._objects.url_of(''))}: the service lists {quote(path)} after a "
                    "name that follows it in the order of bytes"
                )
            last = name
            if marker is not None and not path.startswith(marker):
                yield self._empty(marker)
            marker = None
            if int(item["size"]) == 0 and (path.endswith("/") or not path):
                marker = path or None
            elif unfit_reason(path) is not None:
                yield self._unlisted(path)
            else:
                yield Entry(path, int(item["size"]), written_ns(item), str(item["generation"]))
        if marker is not None:
            yield self._empty(marker)

    def _items(self) -> Iterator[Mapping[str, Any]]:
        for page in self.pages("", self._prefix):
            yield from page.get("items") or ()

    def _empty(self, marker: str) -> Listed:
        folder = marker[:-1]
        if unfit_reason(folder) is not None:
            return self._unlisted(marker)
        return Special(folder, "empty-folder")

    def _unlisted(self, path: str) -> Unlisted:
        error = SourceError(
            f"{quote(self._objects.url_of(path))}: an object of this name can't be transferred: "
            f"the name has {unfit_reason(path)}. Copy it to another name, or leave it out."
        )
        return Unlisted(path, error)
