"""Doubt: whether a refusal is about one job's files, or about the store that all jobs use.

A store says "denied" for one file and for all files alike, and a server says "internal error" for
both. What else works tells them apart.
"""

from __future__ import annotations

from collections.abc import Callable

from jobtool.errors import FileError, JobtoolError, StoreUnavailableError, WorldError
from jobtool.transfer.plan import Item

#: After so many jobs in a row that nothing worked for, the worker stops.
MOST_IN_A_ROW = 3


class Doubts:
    """What a worker knows of its stores, over all its jobs.

    ``others_succeed`` tells whether workers of the same run have finished jobs.
    """

    def __init__(self, others_succeed: Callable[[], bool]) -> None:
        self._others_succeed = others_succeed
        self._last_arrived: Item | None = None
        self._in_a_row = 0
        self._succeeded = 0
        self._in_doubt: dict[str, int] = {}

    def note_arrival(self, item: Item) -> None:
        """Take note of a file that has arrived. Threads may call it."""
        self._last_arrived = item
        self._in_a_row = 0

    def note_success(self) -> None:
        """Take note of a job that has succeeded."""
        self._in_a_row = 0
        self._succeeded += 1

    def is_of_the_job(self, stem: str) -> bool:
        """Tell whether what was refused is the job's own business: whether other things work.

        - The last file that arrived can be read again, and one can be written beside it.
        - Or other jobs have succeeded since this one was in doubt before, or in the same run.

        Raises ``WorldError`` if the store says for sure that it can't be used.
        """
        if self._succeeded > self._in_doubt.get(stem, self._succeeded):
            return True
        return self._still_works() or self._others_succeed()

    def _still_works(self) -> bool:
        item = self._last_arrived
        if item is None:
            return False
        source, destination = item.lane.source, item.lane.destination
        try:
            try:
                source.read(item.entry, 0, min(item.entry.size, 1))
            except FileError:
                source.check_access(write=False)  # that very file may be gone meanwhile
            destination.check_access(write=True)
        except FileError:
            return False
        return True

    def add(self, stem: str, error: JobtoolError) -> None:
        """Take note of a job in doubt, which is handed back.

        Raises ``WorldError`` once so many in a row say enough about the store.
        """
        self._in_doubt[stem] = self._succeeded
        self._in_a_row += 1
        if self._in_a_row >= MOST_IN_A_ROW:
            if isinstance(error, WorldError):
                raise error
            raise StoreUnavailableError(
                f"{error}. Nothing was transferred for {self._in_a_row} jobs in a row, so this may "
                "be true of all: check the credentials and permissions, or the server."
            )
