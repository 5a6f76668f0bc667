"""Finding the items of a source, each with its files.

Where the pattern's last part takes any name, all items of a folder are found by one listing: in a
store of objects a listing has the sizes of a thousand files. For other patterns each item is listed
by itself.
"""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from msgspec import structs

from jobtool.errors import FileError, PackageError, RefusedError, SourceError
from jobtool.layouts.pattern import Match, Pattern
from jobtool.layouts.selected import Selected
from jobtool.names import quote
from jobtool.packages.members import DEFAULT_MODE, Member, MemberList, in_package_order
from jobtool.stores.local.links import LinkPolicy, judge_link
from jobtool.stores.location import is_local, join
from jobtool.stores.optional import Prunes, supports
from jobtool.stores.store import Entry, Special, Store, Unlisted, entry_of
from jobtool.transfer.retry import Retry
from jobtool.transfer.selecting import is_left_out

if TYPE_CHECKING:
    from jobtool.filters.selection import Selection

#: The pattern of items if none is given: each entry of the source's root.
DEFAULT_PATTERN = "*"

#: Names that begin so are jobtool's own: unfinished files, and the trash of released ones.
OWN_PREFIX = ".jobtool-"

_ANY_NAME = re.compile(r"\*|\{([A-Za-z_][A-Za-z0-9_]*)\}")


class FoundItem:
    """An item: its path below the source, the fields of the pattern, its files.

    ``members`` are in the order of a package, in one item. ``left_out`` counts what isn't a file,
    by its kind, ``excluded`` what filters leave out. ``error`` is why the item can't be packed
    whole, None if it can.
    """

    def __init__(self, name: str, *, is_folder: bool) -> None:
        self.name = name
        self.is_folder = is_folder
        self.fields: Mapping[str, str] = {}
        self.members = MemberList()
        self.members.start_item(name)
        self.left_out: Counter[str] = Counter()
        self.error: FileError | None = None
        self.excluded = 0

    def finish(self, *, may_shadow: bool) -> None:
        """Bring the files into their order. ``may_shadow``: a file may lie below a file."""
        self.members = in_package_order(self.members)
        if may_shadow and self.error is None:
            try:
                self.members.require_distinct()
            except PackageError as error:
                self.error = error


class Walk:
    """Finds the items of ``source`` by a pattern.

    ``open_store`` opens the store of a place below it. ``links`` is the policy of the source's
    store. ``on_member`` is called with the size of each file. ``on_unreadable`` is called for a
    folder above items that can't be listed. What the ``selection`` leaves out isn't in an item, and
    is counted in ``excluded`` where nothing of its item is left. Raises ``LayoutError`` for text
    that isn't a pattern.
    """

    def __init__(
        self,
        source: Store,
        open_store: Callable[[str], Store],
        pattern: str,
        *,
        links: LinkPolicy,
        retry: Retry,
        on_member: Callable[[int], None],
        on_unreadable: Callable[[FileError], None],
        selection: Selection | None = None,
    ) -> None:
        self.excluded = 0
        self._selection = selection
        self._folders = source if selection is None else Selected(source, selection)
        self.pattern = Pattern(pattern)
        self._text = pattern.strip("/")
        self._source = source
        self._is_local = is_local(source.url)
        self._open_store = open_store
        self._links = links
        self._retry = retry
        self._on_member = on_member
        self._on_unreadable = on_unreadable

    def items(self) -> Iterator[FoundItem]:
        """Yield the items in the order of their folders.

        In a store of objects an object and a prefix may have one name: they are two items. Raises
        ``SourceError`` and ``RefusedError`` if the source itself can't be listed, and
        ``InfrastructureError``.
        """
        head, _, tail = self._text.rpartition("/")
        any_name = _ANY_NAME.fullmatch(tail)
        found = self._one_by_one()
        if any_name is not None and head.rpartition("/")[2] != "**":
            found = self._by_folder(head, any_name[1])
        for item in found:
            if not item.name.rpartition("/")[2].startswith(OWN_PREFIX):
                item.finish(may_shadow=not self._is_local)
                yield item

    def _by_folder(self, head: str, field: str | None) -> Iterator[FoundItem]:
        folders: Iterator[Match] = iter([Match("", {})])
        if head:
            folders = Pattern(head).find(self._folders, on_unreadable=self._on_unreadable)
        for folder in folders:
            url = join(self._source.url, folder.path) if folder.path else self._source.url
            prefix = f"{folder.path}/" if folder.path else ""
            store = self._open_store(url) if folder.path else self._source
            listing = _Listing(store, prefix, self._retry, self._selection)
            while True:
                try:
                    item = listing.next(self._add)
                except (SourceError, RefusedError) as error:
                    if not folder.path:
                        raise
                    self._on_unreadable(error)
                    break
                if item is None:
                    self.excluded += listing.excluded_without_item
                    break
                name = item.name[len(prefix) :]
                if field is None or folder.fields.get(field, name) == name:
                    item.fields = folder.fields if field is None else {**folder.fields, field: name}
                    yield item

    def _one_by_one(self) -> Iterator[FoundItem]:
        matches = self.pattern.find(self._folders, files=True, on_unreadable=self._on_unreadable)
        for match in matches:
            yield self._retry.call(lambda match=match: self._item_of(match))  # type: ignore[misc]

    def _item_of(self, match: Match) -> FoundItem:
        item = FoundItem(match.path, is_folder=match.is_folder)
        item.fields = match.fields
        url = join(self._source.url, match.path)
        try:
            special = self._special_at(match.path, url, is_folder=match.is_folder)
            if special is not None:
                self._add(item, "", special)
            elif match.is_folder:
                prefix = f"{match.path}/"
                for entry in _entries(self._open_store(url), prefix, self._selection):
                    if _is_left_out(self._selection, prefix, entry):
                        item.excluded += 1
                    else:
                        self._add(item, prefix, entry)
            else:
                found = entry_of(self._source, match.path)
                if _is_left_out(self._selection, "", found):
                    item.excluded += 1
                else:
                    self._add(item, "", found)
        except (SourceError, RefusedError) as error:
            item.error = error
        return item

    def _special_at(self, path: str, url: str, *, is_folder: bool) -> Special | None:
        """Return what an item is if it isn't a file or folder; the store lists only what is below.

        Raises ``SourceError`` for a link that the policy refuses.
        """
        if not self._is_local:
            return None
        try:
            mode = os.lstat(url).st_mode
            if stat.S_ISLNK(mode):
                root = self._source.url
                target = judge_link(url, root, self._links, is_folder=is_folder)
                if target is not None:
                    return Special(path, "link", target)
                mode = os.stat(url).st_mode
        except OSError as error:
            raise SourceError(f"can't read {quote(url)}: {error.strerror}") from None
        if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
            return None
        return Special(path, "pipe" if stat.S_ISFIFO(mode) else "device")

    def _add(self, item: FoundItem, prefix: str, entry: Entry | Special | Unlisted) -> None:
        if isinstance(entry, Special):
            item.left_out[entry.what] += 1
            return
        if isinstance(entry, Unlisted):
            item.error = item.error or entry.error
            return
        path = prefix + entry.path
        try:
            item.members.add(
                Member(
                    path=path,
                    size=entry.size,
                    mtime_ns=entry.mtime_ns,
                    mode=self._mode_of(path),
                )
            )
        except FileError as error:
            item.error = item.error or error
        self._on_member(entry.size)

    def _mode_of(self, path: str) -> int:
        if not self._is_local:
            return DEFAULT_MODE
        full = join(self._source.url, path)
        try:
            return stat.S_IMODE(os.stat(full).st_mode)
        except OSError as error:
            raise SourceError(f"can't read {quote(full)}: {error.strerror}") from None


