"""A source's folders without those that the joblist's filters leave out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from jobtool.layouts.pattern import Folders, Match
from jobtool.stores.store import Child, Entry, StatResult, Unlisted

if TYPE_CHECKING:
    from jobtool.filters.selection import Selection


class Selected:
    """The folders of a source that aren't left out. Those that are, are never opened."""

    def __init__(self, folders: Folders, selection: Selection) -> None:
        self._folders = folders
        self._selection = selection

    def children(self, path: str) -> Iterator[Child | Unlisted]:
        """Yield what is directly inside a folder and isn't left out."""
        for child in self._folders.children(path):
            name = child.name if isinstance(child, Child) else child.path.rpartition("/")[2]
            where = f"{path}/{name}".lstrip("/")
            excludes = (
                self._selection.excludes_folder
                if child.is_folder
                else self._selection.excludes_path
            )
            if not excludes(where):
                yield child

    def stat(self, path: str, *, file_only: bool = False) -> StatResult:
        """Return what is at a path."""
        return self._folders.stat(path, file_only=file_only)

    def holds(self, match: Match) -> bool:
        """Return False for a file that is left out because of its size or time."""
        if match.is_folder or not self._selection.has_bounds:
            return True
        found = self._folders.stat(match.path, file_only=True)
        return not isinstance(found, Entry) or not self._selection.excludes(
            found.path, size=found.size, mtime_ns=found.mtime_ns
        )
