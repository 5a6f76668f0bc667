"""Which files of a job are left out, by the table ``[filters]`` of its joblist.

Rules are about paths below the joblist's source, as rclone's are about paths below its own. A job
of another source, which a person may have added, has its own source as the root.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from jobtool.errors import FileError, JoblistError, NotFoundError, SourceError, reason_of
from jobtool.jobs.filtersettings import FilterSettings, nanoseconds_of
from jobtool.jobs.joblist import JobList
from jobtool.names import quote
from jobtool.stores.location import inside
from jobtool.stores.optional import Prunes, supports
from jobtool.stores.store import Entry, Special, Store, Unlisted, kind_of
from jobtool.transfer.look import look_at
from jobtool.transfer.retry import Retry

if TYPE_CHECKING:
    from jobtool.filters.namelist import NameList, NamesBelow
    from jobtool.filters.selection import Selection
    from jobtool.transfer.plan import Plan, Route

#: Up to so many names of a job are looked up one by one in a store that lists all or nothing.
MOST_LOOKS = 2000


def selection_in(joblist: JobList, source: str | None) -> Selection | None:
    """Return what a joblist selects below ``source``, a URL; None if nothing is left out.

    Raises ``JoblistError`` if its list of names can't be read.
    """
    settings = joblist.settings
    if not settings.filters:
        return None
    return selection_of(settings.filters, settings.source, source, names_in(joblist))


def names_in(joblist: JobList) -> NameList | None:
    """Return a joblist's list of names; None if it has none. Raises ``JoblistError``."""
    place = joblist.settings.filters.files_from
    return None if place is None else names_at(os.path.join(joblist.path, place))


def names_at(path: str) -> NameList:
    """Return the list of names in a file; raises ``JoblistError``."""
    from jobtool.filters.namelist import NameList

    try:
        return NameList(path)
    except (OSError, ValueError) as error:
        raise JoblistError(
            f"expected the names of the files to transfer at {quote(path)}; found: "
            f"{reason_of(error)}. Copy it from where the joblist was made, or give --files-from to "
            "generate-joblist again."
        ) from None


def selection_of(
    filters: FilterSettings,
    root: str | None,
    source: str | None,
    names: NameList | None = None,
) -> Selection | None:
    """Return what a table selects below ``source``; None if nothing is left out.

    ``root`` is the joblist's source. Both are URLs. ``names`` is the list of the table, None to
    leave it aside.
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
        names=None if names is None else _below(names, below or ""),
    )


def _below(names: NameList, folder: str) -> NamesBelow:
    try:
        return names.below(folder)
    except (OSError, ValueError) as error:
        raise JoblistError(f"{quote(names.path)}: {reason_of(error)}") from None


def list_selected(
    store: Store, selection: Selection | None, retry: Retry | None = None
) -> Iterator[Entry | Special | Unlisted]:
    """Yield what is below a store's root, without opening folders that are left out if it can.

    Each such folder is the special ``excluded-folder``. What else is left out is yielded: see
    ``is_left_out``. A root that is left out isn't opened either. A store that can't leave out
    folders is asked for each of a few names, with ``retry``, rather than listed.
    """
    if selection is not None and selection.excludes_folder(""):
        return iter((Special("", "excluded-folder"),))
    if selection is not None and supports(store, Prunes):
        return store.list_without(selection.excludes_folder)
    names = None if selection is None else selection.names
    if names is not None and len(names) <= MOST_LOOKS and not names.is_named:
        return _look_up(store, names, retry or Retry.never())
    return store.list()


def _look_up(store: Store, names: NamesBelow, retry: Retry) -> Iterator[Entry | Unlisted]:
    """Yield the names that are there, and those that can't be looked at."""
    for path, found in zip(names, look_at(store, names, retry), strict=True):
        if isinstance(found, Entry):
            yield found
        elif not isinstance(found, NotFoundError) and not names.holds_below(path):
            yield Unlisted(path, found)


def fail_unseen(plan: Plan, route: Route, retry: Retry, most: int) -> None:
    """Make failures of the names that the source's listing didn't bring, up to ``most``.

    A name above other names is that of a folder. Raises ``StoppedError`` and
    ``InfrastructureError``.
    """
    selection = plan.selection
    if selection is None or selection.names is None:
        return
    names, source = selection.names, route.source
    lacking = (
        path
        for path in names.unseen()
        if not (names.holds_below(path) or selection.excludes_by_rule(path))
    )
    unseen = [*islice(lacking, most)]
    known = {failure.path for failure in plan.failures}
    for path, found in zip(unseen, look_at(source, unseen, retry), strict=True):
        url = source.url_of(path)
        if url not in known:
            is_folder = not isinstance(found, Entry) and kind_of(source, path) == "folder"
            plan.fail(url, _unseen(url, found, is_folder=is_folder))


def _unseen(url: str, found: Entry | FileError, *, is_folder: bool) -> FileError:
    if isinstance(found, NotFoundError):
        return NotFoundError(
            f"expected a file at {quote(url)}, which --files-from names; found nothing. Put it "
            "back, or make the list anew without it."
        )
    if isinstance(found, Entry):
        return SourceError(
            f"{quote(url)} is named by --files-from, but the listing of its folder lacks it. Did "
            "it come meanwhile, or is a folder above it a link that isn't followed (--links)?"
        )
    if is_folder:
        return SourceError(
            f"expected a file at {quote(url)}, which --files-from names; found a folder that isn't "
            "empty. Name the files in it, or use --include."
        )
    return found


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
