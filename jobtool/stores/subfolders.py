"""The listing of a folder inside another one, which may fail without ending the whole listing."""

from __future__ import annotations

from collections.abc import Iterator

from jobtool.errors import FileError
from jobtool.stores.store import Entry, Special, Unlisted


def listed_or_not(
    path: str, listing: Iterator[Entry | Special | Unlisted]
) -> Iterator[Entry | Special | Unlisted]:
    """Yield the ``listing`` of the folder ``path``, or its ``Unlisted`` if that can't begin.

    Raises what the listing raises if another try may help, and whatever it raises later.
    """
    try:
        first = next(listing, None)
    except FileError as error:
        if error.retryable:
            raise
        yield Unlisted(path, error, is_folder=True)
        return
    if first is not None:
        yield first
    yield from listing
