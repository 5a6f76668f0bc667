"""The clients of a run: one for each role's settings."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from msgspec.structs import replace

from jobtool.stores.credentials.aws import is_default
from jobtool.stores.credentials.google import GoogleChainProvider
from jobtool.stores.credentials.holders import ByHolders, Holders
from jobtool.stores.credentials.provider import BearerToken
from jobtool.stores.gcs.config import GcsSettings, endpoint_for, require_file
from jobtool.stores.location import Location
from jobtool.stores.storetype import Role, Setup, settings_of_roles, store_type

if TYPE_CHECKING:
    from jobtool.stores.credentials.holder import CredentialHolder
    from jobtool.stores.credentials.provider import CredentialProvider
    from jobtool.stores.gcs.service import Service

    _FindHolder = Callable[[Role, CredentialProvider, str], CredentialHolder]

_SCHEMES = ("gs", "gcs")


class GcsClients(ByHolders):
    """What all stores of one scheme share in a run. Implements ``Credentialed``."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._settings: dict[str, Mapping[Role, GcsSettings]] = {}
        self._holders = Holders(setup, _SCHEMES, (BearerToken,))
        self._made: dict[tuple[GcsSettings, CredentialHolder | None], Service] = {}
        self._lock = threading.Lock()

    def service(self, location: Location, role: Role) -> Service:
        """Return the client for a role's settings. Contacts no server of Google Cloud Storage.

        Raises ``StoreSettingsError`` and ``CredentialsError``.
        """
        return self._service(location, role, self._holders.holder_for)

    def _service(self, location: Location, role: Role, find: _FindHolder) -> Service:
        from jobtool.stores.gcs.service import Service

        settings = self._settings_of(location.scheme)[role]
        provider = self._setup.providers.get(role)
        if provider is not None and provider.name == "anonymous":
            settings = replace(settings, anonymous=True)
        endpoint = endpoint_for(settings, os.environ)
        holder = None
        if endpoint.needs_login:
            if provider is None or is_default(provider):
                require_file(os.environ)
                provider = GoogleChainProvider()
            holder = find(role, provider, location.url)
        key = settings, holder
        with self._lock:
            if key not in self._made:
                self._made[key] = Service(
                    endpoint.url, settings, holder, connections=self._setup.connections
                )
            return self._made[key]

    def _settings_of(self, scheme: str) -> Mapping[Role, GcsSettings]:
        if scheme not in self._settings:
            kind = store_type(scheme)
            assert kind is not None
            self._settings[scheme] = settings_of_roles(scheme, kind, self._setup)
        return self._settings[scheme]

    def prepare(self, location: Location, role: Role) -> None:
        """Make the client of a location; see ``Credentialed``."""
        self._service(location, role, self._holders.holder)
