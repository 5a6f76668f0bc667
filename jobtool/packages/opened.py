"""The packages that a run reads members of, kept in memory while their tars stay the same."""

from __future__ import annotations

import threading
from collections import OrderedDict

import msgspec

from jobtool.packages.index import INDEX_SUFFIX
from jobtool.packages.membertable import MemberTable
from jobtool.packages.package import Package, package_in
from jobtool.stores.store import Entry, Store
from jobtool.transfer.retry import Retry

#: How many packages are kept. Several jobs may be about folders of one package.
_MOST = 2


class OpenedPackage(msgspec.Struct, frozen=True):
    """A package and its members. ``identity`` names this state of the tar."""

    package: Package
    table: MemberTable
    identity: str


class OpenedPackages:
    """Opens packages, and keeps the last ones. Threads may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._opened: OrderedDict[str, OpenedPackage] = OrderedDict()

    def open(self, store: Store, name: str) -> OpenedPackage:
        """Return the package whose tar is the file ``name`` of a store.

        Its index is read, unless it was read before and tar and index are the same as then. Raises
        the errors of ``open_package`` and ``Package.members``.
        """
        url = store.url_of(name)
        with self._lock:
            known = self._opened.pop(url, None)
            if known is None or not _is_same(known.package, store):
                package = package_in(store, name, retry=Retry.never())
                table = MemberTable(package.members())
                known = OpenedPackage(package, table, _identity(package.entry))
            self._opened[url] = known
            while len(self._opened) > _MOST:
                self._opened.popitem(last=False)
            return known


def _is_same(package: Package, store: Store) -> bool:
    name = package.entry.path
    index = store.stat(name + INDEX_SUFFIX, file_only=True)
    has_same_index = (index if isinstance(index, Entry) else None) == package.index_entry
    return has_same_index and store.stat(name, file_only=True) == package.entry


def _identity(entry: Entry) -> str:
    return entry.etag or f"{entry.size}-{entry.mtime_ns}"
