"""The S3 clients of a run. Both sides share one if their settings are the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobtool.stores.credentials.given import given_provider
from jobtool.stores.credentials.holder import CredentialHolder
from jobtool.stores.credentials.holders import ByHolders, Holders
from jobtool.stores.credentials.provider import AwsKeys, CredentialProvider
from jobtool.stores.credentials.settings import make_provider
from jobtool.stores.location import Location
from jobtool.stores.s3.config import S3Config, read_s3_table
from jobtool.stores.storetype import ROLES, Role, Setup

if TYPE_CHECKING:
    from jobtool.stores.s3.access import S3Access


class S3Clients(ByHolders):
    """What all S3 stores of a run share. Implements ``Credentialed``. Raises ``UsageError``."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._configs = {
            role: read_s3_table(setup.table, role, shown=setup.shown) for role in ROLES
        }
        self._providers = {role: self._provider(role, setup) for role in ROLES}
        self._holders = Holders(setup, ("s3",), (AwsKeys,))
        self._made: dict[tuple[S3Config, CredentialHolder], S3Access] = {}

    def _provider(self, role: Role, setup: Setup) -> CredentialProvider:
        if role in setup.secrets:
            return given_provider(setup.secrets[role])
        return setup.providers.get(role) or make_provider({}, profile=self._configs[role].profile)

    def prepare(self, location: Location, role: Role) -> None:
        """Make the client of a location; see ``Credentialed``."""
        from jobtool.stores.s3.kind import require_signable

        require_signable(location)
        self._access(role, self._holders.holder(role, self._providers[role], location.url))

    def access(self, role: Role, url: str) -> S3Access:
        """Return the access of one side for ``url``. Raises the errors of ``S3Access``."""
        return self._access(role, self._holders.holder_for(role, self._providers[role], url))

    def _access(self, role: Role, holder: CredentialHolder) -> S3Access:
        from jobtool.stores.s3.access import S3Access

        key = self._configs[role], holder
        if key not in self._made:
            self._made[key] = S3Access(*key, connections=self._setup.connections)
        return self._made[key]
