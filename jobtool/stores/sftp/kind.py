"""The store type of SFTP. Imports no client before a store is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobtool.errors import UsageError
from jobtool.stores.location import Location
from jobtool.stores.optional import FolderAttributes, supports
from jobtool.stores.sftp.place import Place, unfit_authority
from jobtool.stores.sftp.settings import SftpSettings
from jobtool.stores.store import Store
from jobtool.stores.storetype import Opening, Setup, StoreType

if TYPE_CHECKING:
    from jobtool.stores.sftp.connection import Connections


def _check(location: Location, url: str) -> None:
    """Refuse a part after ``sftp://`` that isn't a user, host and port. Never shows a password."""
    reason = unfit_authority(location.name)
    if reason is not None:
        raise UsageError(f"sftp://: expected sftp://[USER@]HOST[:PORT]/PATH; found {reason}")


def _share(setup: Setup) -> Connections:
    from jobtool.stores.sftp.connection import Connections

    return Connections()


def _open(location: Location, opening: Opening) -> Store:
    from jobtool.stores.sftp.connection import Connections
    from jobtool.stores.sftp.store import SftpStore

    setup, settings, mirrors = opening.setup, opening.settings, opening.mirrors
    assert isinstance(opening.shared, Connections)
    assert isinstance(settings, SftpSettings)
    return SftpStore(
        opening.shared.link(
            Place.parse(location.name),
            settings,
            password=setup.secrets.get(opening.role, {}).get("password"),
        ),
        location.url,
        location.path,
        owner=opening.owner,
        links=setup.links if opening.role == "source" else "keep",
        read_back=setup.read_back,
        keep=setup.keep,
        closes_folders=supports(mirrors, FolderAttributes) and "mode" in setup.keep,
    )


STORE_TYPE = StoreType(
    open=_open,
    settings=SftpSettings,
    share=_share,
    check=_check,
    root="host",
    name=r"[^\s/]+",
    name_shown="[USER@]HOST[:PORT] without spaces",
    modules=("asyncssh",),
    extra="sftp",
    service="SFTP",
    lists_own_times=True,
)
