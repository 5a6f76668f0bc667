"""The files that ``--files-from`` names: collected, kept with the joblist, each in a job."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Collection, Iterable, Sequence

import msgspec

from jobtool.errors import JoblistError, LayoutError, reason_of
from jobtool.events import Emit
from jobtool.filters.namelist import NameList
from jobtool.filters.namewriter import NameWriter
from jobtool.filters.selection import Selection
from jobtool.jobs.atomic_write import remove_temporaries, sync_folder
from jobtool.jobs.filtersettings import NAMES_FOLDER
from jobtool.layouts.events import NamesLeftOut, NamesRead
from jobtool.layouts.lists.listed import ListFormat
from jobtool.layouts.lists.naming import Naming
from jobtool.layouts.lists.reading import ListPlace, ListReader
from jobtool.names import quote
from jobtool.stores.store import Store

#: How many of the names that are left out are told.
MOST_TOLD = 10


class Collected(msgspec.Struct, frozen=True, kw_only=True):
    """The names of some lists in a file of their own, and its place in the joblist.

    ``left_out`` counts the names that can't be transferred.
    """

    path: str
    place: str
    left_out: int


def collect(
    lists: Sequence[ListPlace],
    *,
    source: str,
    wanted: ListFormat,
    open_store: Callable[[str], Store],
    scratch: str,
    emit: Emit,
) -> Collected:
    """Read lists and write their names into the folder ``scratch``.

    Raises ``LayoutError`` for lists that are malformed or name no files, ``UsageError``, and the
    errors of stores.
    """
    reader = ListReader(open_store, wanted)
    writer = NameWriter()
    told = LeftOut(emit)
    size: int | None = 0
    try:
        for place in lists:
            naming: Naming | None = None
            for listed in reader.read(place):
                naming = naming or Naming(source, reader.last_format)
                path, why = naming.path_of(listed)
                if path:
                    try:
                        writer.add(os.fsencode(path))
                    except ValueError as error:
                        told.add(why=str(error), name=path)
                        continue
                    size = None if size is None or listed.size is None else size + listed.size
                elif path is None:
                    told.add(why=why, name=os.fsdecode(listed.name))
        path = os.path.join(scratch, "names")
        digest, count = writer.write(path)
    except OSError as error:
        raise LayoutError(f"can't sort the names of --files-from: {reason_of(error)}") from None
    finally:
        writer.close()
    told.finish()
    if not count:
        raise LayoutError("--files-from names no file below the input path. Correct the list.")
    emit(
        NamesRead(
            files=count,
            bytes=size,
            formats=tuple(dict.fromkeys(reader.formats)),
            old_versions=reader.counts.old_versions,
            delete_markers=reader.counts.delete_markers,
            folders=reader.counts.folders,
        )
    )
    return Collected(path=path, place=f"{NAMES_FOLDER}/{digest[:32]}", left_out=told.count)


class LeftOut:
    """Counts names that are left out by the reason, and tells some of each."""

    def __init__(self, emit: Emit) -> None:
        self.count = 0
        self._emit = emit
        self._counts: dict[str, int] = {}
        self._names: dict[str, list[str]] = {}

    def add(self, *, why: str, name: str) -> None:
        """Count a name."""
        self.count += 1
        self._counts[why] = self._counts.get(why, 0) + 1
        names = self._names.setdefault(why, [])
        if len(names) < MOST_TOLD:
            names.append(name)

    def finish(self) -> None:
        """Emit an event for each reason."""
        for why, count in self._counts.items():
            self._emit(NamesLeftOut(reason=why, count=count, names=tuple(self._names[why])))


def install(collected: Collected, joblist_path: str) -> None:
    """Put collected names into a joblist, durably, before its settings name them.

    A list of the same names that is there already is left as it is. Raises ``JoblistError``.
    """
    target = os.path.join(joblist_path, collected.place)
    folder, name = os.path.split(target)
    try:
        if os.path.exists(target) and os.path.getsize(target) == os.path.getsize(collected.path):
            return
        os.makedirs(folder, exist_ok=True)
        remove_temporaries(folder, name)  # of a run that was killed
        temporary = os.path.join(folder, f".{name}.{secrets.token_hex(6)}.tmp")
        try:
            with open(collected.path, "rb") as names, open(temporary, "xb") as file:
                shutil.copyfileobj(names, file, 1024 * 1024)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            if os.path.exists(temporary):
                os.unlink(temporary)
            raise
        sync_folder(folder)
    except OSError as error:
        raise JoblistError(f"can't write {quote(target)}: {reason_of(error)}") from None


def tell_jobless(
    names: NameList,
    jobs: Collection[str],
    others: Iterable[str],
    selection: Selection | None,
    emit: Emit,
) -> int:
    """Tell the names that are in none of the jobs; return their number.

    ``jobs`` and ``others`` are paths below the source: those of jobs, and those that were told
    already. What rules leave out isn't told.
    """
    covered = {*jobs, *others}
    told = LeftOut(emit)
    if "" in covered:
        return 0
    last = "\0"
    for name in names:
        if name.startswith(last):
            continue
        parts = name.split("/")
        ways = ("/".join(parts[:depth]) for depth in range(1, len(parts) + 1))
        cover = next((way for way in ways if way in covered), None)
        if cover is not None:
            last = cover + "/"
        elif selection is not None and selection.excludes_by_rule(name):
            continue
        elif not names.holds_below(name):  # else a folder, as find lists it among its files
            told.add(why="the layout makes no job that holds it", name=name)
    told.finish()
    return told.count