_Add = Callable[[FoundItem, str, Entry | Special | Unlisted], None]


class _Listing:
    """The listing of the folder at ``prefix``, item by item. After a failure it goes on.

    ``excluded_without_item`` counts what is left out of items of which nothing else is there.
    """

    def __init__(
        self, store: Store, prefix: str, retry: Retry, selection: Selection | None
    ) -> None:
        self._store = store
        self._prefix = prefix
        self._retry = retry
        self._selection = selection
        self._entries: Iterator[Entry | Special | Unlisted] | None = None
        self._held: Entry | Special | Unlisted | None = None
        self._last = b""  # the key of the last item that was returned
        self._is_again = False
        self._excluded: Counter[bytes] = Counter()  # by the key of an item

    @property
    def excluded_without_item(self) -> int:
        return self._excluded.total()

    def next(self, add: _Add) -> FoundItem | None:
        """Return the next item with all that is in it; None after the last."""
        return self._retry.call(lambda: self._next(add))

    def _next(self, add: _Add) -> FoundItem | None:
        if self._entries is None:
            self._entries = iter(_entries(self._store, self._prefix, self._selection))
            self._held = None
        item, first = None, b""
        try:
            while (entry := self._held or next(self._entries, None)) is not None:
                self._held = None
                key = _key(entry)
                if self._is_again and key <= self._last:
                    continue
                if item is not None and key != first:
                    self._held = entry
                    break
                if _is_left_out(self._selection, self._prefix, entry):
                    self._excluded[key] += 1
                    continue
                if item is None:
                    name = entry.path.partition("/")[0]
                    item = FoundItem(self._prefix + name, is_folder=key.endswith(b"/"))
                    first = key
                add(item, self._prefix, entry)
        except BaseException:
            self._entries, self._is_again = None, True
            for key in [key for key in self._excluded if key > self._last]:
                del self._excluded[key]  # it is counted anew
            raise
        self._last = first or self._last
        if item is not None:
            item.excluded = self._excluded.pop(first, 0)
        return item


def _entries(
    store: Store, prefix: str, selection: Selection | None
) -> Iterator[Entry | Special | Unlisted]:
    """List a store whose root is at ``prefix``, without opening folders that are left out."""
    if selection is not None and supports(store, Prunes):
        return store.list_without(lambda path: selection.excludes_folder(prefix + path))
    return store.list()


def _is_left_out(
    selection: Selection | None, prefix: str, entry: Entry | Special | Unlisted
) -> bool:
    return selection is not None and is_left_out(
        selection, structs.replace(entry, path=prefix + entry.path)
    )


def _key(entry: Entry | Special | Unlisted) -> bytes:
    """Return the name of an entry's item, with a slash for a folder: the order of a listing."""
    name, slash, _ = entry.path.partition("/")
    is_folder = (
        slash
        or (isinstance(entry, Special) and entry.what in ("empty-folder", "excluded-folder"))
        or (isinstance(entry, Unlisted) and entry.is_folder)
    )
    return os.fsencode(name) + (b"/" if is_folder else b"")
