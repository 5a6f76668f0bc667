"""Folders get their attributes last, when they hold all their files.

A file that is added later would change a folder's times. Until then the folders that a job has made
are closed to other users (see ``LocalStore``), so no folder is ever more open than its source.
Doing this again does no harm: a job that is taken up does it for all its folders.
"""

from __future__ import annotations

import contextlib
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

#: How many folders are done between two checks of ``stop``, and how many are too few for threads.
FOLDERS_AT_A_TIME = 1024
_FEW = 16

_SEPARATOR = b"\0"  # the one byte that no name holds


def keep_folders(plan: Plan, *, threads: int, stop: Stop, notes: Notes) -> bool:
    """Give the folders of a tree the attributes of their sources.

    Return False if ``stop`` was set before all were done. The first folders are done even then: a
    stop that comes with the last file of a small tree needs no other attempt. Does nothing if the
    job names its files, or if one side's folders have no attributes. Attributes that can't be kept
    are added to ``notes``. Raises ``InfrastructureError``.
    """
    route = plan.routes[0] if plan.is_tree else None
    if route is None:
        return True
    source, destination = route.source, route.destination
    if not supports(source, FolderAttributes) or not supports(destination, FolderAttributes):
        return True
    keeping = _Keeping(source, destination, notes)
    folders = folders_of(plan)
    with contextlib.ExitStack() as stack:
        pool: ThreadPoolExecutor | None = None
        while some := list(islice(folders, FOLDERS_AT_A_TIME)):
            if stop.is_lost:
                return False
            if len(some) > _FEW:
                if pool is None:
                    pool = ThreadPoolExecutor(threads, thread_name_prefix="folders")
                    stack.enter_context(pool)
                list(pool.map(keeping.keep, some))
            else:
                for path in some:
                    keeping.keep(path)
            if stop.is_set() and len(some) == FOLDERS_AT_A_TIME:
                return False
    for number, path in enumerate(keeping.deferred()):
        if stop.is_lost or (stop.is_set() and number >= FOLDERS_AT_A_TIME):
            return False
        keeping.keep(path, is_last=True)
    return True


def folders_of(plan: Plan) -> Iterator[str]:
    """Yield the folders of a tree, each after the folders in it. The root, ``""``, comes last.

    If files are in the order in which stores list them, only the path of one file is in memory.
    Otherwise a folder may be yielded more than once.
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
    """Sets folders' attributes. Folders that their owner couldn't enter then are done last."""

    def __init__(
        self, source: FolderAttributes, destination: FolderAttributes, notes: Notes
    ) -> None:
        self._source = source
        self._destination = destination
        self._notes = notes
        self._deferred = bytearray()  # compact, for a million names

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
            return  # nothing in it was to be copied
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
