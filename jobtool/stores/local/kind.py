"""The store type of this machine's folders: a path or ``file://``."""

from __future__ import annotations

from jobtool.stores.local.store import LocalStore
from jobtool.stores.location import Location
from jobtool.stores.optional import FolderAttributes, supports
from jobtool.stores.store import Store
from jobtool.stores.storetype import Opening, StoreType


def _open(location: Location, opening: Opening) -> Store:
    setup, mirrors = opening.setup, opening.mirrors
    has_modes = supports(mirrors, FolderAttributes) and "mode" in setup.keep
    return LocalStore(
        location.url,
        owner=opening.owner,
        links=setup.links if opening.role == "source" else "keep",
        read_back=setup.read_back,
        keep=setup.keep,
        mirrors=mirrors.url if mirrors is not None and has_modes else None,
    )


STORE_TYPE = StoreType(open=_open, lists_own_times=True)
