"""The store types of Azure. Imports no client before a store is opened."""

from __future__ import annotations

from jobtool.errors import UsageError
from jobtool.names import quote
from jobtool.stores.azure.clients import AzureClients
from jobtool.stores.azure.config import AzureSettings
from jobtool.stores.azure.names import NAME, NAME_SHOWN
from jobtool.stores.location import Location
from jobtool.stores.store import Store
from jobtool.stores.storetype import Opening, StoreType


def _check(location: Location, url: str) -> None:
    """Refuse a path that isn't UTF-8."""
    try:
        location.path.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{quote(url)}: expected UTF-8, as all names of blobs are") from None


def _open(location: Location, opening: Opening) -> Store:
    from jobtool.stores.azure.store import AzureStore

    clients = opening.shared
    assert isinstance(clients, AzureClients)
    return AzureStore(
        clients.container(location, opening.role),
        location.path,
        location.root,
        owner=opening.owner,
        read_back=opening.setup.read_back,
        is_source=opening.role == "source",
    )


#: Signatures are refused after 15 minutes (Microsoft, "Authorize with Shared Key", Date header).
_CLOCK_TOLERANCE_SECONDS = 15 * 60.0

#: ``az://``, ``abfs://`` and ``abfss://``.
STORE_TYPE = StoreType(
    open=_open,
    settings=AzureSettings,
    share=AzureClients,
    check=_check,
    root="container",
    name=NAME,
    name_shown=NAME_SHOWN,
    modules=("azure.storage.blob", "azure.identity"),
    extra="azure",
    service="Azure",
    clock_tolerance_seconds=_CLOCK_TOLERANCE_SECONDS,
)
