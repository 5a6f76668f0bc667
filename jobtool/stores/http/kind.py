"""The store type of ``http://`` and ``https://``. Imports no client before a store is opened."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Annotated

import msgspec

from jobtool.stores.location import Location
from jobtool.stores.store import Store
from jobtool.stores.storetype import Opening, Setup, StoreType
from jobtool.stores.webaddress import check_address, plain

if TYPE_CHECKING:
    from jobtool.stores.http.requests import Connection


class HttpSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table ``[http]`` or ``[https]`` of joblist.toml.

    ``ca_bundle`` is a file of certificates that are trusted instead of the system's.
    ``timeout_seconds`` is how long a server may be silent.
    """

    ca_bundle: str | None = None
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0)] = 60.0


class HttpConnections:
    """The connections of a run: one pool for each role's settings."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._lock = threading.Lock()
        self._made: dict[HttpSettings, Connection] = {}

    def get(self, settings: HttpSettings) -> Connection:
        """Return the pool for these settings. Raises ``StoreSettingsError``."""
        from jobtool.stores.http.requests import Connection

        with self._lock:
            if settings not in self._made:
                self._made[settings] = Connection(
                    ca_bundle=settings.ca_bundle,
                    timeout_seconds=settings.timeout_seconds,
                    connections=self._setup.connections,
                )
            return self._made[settings]


def _open(location: Location, opening: Opening) -> Store:
    from jobtool.stores.http.store import HttpStore

    connections, settings = opening.shared, opening.settings
    assert isinstance(connections, HttpConnections)
    assert isinstance(settings, HttpSettings)
    return HttpStore(connections.get(settings), location.root, location.path)


STORE_TYPE = StoreType(
    open=_open,
    settings=HttpSettings,
    share=HttpConnections,
    check=check_address,
    as_typed=plain,
    root="host",
    name=r"[^/]+",
    name_shown="HOST or HOST:PORT",
    modules=("httpx",),
    extra="http",
    source_only=True,
    service="HTTP",
    lists_own_times=True,
)
