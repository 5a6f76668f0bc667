"""Looking at files that are named one by one, several at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from jobtool.errors import FileError, StoppedError
from jobtool.names import quote
from jobtool.stores.store import Entry, Store, entry_of
from jobtool.transfer.parallel import in_parallel
from jobtool.transfer.retry import Retry

#: How many files are asked about at a time where a job names them one by one.
LOOKS_AT_A_TIME = 16


def look_at(store: Store, paths: Iterable[str], retry: Retry) -> Iterator[Entry | FileError]:
    """Yield the entry of each file, or why it has none; several files are looked at at a time.

    Raises ``StoppedError`` and ``InfrastructureError``.
    """

    def look(path: str) -> Entry | FileError:
        if retry.stop.is_set():
            raise StoppedError(f"stopped while looking at {quote(store.url_of(path))}")
        try:
            found = retry.call(lambda: entry_of(store, path))
        except FileError as error:
            return error
        retry.elsewhere.note()
        return found

    yield from in_parallel(look, paths, threads=LOOKS_AT_A_TIME)
