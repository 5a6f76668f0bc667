"""Filesystem objects of fsspec that a caller in Python gave for one side of a transfer.

Job files name what is in them by ``fsspec://PROTOCOL/PATH``, or ``fsspec://PROTOCOL:/PATH`` for a
path of the filesystem that begins with a slash. Which object that is, the process must be told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from jobtool.errors import StoreSettingsError
from jobtool.names import quote
from jobtool.stores.location import Location
from jobtool.stores.sides import OBJECT, TABLES, protocol_of
from jobtool.stores.store import Store
from jobtool.stores.storetype import Opening, Role, Setup, StoreType

if TYPE_CHECKING:
    from jobtool.stores.anyfs.filesystem import Filesystem
    from jobtool.stores.credentials.holder import CredentialHolder
    from jobtool.stores.credentials.provider import CredentialScope


class NoSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Objects have been made: there is nothing to set."""


class Objects:
    """The objects of a run, one for each role. Implements ``Credentialed``, to be asked early."""

    def __init__(self, setup: Setup) -> None:
        from jobtool.stores.anyfs.filesystem import held

        self._filesystems: dict[Role, tuple[str, Filesystem]] = {
            role: (protocol_of(filesystem), held(filesystem))
            for role, filesystem in setup.filesystems.items()
        }

    def of(self, location: Location, role: Role) -> Filesystem:
        """Return the filesystem of a location.

        Raises ``StoreSettingsError`` if the process has none for the role, or one of another
        protocol.
        """
        wanted = location.name.removesuffix(":")
        found = self._filesystems.get(role)
        if found is None or found[0] != wanted:
            held = "none" if found is None else f"one of the protocol {found[0]!r}"
            raise StoreSettingsError(
                f"{quote(location.url)}: expected a filesystem object of the protocol {wanted!r} "
                f"in this process; found {held}. Pass it in Python, as in "
                f"jobtool.transfer_jobs(joblist, {TABLES[role]}=filesystem)."
            )
        return found[1]

    def prepare(self, location: Location, role: Role) -> None:
        """Raise ``StoreSettingsError`` unless the process has the object of a location."""
        self.of(location, role)

    def holders(self) -> list[CredentialHolder]:
        """Return nothing: objects hold their own credentials."""
        return []

    def begin_job(self, scopes: Mapping[Role, CredentialScope]) -> None:
        """Do nothing: credentials aren't per job."""

    def reach_job(self, scopes: Mapping[Role, CredentialScope]) -> None:
        """Do nothing: credentials aren't per job."""


def _open(location: Location, opening: Opening) -> Store:
    from jobtool.stores.anyfs.store import FsspecStore

    assert isinstance(opening.shared, Objects)
    root = "/" * location.name.endswith(":") + location.path
    filesystem: Any = opening.shared.of(location, opening.role)
    return FsspecStore(filesystem, root, location.url, owner=opening.owner)


STORE_TYPE = StoreType(
    open=_open,
    settings=NoSettings,
    share=Objects,
    root="protocol",
    name=r"[A-Za-z0-9][A-Za-z0-9+._-]*:?",
    name_shown="the protocol of a filesystem, and ':' before a path that begins with a slash",
    modules=("fsspec",),
    extra="fsspec",
    service=f"filesystem objects ({OBJECT})",
)
