"""The Azure clients of a run: one for each container, with the connections of its account."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

from jobtool.stores.azure.config import AzureSettings, account_for
from jobtool.stores.azure.names import blob_endpoint_of, container_of
from jobtool.stores.location import Location
from jobtool.stores.storetype import Role, Setup, settings_of_roles, store_type

if TYPE_CHECKING:
    from jobtool.stores.azure.container import Container
    from jobtool.stores.credentials.holder import CredentialHolder
    from jobtool.stores.credentials.provider import CredentialScope


class AzureClients:
    """What all stores of one scheme share in a run. Implements ``Credentialed``."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._settings: dict[str, Mapping[Role, AzureSettings]] = {}
        self._made: dict[tuple[AzureSettings, str, Role | None], Container] = {}
        self._lock = threading.Lock()

    def container(self, location: Location, role: Role) -> Container:
        """Return the client of a location's container. Contacts no server.

        Raises ``StoreSettingsError`` and ``CredentialsError``.
        """
        from jobtool.stores.azure.container import Container

        settings = self._settings_of(location.scheme)[role]
        secrets = self._setup.secrets.get(role)
        key = settings, location.name, role if secrets else None
        with self._lock:
            if key not in self._made:
                # Given ones are instead of those of the environment, whatever account it names.
                environment = os.environ if secrets is None else secrets
                account = account_for(settings, blob_endpoint_of(location.name), environment)
                self._made[key] = Container(
                    account,
                    container_of(location.name),
                    settings,
                    connections=self._setup.connections,
                )
            return self._made[key]

    def _settings_of(self, scheme: str) -> Mapping[Role, AzureSettings]:
        if scheme not in self._settings:
            kind = store_type(scheme)
            assert kind is not None
            self._settings[scheme] = settings_of_roles(scheme, kind, self._setup)
        return self._settings[scheme]

    def prepare(self, location: Location, role: Role) -> None:
        """Make the client of a location; see ``Credentialed``."""
        self.container(location, role)

    def holders(self) -> list[CredentialHolder]:
        """Return nothing: Azure's own library renews what it logs in with."""
        return []

    def begin_job(self, scopes: Mapping[Role, CredentialScope]) -> None:
        """Do nothing: credentials aren't per job."""

    def reach_job(self, scopes: Mapping[Role, CredentialScope]) -> None:
        """Do nothing: credentials aren't per job."""
