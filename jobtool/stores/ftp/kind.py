"""The store types of ``ftp://`` and ``ftps://``. Imports no client before a store is opened."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec.structs import replace

from jobtool.stores.location import Location
from jobtool.stores.store import Store
from jobtool.stores.storetype import Opening, Setup, StoreType
from jobtool.stores.webaddress import check_address, plain

if TYPE_CHECKING:
    from jobtool.stores.ftp.connections import Connections


class FtpSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table ``[ftp]`` or ``[ftps]`` of joblist.toml.

    ``ca_bundle`` is a file of certificates that are trusted instead of the system's. ``passive``
    false lets the server connect back. ``timeout_seconds`` is how long it may be silent.
    """

    ca_bundle: str | None = None
    passive: bool = True
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0)] = 60.0


class FtpServers:
    """The connections of a run, by server and settings."""

    def __init__(self, setup: Setup) -> None:
        self._lock = threading.Lock()
        self._made: dict[tuple[str, FtpSettings], Connections] = {}

    def get(self, root: str, settings: FtpSettings) -> Connections:
        """Return the connections to the server of a root, such as ``ftp://host``."""
        from jobtool.stores.ftp.connections import Connections

        with self._lock:
            key = root, settings
            if key not in self._made:
                self._made[key] = Connections(
                    root,
                    ca_bundle=settings.ca_bundle,
                    passive=settings.passive,
                    timeout_seconds=settings.timeout_seconds,
                )
            return self._made[key]


def _open(location: Location, opening: Opening) -> Store:
    from jobtool.stores.ftp.store import FtpStore

    servers, settings = opening.shared, opening.settings
    assert isinstance(servers, FtpServers)
    assert isinstance(settings, FtpSettings)
    return FtpStore(servers.get(location.root, settings), location.root, location.path)


STORE_TYPE = StoreType(
    open=_open,
    settings=FtpSettings,
    share=FtpServers,
    check=check_address,
    as_typed=plain,
    root="host",
    name=r"[^/]+",
    name_shown="HOST or HOST:PORT",
    source_only=True,
    service="FTP",
    lists_own_times=True,
)

STORE_TYPE_TLS = replace(STORE_TYPE, service="FTP over TLS")
