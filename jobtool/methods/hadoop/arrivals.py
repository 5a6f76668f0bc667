"""Which files of a call have arrived, seen by looking at the destination."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from jobtool.errors import NotFoundError
from jobtool.methods.hadoop.places import COPYING
from jobtool.methods.method import MethodContext, MethodFile
from jobtool.stores.store import Child, Entry

#: How often the destination is looked at, in seconds, and how many times the duration of the last
#: look lies between two.
LOOK_SECONDS = 3.0
_LOOK_FACTOR = 10

#: From this number of files in a folder it is listed; fewer are asked for one by one.
_LISTED = 3


class Arrivals:
    """The files of a call that aren't there yet.

    Programs write under temporary names and rename: a file that has come is complete, as far as the
    program knows. A file that was there before counts once it has changed and has the right size.
    """

    def __init__(
        self,
        files: Sequence[MethodFile],
        context: MethodContext,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._context = context
        self._store = context.destination
        self._monotonic = monotonic
        self._left: dict[str, dict[str, MethodFile]] = defaultdict(dict)
        for file in files:
            folder, _, name = file.destination_path.rpartition("/")
            self._left[folder][name] = file
        self._before: dict[int, Entry] = {}
        self._temporary: dict[int, int] = {}  # the sizes of temporary files, by the file's number
        for folder, names in self._left.items():
            for name in self._present(folder, names):
                if name in names and isinstance(found := self._stat(folder, name), Entry):
                    self._before[names[name].number] = found
        self._next_look = monotonic() + LOOK_SECONDS

    @property
    def missing(self) -> int:
        """How many files haven't come."""
        return sum(map(len, self._left.values()))

    @property
    def is_due(self) -> bool:
        """Whether it is time to look again."""
        return self._monotonic() >= self._next_look

    def look(self, moved: Callable[[], None]) -> list[int]:
        """Return the numbers of the files that have come since the last look.

        ``moved`` is called if anything has changed. Raises what the store raises.
        """
        began = self._monotonic()
        found = [*self._come(moved)]
        if found:
            moved()
        now = self._monotonic()
        self._next_look = now + max(LOOK_SECONDS, _LOOK_FACTOR * (now - began))
        return found

    def unchanged(self) -> list[int]:
        """Return the numbers of files that were there before and haven't changed their size.

        A program that ended well has found that these are the same.
        """
        found = []
        for names in self._left.values():
            for name, file in [*names.items()]:
                before = self._before.get(file.number)
                if before is not None and before.size == file.size:
                    found.append(names.pop(name).number)
        return found

    def _come(self, moved: Callable[[], None]) -> Iterator[int]:
        for folder in [*self._left]:
            names = self._left[folder]
            for name in self._present(folder, names):
                if name in names:
                    if self._has_come(folder, name, names[name]):
                        yield names.pop(name).number
                elif (own := name.removesuffix(COPYING)) != name and own in names:
                    self._note_temporary(folder, name, names[own], moved)
            if not names:
                del self._left[folder]

    def _has_come(self, folder: str, name: str, file: MethodFile) -> bool:
        before = self._before.get(file.number)
        if before is None:
            return True
        found = self._stat(folder, name)
        return isinstance(found, Entry) and found.size == file.size and found != before

    def _note_temporary(
        self, folder: str, name: str, file: MethodFile, moved: Callable[[], None]
    ) -> None:
        found = self._stat(folder, name)
        size = found.size if isinstance(found, Entry) else 0
        more = size - self._temporary.get(file.number, 0)
        if more > 0:
            self._temporary[file.number] = size
            self._context.arrived(file.number, more)
            moved()

    def _present(self, folder: str, names: dict[str, MethodFile]) -> list[str]:
        """Return the names of files in a folder, at least those that are asked for."""
        if len(names) < _LISTED:
            asked = [each for name in names for each in (name, name + COPYING)]
            return [name for name in asked if isinstance(self._stat(folder, name), Entry)]
        try:
            return [
                child.name
                for child in self._store.children(folder)
                if isinstance(child, Child) and not child.is_folder
            ]
        except NotFoundError:
            return []

    def _stat(self, folder: str, name: str) -> object:
        return self._store.stat(f"{folder}/{name}" if folder else name)
