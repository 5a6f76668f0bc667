"""Attributes that a job's files arrived without, counted for the job's log."""

from __future__ import annotations

import threading
from collections.abc import Iterable

import msgspec

from jobtool.stores.preserve import KEEP_BY_DEFAULT, KEPT, Kept
from jobtool.stores.store import Note
from jobtool.transfer.plan import Route

#: How many files are named for each attribute and reason.
NAMED_FILES = 3

#: How many reasons are distinguished. A million files have no more than a few.
_MOST_REASONS = 20
_OTHERS = Note("others", "for other reasons")


class Unkept(msgspec.Struct, frozen=True, kw_only=True):
    """An attribute that ``count`` files or folders arrived without; ``paths`` are the first."""

    attribute: str
    reason: str
    count: int
    paths: tuple[str, ...]


class Notes:
    """Counts the notes of a job's files. Threads may call it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[Note, int] = {}
        self._paths: dict[Note, list[str]] = {}

    def add(self, path: str, notes: Iterable[Note]) -> None:
        """Count the notes of the file or folder ``path``."""
        for note in dict.fromkeys(notes):
            with self._lock:
                if note not in self._counts and len(self._counts) >= _MOST_REASONS:
                    note = _OTHERS  # noqa: PLW2901
                self._counts[note] = self._counts.get(note, 0) + 1
                paths = self._paths.setdefault(note, [])
                if len(paths) < NAMED_FILES:
                    paths.append(path)

    def add_stores(self, routes: Iterable[Route], preserve: frozenset[Kept]) -> None:
        """Record the attributes in ``preserve`` that a store can't keep; they aren't tried.

        Nothing is recorded for the default: only users who ask for an attribute need to know.
        """
        if preserve == KEEP_BY_DEFAULT:
            return
        for store in {
            id(store): store for route in routes for store in (route.source, route.destination)
        }.values():
            for attribute in KEPT:
                if attribute in preserve - store.capabilities.keeps:
                    self.add(store.url, [Note(attribute, "this store can't keep it")])

    @property
    def told(self) -> list[Unkept]:
        """The counted attributes, the most frequent first."""
        with self._lock:
            found = sorted(self._counts.items(), key=lambda item: (-item[1], item[0].attribute))
            return [
                Unkept(
                    attribute=note.attribute,
                    reason=note.reason,
                    count=count,
                    paths=tuple(self._paths[note]),
                )
                for note, count in found
            ]
