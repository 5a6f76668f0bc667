"""Looking at named files, several at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from jobtool.errors import FileError, StoppedError
from jobtool.names import quote
from jobtool.stores.store import Entry, Store, entry_of
from jobtool.transfer.parallel import in_parallel
from jobtool.transfer.retry import Retry

#: How many named files are looked at at a time.
LOOKS_AT_A_TIME = 16


def look_at(store: Store, paths: Iterable[str], retry: Retry) -> Iterator[Entry | FileError]:
    """Yield the entry of each file, or the error that it met. Several are looked at at a time.

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
