"""The Azure clients of a run: one for each container, with the connections of its account."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from jobtool.stores.azure.chain import AzureChainProvider
from jobtool.stores.azure.config import AzureSettings, account_for
from jobtool.stores.azure.names import blob_endpoint_of, container_of
from jobtool.stores.credentials.aws import is_default
from jobtool.stores.credentials.holders import ByHolders, Holders
from jobtool.stores.credentials.provider import AccountKey, BearerToken, SasToken
from jobtool.stores.location import Location
from jobtool.stores.storetype import Role, Setup, settings_of_roles, store_type

if TYPE_CHECKING:
    from jobtool.stores.azure.container import Container
    from jobtool.stores.credentials.holder import CredentialHolder
    from jobtool.stores.credentials.provider import CredentialProvider

    _FindHolder = Callable[[Role, CredentialProvider, str], CredentialHolder]

_SCHEMES = ("az", "abfs", "abfss")


class AzureClients(ByHolders):
    """What all stores of one scheme share in a run. Implements ``Credentialed``."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._settings: dict[str, Mapping[Role, AzureSettings]] = {}
        self._holders = Holders(setup, _SCHEMES, (BearerToken, SasToken, AccountKey))
        self._made: dict[tuple[AzureSettings, str, CredentialHolder], Container] = {}
        self._lock = threading.Lock()

    def container(self, location: Location, role: Role) -> Container:
        """Return the client of a location's container. Contacts no server of Azure Storage.

        Raises ``StoreSettingsError`` and ``CredentialsError``.
        """
        return self._container(location, role, self._holders.holder_for)

    def _container(self, location: Location, role: Role, find: _FindHolder) -> Container:
        from jobtool.stores.azure.container import Container

        settings = self._settings_of(location.scheme)[role]
        secrets = self._setup.secrets.get(role)
        # Given ones are instead of those of the environment, whatever account it names.
        environment = os.environ if secrets is None else secrets
        account = account_for(settings, blob_endpoint_of(location.name), environment)
        provider = self._setup.providers.get(role)
        if provider is None or secrets is not None or is_default(provider) or settings.anonymous:
            provider = AzureChainProvider(account=account)
        holder = find(role, provider, location.url)
        key = settings, location.name, holder
        with self._lock:
            if key not in self._made:
                self._made[key] = Container(
                    account,
                    container_of(location.name),
                    settings,
                    holder,
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
        self._container(location, role, self._holders.holder)
