"""Which files of a job are left out, by the table ``[filters]`` of its joblist.

Rules are about paths below the joblist's source, as rclone's are about paths below its own. A job
of another source, which a person may have added, has its own source as the root.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from jobtool.jobs.filtersettings import FilterSettings, nanoseconds_of
from jobtool.stores.location import inside
from jobtool.stores.optional import Prunes, supports
from jobtool.stores.store import Entry, Special, Store, Unlisted

if TYPE_CHECKING:
    from jobtool.filters.selection import Selection


def selection_of(filters: FilterSettings, root: str | None, source: str | None) -> Selection | None:
    """Return what a table selects below ``source``; None if nothing is left out.

    ``root`` is the joblist's source. Both are URLs.
    """
    if not filters:
        return None
    from jobtool.filters.rules import Rules
    from jobtool.filters.selection import Selection

    below = None if root is None or source is None else inside(root, source)
    return Selection(
        Rules(filters.rules),
        prefix=below or "",
        min_bytes=filters.min_bytes,
        max_bytes=filters.max_bytes,
        since_ns=nanoseconds_of(filters.modified_since),
        until_ns=nanoseconds_of(filters.modified_until),
    )


def list_selected(
    store: Store, selection: Selection | None
) -> Iterator[Entry | Special | Unlisted]:
    """Yield what is below a store's root, without opening folders that are left out if it can.

    Each such folder is the special ``excluded-folder``. What else is left out is yielded: see
    ``is_left_out``. A root that is left out isn't opened either.
    """
    if selection is not None and selection.excludes_folder(""):
        return iter((Special("", "excluded-folder"),))
    if selection is not None and supports(store, Prunes):
        return store.list_without(selection.excludes_folder)
    return store.list()


def is_left_out(selection: Selection | None, item: Entry | Special | Unlisted) -> bool:
    """Return True if a listed item is left out. Only files have sizes and times that count."""
    if selection is None:
        return False
    if isinstance(item, Entry):
        return selection.excludes(item.path, size=item.size, mtime_ns=item.mtime_ns)
    if isinstance(item, Special):
        if item.what == "excluded-folder":
            return True
        is_folder = item.what == "empty-folder"
    else:
        is_folder = item.is_folder
    return selection.excludes_folder(item.path) if is_folder else selection.excludes_path(item.path)
