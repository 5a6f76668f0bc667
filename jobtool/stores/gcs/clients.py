"""The clients of a run: one for each role's settings."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

from jobtool.stores.gcs.config import GcsSettings
from jobtool.stores.location import Location
from jobtool.stores.storetype import Role, Setup, settings_of_roles, store_type

if TYPE_CHECKING:
    from jobtool.stores.credentials.holder import CredentialHolder
    from jobtool.stores.credentials.provider import CredentialScope
    from jobtool.stores.gcs.service import Service


class GcsClients:
    """What all stores of one scheme share in a run. Implements ``Credentialed``."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._settings: Mapping[Role, GcsSettings] | None = None
        self._made: dict[GcsSettings, Service] = {}
        self._lock = threading.Lock()

    def service(self, location: Location, role: Role) -> Service:
        """Return the client for a role's settings. Contacts no server.

        Raises ``StoreSettingsError`` and ``CredentialsError``.
        """
        from jobtool.stores.gcs.service import Service

        with self._lock:
            if self._settings is None:
                kind = store_type(location.scheme)
                assert kind is not None
                self._settings = settings_of_roles(location.scheme, kind, self._setup)
            settings = self._settings[role]
            if settings not in self._made:
                self._made[settings] = Service(settings, connections=self._setup.connections)
            return self._made[settings]

    def prepare(self, location: Location, role: Role) -> None:
        """Make the client of a location; see ``Credentialed``."""
        self.service(location, role)

    def holders(self) -> list[CredentialHolder]:
        """Return nothing: Google's own library renews what it logs in with."""
        return []

    def begin_job(self, scopes: Mapping[Role, CredentialScope]) -> None:
        """Do nothing: credentials aren't per job."""

    def reach_job(self, scopes: Mapping[Role, CredentialScope]) -> None:
        """Do nothing: credentials aren't per job."""
