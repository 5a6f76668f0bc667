"""A source's folders without those that the joblist's filters leave out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from jobtool.layouts.pattern import Folders, Match
from jobtool.stores.store import Child, Entry, StatResult, Unlisted

if TYPE_CHECKING:
    from jobtool.filters.namelist import NameList
    from jobtool.filters.selection import Selection


class Selected:
    """The folders of a source that aren't left out. Those that are, are never opened.

    With ``names``, a source's folders hold just these names, and none is opened: a name that isn't
    there must get a job, which tells that.
    """

    def __init__(
        self, folders: Folders, selection: Selection, names: NameList | None = None
    ) -> None:
        self._folders = folders
        self._selection = selection
        self._names = names

    def children(self, path: str) -> Iterator[Child | Unlisted]:
        """Yield what is directly inside a folder and isn't left out."""
        for child in self._children(path):
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
        if self._names is None:
            return self._folders.stat(path, file_only=file_only)
        if not file_only and self._names.holds_below(path):
            return "folder"
        return Entry(path, 0, 0) if self._names.holds(path) else "missing"

    def _children(self, path: str) -> Iterator[Child | Unlisted]:
        if self._names is None:
            return self._folders.children(path)
        names = self._names
        return (
            Child(name, is_folder)
            for name, is_folder in names.children(path)
            if is_folder or not names.holds_below(f"{path}/{name}".lstrip("/"))
        )

    def holds(self, match: Match) -> bool:
        """Return False for a file that is left out because of its size or time."""
        if match.is_folder or not self._selection.has_bounds:
            return True
        found = self._folders.stat(match.path, file_only=True)
        return not isinstance(found, Entry) or not self._selection.excludes(
            found.path, size=found.size, mtime_ns=found.mtime_ns
        )
