"""The store type of Google Cloud Storage. Imports no client before a store is opened."""

from __future__ import annotations

from jobtool.errors import UsageError
from jobtool.names import quote
from jobtool.stores.gcs.clients import GcsClients
from jobtool.stores.gcs.config import GcsSettings
from jobtool.stores.gcs.names import NAME, NAME_SHOWN
from jobtool.stores.location import Location
from jobtool.stores.store import Store
from jobtool.stores.storetype import Opening, StoreType


def _check(location: Location, url: str) -> None:
    """Refuse a path that isn't UTF-8."""
    try:
        location.path.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{quote(url)}: expected UTF-8, as all names of objects are") from None


def _open(location: Location, opening: Opening) -> Store:
    from jobtool.stores.gcs.store import GcsStore

    clients = opening.shared
    assert isinstance(clients, GcsClients)
    return GcsStore(
        clients.service(location, opening.role),
        location,
        owner=opening.owner,
        read_back=opening.setup.read_back,
    )


#: ``gs://`` and ``gcs://``.
STORE_TYPE = StoreType(
    open=_open,
    settings=GcsSettings,
    share=GcsClients,
    check=_check,
    root="bucket",
    name=NAME,
    name_shown=NAME_SHOWN,
    modules=("google.auth", "google_crc32c", "requests", "urllib3"),
    extra="gcs",
    service="Google Cloud Storage",
)
