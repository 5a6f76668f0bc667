"""The layout ``auto``, which chooses a layout by looking at the source."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from jobtool.errors import JobtoolError
from jobtool.layouts.layout import MANIFEST, load_layout
from jobtool.layouts.pattern import Folders, Pattern
from jobtool.layouts.selected import Selected
from jobtool.stores.store import Child, StatResult, Store, Unlisted, kind_of

if TYPE_CHECKING:
    from jobtool.filters.namelist import NameList
    from jobtool.filters.selection import Selection

#: How many folders are looked into before the layout ``tree`` is chosen.
_MAX_FOLDERS = 2000


def pick_layout(
    store: Store, selection: Selection | None = None, names: NameList | None = None
) -> tuple[str, str]:
    """Return the name of the layout that fits a source, and why it was picked, in words.

    What the ``selection`` leaves out isn't looked into. With ``names``, these are looked at in
    place of the source.

    Raises ``SourceError`` if the source can't be looked into.
    """
    kind = kind_of(store, "")
    if kind == "file":
        return MANIFEST, "the input path is a file"
    if kind == "folder":
        folders = store if selection is None else Selected(store, selection, names)
        found = [child.name for child in folders.children("") if isinstance(child, Child)]
        if any(name.startswith("server_name=") for name in found):
            return "partitions", "it holds folders server_name=…"
        pattern = Pattern(load_layout("plates")[1].pattern)
        try:
            if any(pattern.find(_Glance(folders), on_unreadable=lambda error: None)):
                return "plates", f"it holds folders {pattern.text}"
        except _EnoughError:
            pass
    return "tree", "one job for each of its entries"


class _EnoughError(JobtoolError):
    pass


class _Glance:
    """A store's folders, of which only a limited number is looked into."""

    def __init__(self, store: Folders) -> None:
        self._store = store
        self._left = _MAX_FOLDERS

    def children(self, path: str) -> Iterator[Child | Unlisted]:
        self._left -= 1
        if self._left < 0:
            raise _EnoughError
        return self._store.children(path)

    def stat(self, path: str, *, file_only: bool = False) -> StatResult:
        return self._store.stat(path, file_only=file_only)
