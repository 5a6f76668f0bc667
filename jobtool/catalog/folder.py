"""The folder of a catalog in any store: files of records, and marks of compactions.

::

    records/WRITER-NUMBER-RANDOM.parquet   records, written once and never changed
    records/compacted-RANDOM.parquet       those of several such files, written by a compaction
    compactions/RANDOM.json                what a compaction is about to remove, kept for ever

A listing of ``records`` takes time, and isn't of one moment. A compaction might write its file
behind the listing's back and remove an input before the listing gets there: neither would be
listed. So a compaction writes its mark after its file and before it removes anything. If no mark
appears while ``records`` is listed, no removal that began meanwhile can have hidden a record; else
it is listed again. That covers a file whose name is listed and that is gone before its size is
looked at: it is left out like one that was removed before.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable

from jobtool.errors import CatalogError, DigestMismatchError, NotFoundError
from jobtool.names import filename_of, quote
from jobtool.stores.location import Location, join
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.store import Attributes, Entry, Proof, Store, Unlisted
from jobtool.stores.storetype import Role
from jobtool.transfer.retry import Retry

RECORDS = "records"
COMPACTIONS = "compactions"
SUFFIX = ".parquet"

#: How often a listing is repeated while compactions are busy.
_MOST_LISTINGS = 50

_MOST_NAME = 60

Data = bytes | memoryview


class CatalogFolder:
    """A catalog's folder at a URL or path, as a user types it. Contacts no server yet.

    ``role`` is ``"source"`` to read and ``"destination"`` to write. Raises ``UsageError`` for a URL
    without a store or one that can't be written to, and the errors of opening a store.
    """

    def __init__(
        self,
        place: str,
        stores: StoreRegistry | None = None,
        *,
        role: Role = "source",
        retry: Retry | None = None,
    ) -> None:
        self.url = Location.resolve(place).url
        self.retry = retry or Retry()
        stores = stores or StoreRegistry(shown="catalog")
        owner = f"catalog {self.url}"
        self.records = stores.open(join(self.url, RECORDS), role, owner=owner)
        self.compactions = stores.open(join(self.url, COMPACTIONS), role, owner=owner)

    def listing(self) -> list[Entry]:
        """Return the files of records, by name: all that were complete when the call began.

        Raises ``CatalogError`` for a file that can't be read, and the errors of listing.
        """
        before = {entry.path for entry in self._list(self.compactions)}
        for _ in range(_MOST_LISTINGS):
            found = self._list(self.records)
            after = {entry.path for entry in self._list(self.compactions)}
            if before == after:
                return [entry for entry in found if _is_ours(entry.path)]
            before = after
        raise CatalogError(
            f"{quote(self.url)}: expected a moment without a compaction; found one in each of "
            f"{_MOST_LISTINGS} listings. Try again later."
        )

    def new_name(self, writer: str, number: int) -> str:
        """Return a name of a file of records that no other writer has."""
        stem = filename_of(writer).encode()[:_MOST_NAME].decode("utf-8", "ignore")
        return f"{stem}-{number:06d}-{secrets.token_hex(8)}{SUFFIX}"

    def publish(
        self, store: Store, name: str, chunks: Callable[[], Iterable[Data]], md5: str
    ) -> None:
        """Write a new file, prove it and make it durable. ``chunks`` is called for each try.

        Raises the errors of writing.
        """
        attributes = Attributes(mtime_ns=time.time_ns(), md5=md5, may_replace=False)
        is_first = True

        def write() -> Proof | Entry | None:
            nonlocal is_first
            if not is_first:  # the answer to an earlier try may have been lost
                found = store.stat(name, file_only=True)
                if isinstance(found, Entry) and store.digest(name) == md5:
                    return found
            is_first = False
            return store.write(name, chunks(), attributes)

        proof = self.retry.call(write)
        if proof is None:
            found = self.retry.call(lambda: store.digest(name))
            if found != md5:
                store.delete(name)
                raise DigestMismatchError(
                    f"{quote(store.url_of(name))}: expected MD5 {md5}, as it was sent; the store "
                    f"holds {found}. What was written has been removed."
                )
        store.sync()

    def read(self, entry: Entry) -> memoryview:
        """Return all bytes of a small file of records."""
        from jobtool.packages.storefile import read_range

        return read_range(self.records, entry, 0, entry.size, self.retry)

    def _list(self, store: Store) -> list[Entry]:
        return self.retry.call(lambda: files_in(store))


def folder_at(
    place: str | CatalogFolder, stores: StoreRegistry | None, *, role: Role = "source"
) -> CatalogFolder:
    """Return an open folder unchanged, or open one."""
    return place if isinstance(place, CatalogFolder) else CatalogFolder(place, stores, role=role)


def files_in(store: Store) -> list[Entry]:
    """Return the files of a store; none if it isn't there yet. Raises what listing raises.

    A file that is removed or renamed while its folder is listed is left out, once a second listing
    doesn't name it. So is an unfinished file that gets its final name meanwhile: it wasn't complete
    when the call began. A name that stays without a file, such as a link to nowhere, is an error.
    """
    found, gone = _listed(store)
    if gone:
        again, still = _listed(store)
        for name in gone.keys() & still.keys():
            raise still[name]
        found += [entry for entry in again if entry.path in gone]
    return found


def _listed(store: Store) -> tuple[list[Entry], dict[str, NotFoundError]]:
    """Return the files, and the errors of names whose file was gone when it was looked at."""
    found: list[Entry] = []
    gone: dict[str, NotFoundError] = {}
    try:
        for each in store.list():
            if isinstance(each, Entry):
                found.append(each)
            elif isinstance(each, Unlisted):
                if not isinstance(each.error, NotFoundError):
                    raise each.error
                gone[each.path] = each.error
    except NotFoundError:
        if store.stat("") == "missing":
            return [], {}
        raise
    return found, gone


def _is_ours(path: str) -> bool:
    """Return False for unfinished files and what people put beside."""
    return path.endswith(SUFFIX) and not path.startswith(".") and "/" not in path
