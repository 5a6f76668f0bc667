"""Folders are given their attributes last, when everything in them is there.

Until then those that a job has made are closed to all others (``LocalStore`` says how), so that no
folder is more open than its source at any moment, and whatever is put into them later would change
their times again. All this may be done again: a job that is taken up does it for all its folders.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice, takewhile

from jobtool.errors import FileError, NotFoundError
from jobtool.stop import Stop
from jobtool.stores.optional import FolderAttributes, supports
from jobtool.stores.store import Note, Special
from jobtool.transfer.notes import Notes
from jobtool.transfer.plan import Plan

#: How many folders are done between two looks at ``stop``, and from how many on by threads.
_AT_A_TIME = 1024
_FEW = 16

_SEPARATOR = b"\0"  # the one byte that no name holds


def keep_folders(plan: Plan, *, threads: int, stop: Stop, notes: Notes) -> bool:
    """Give the folders of a tree their source's attributes; False if asked to stop before all have.

    Some are done even then: a stop that comes with the last file costs no other attempt. Does
    nothing where files were named one by one, or where a side has no such folders. What can't be
    kept is added to ``notes``. Raises ``InfrastructureError``.
    """
    route = plan.routes[0] if plan.is_tree else None
    if route is None:
        return True
    source, destination = route.source, route.destination
    if not supports(source, FolderAttributes) or not supports(destination, FolderAttributes):
        return True
    keeping = _Keeping(source, destination, notes)
    with ThreadPoolExecutor(threads, thread_name_prefix="folders") as pool:  # starts none yet
        folders = folders_of(plan)
        while some := list(islice(folders, _AT_A_TIME)):
            if stop.is_lost:
                return False
            if len(some) > _FEW:
                list(pool.map(keeping.keep, some))
            else:
                for path in some:
                    keeping.keep(path)
            if stop.is_set() and len(some) == _AT_A_TIME:
                return False
    for number, path in enumerate(keeping.deferred()):
        if stop.is_lost or (stop.is_set() and number >= _AT_A_TIME):
            return False
        keeping.keep(path, is_last=True)
    return True


def folders_of(plan: Plan) -> Iterator[str]:
    """Yield the folders of a tree, each after all that lie in it; the root, ``""``, comes last.

    Takes no memory but for the way down to one file, as long as files are in the order in which
    stores list them; else a folder may come more than once.
    """
    specials = sorted(_listed_name(special) for _, special in plan.specials())
    last, here = b"", list[bytes]()
    for name in heapq.merge(plan.source_names(), specials):
        folder = name.rpartition(b"/")[0]
        if folder == last:
            continue
        last, above = folder, folder.split(b"/") if folder else []
        pairs = zip(here, above, strict=False)
        shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        for depth in range(len(here), shared, -1):
            yield os.fsdecode(b"/".join(here[:depth]))
        here = above
    for depth in range(len(here), -1, -1):
        yield os.fsdecode(b"/".join(here[:depth]))


def _listed_name(special: Special) -> bytes:
    is_folder = special.what == "empty-folder"
    return os.fsencode(special.path) + (b"/" if is_folder else b"")


class _Keeping:
    """Keeps folders' attributes. One that its owner couldn't enter any more waits for the rest."""

    def __init__(
        self, source: FolderAttributes, destination: FolderAttributes, notes: Notes
    ) -> None:
        self._source = source
        self._destination = destination
        self._notes = notes
        self._deferred = bytearray()  # a million names take as much as they are long

    def keep(self, path: str, *, is_last: bool = False) -> None:
        try:
            attributes = self._source.folder_attributes(path)
        except FileError:
            self._note(path, "its source can't be read any more")
            return
        if not is_last and attributes.mode is not None and attributes.mode & 0o700 != 0o700:
            self._deferred += os.fsencode(path) + _SEPARATOR
            return
        try:
            notes = self._destination.set_folder_attributes(path, attributes)
        except NotFoundError:
            return  # nothing of it was to be copied
        except FileError:
            self._note(path, "it can't be reached at the destination")
        else:
            self._notes.add(self._source.url_of(path), notes)

    def _note(self, path: str, reason: str) -> None:
        self._notes.add(self._source.url_of(path), [Note("attributes of a folder", reason)])

    def deferred(self) -> Iterator[str]:
        start = 0
        while (end := self._deferred.find(_SEPARATOR, start)) >= 0:
            yield os.fsdecode(bytes(self._deferred[start:end]))
            start = end + 1
