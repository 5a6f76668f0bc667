"""Listing what is below an address: by the indexes of its folders, one request each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from jobtool.errors import FileError, RefusedError, SourceError
from jobtool.names import quote
from jobtool.stores.http.index import Listed, parse_index
from jobtool.stores.location import unfit_reason
from jobtool.stores.store import Child, Entry, Special, Unlisted
from jobtool.stores.subfolders import listed_or_not

#: The largest index of one folder: about a million names.
_MOST_INDEX_BYTES = 256 * 1024 * 1024

#: How many files are looked at at once if the index doesn't tell their sizes.
_THREADS, _BATCH = 8, 64

_ADVICE = (
    "Let the server list its folders (nginx: 'autoindex on; autoindex_format json;'), or name the "
    "files in a table and use --layout manifest."
)


class _Server(Protocol):
    def url_of(self, path: str) -> str: ...

    def entry_by_head(self, path: str) -> Entry: ...

    def get_index(self, path: str, most: int) -> tuple[bytes, str, str]: ...


class Listing:
    """The names below the root of a store, by its server's indexes."""

    def __init__(self, server: _Server) -> None:
        self._server = server

    def children(self, path: str) -> Iterator[Child | Unlisted]:
        """Yield what is directly inside a folder, sorted by name."""
        for item in sorted(self._index(path), key=lambda item: _bytes(item.name)):
            unlisted = self._unfit(path, item)
            yield unlisted if unlisted is not None else Child(item.name, item.is_folder)

    def below(
        self, path: str, excludes: Callable[[str], bool] | None = None
    ) -> Iterator[Entry | Special | Unlisted]:
        """Yield all that is below a folder, in byte order.

        A folder that ``excludes`` is the special ``excluded-folder``, and isn't opened.
        """
        items = sorted(self._index(path), key=lambda item: _bytes(item.name, item.is_folder))
        if not items and path:
            yield Special(path, "empty-folder")
        for start in range(0, len(items), _BATCH):
            batch = items[start : start + _BATCH]
            looked = self._look(path, batch)
            for item in batch:
                unlisted = self._unfit(path, item)
                full = _join(path, item.name)
                if unlisted is not None:
                    yield unlisted
                elif item.is_folder and excludes is not None and excludes(full):
                    yield Special(full, "excluded-folder")
                elif item.is_folder:
                    yield from listed_or_not(full, self.below(full, excludes))
                elif item.size is not None and item.mtime_ns is not None:
                    yield Entry(full, item.size, item.mtime_ns)
                else:
                    yield looked[item.name]

    def _look(self, path: str, items: Sequence[Listed]) -> dict[str, Entry | Unlisted]:
        """Ask for the files whose size the index doesn't tell, several at once."""
        names = [
            item.name
            for item in items
            if not item.is_folder and item.size is None and self._unfit(path, item) is None
        ]
        if not names:
            return {}
        with ThreadPoolExecutor(min(_THREADS, len(names)), thread_name_prefix="list") as pool:
            return dict(
                zip(names, pool.map(lambda name: self._one(path, name), names), strict=True)
            )

    def _one(self, path: str, name: str) -> Entry | Unlisted:
        full = _join(path, name)
        try:
            entry = self._server.entry_by_head(full)
        except FileError as error:
            if error.retryable:
                raise
            return Unlisted(full, error)
        return Entry(entry.path, entry.size, entry.mtime_ns)

    def _index(self, path: str) -> list[Listed]:
        where = quote(self._server.url_of(path))
        try:
            body, kind, address = self._server.get_index(path, _MOST_INDEX_BYTES)
        except RefusedError as error:
            raise RefusedError(f"{error}: it may not list this folder. {_ADVICE}") from None
        found = parse_index(body, kind.lower(), address)
        if found is None:
            raise SourceError(
                f"{where}: expected an index of this folder; found another page "
                f"({kind or 'without a content type'}). {_ADVICE}"
            )
        return found

    def _unfit(self, path: str, item: Listed) -> Unlisted | None:
        full = _join(path, item.name)
        where = quote(self._server.url_of(full))
        if item.is_other:
            error = SourceError(f"{where}: expected a file or a folder; found neither")
            return Unlisted(full, error)
        reason = "a slash" if "/" in item.name else unfit_reason(item.name)
        if reason is None:
            return None
        error = SourceError(f"{where}: expected a name that can be transferred; found {reason}")
        return Unlisted(full, error, is_folder=item.is_folder)


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _bytes(name: str, is_folder: bool = False) -> bytes:
    return (name + "/" * is_folder).encode("utf-8", "surrogateescape")
