"""The S3 clients of a run. Both sides share one if their settings are the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from jobtool.stores.credentials.given import given_provider
from jobtool.stores.credentials.holder import CredentialHolder
from jobtool.stores.credentials.provider import CredentialProvider, CredentialScope, Permission
from jobtool.stores.credentials.settings import make_provider
from jobtool.stores.location import Location, scheme_of
from jobtool.stores.s3.config import S3Config, read_s3_table
from jobtool.stores.storetype import ROLES, Role, Setup

if TYPE_CHECKING:
    from jobtool.stores.s3.access import S3Access

_SCHEME = "s3"


class S3Clients:
    """What all S3 stores of a run share. Implements ``Credentialed``. Raises ``UsageError``."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._configs = {
            role: read_s3_table(setup.table, role, shown=setup.shown) for role in ROLES
        }
        self._providers = {role: self._provider(role, setup) for role in ROLES}
        self._made: dict[tuple[Role, S3Config], S3Access] = {}
        self._scopes: dict[Role, CredentialScope] = {}

    def _provider(self, role: Role, setup: Setup) -> CredentialProvider:
        if role in setup.secrets:
            return given_provider(setup.secrets[role])
        return setup.providers.get(role) or make_provider({}, profile=self._configs[role].profile)

    def prepare(self, location: Location, role: Role) -> None:
        """Make the client of a location; see ``Credentialed``."""
        from jobtool.stores.s3.kind import require_signable

        require_signable(location)
        if self._key_of(role)[0] not in self._made:
            self.access(role, location.url)

    def holders(self) -> list[CredentialHolder]:
        """Return the credential holders of all clients made so far."""
        return [access.holder for access in self._made.values()]

    def begin_job(self, scopes: Mapping[Role, CredentialScope]) -> None:
        """Get credentials for a job; see ``Credentialed``."""
        self._scopes = dict(scopes)
        for key, access in self._made.items():
            scope = self._scope(key[0], "")
            # A side that is a local folder in this job needs no credentials and can't get any.
            if not access.holder.provider.is_per_purpose or _is_ours(scope):
                access.begin(scope)

    def reach_job(self, scopes: Mapping[Role, CredentialScope]) -> None:
        """Get credentials valid for a job's scopes; see ``Credentialed``."""
        self._scopes = dict(scopes)
        for key, access in self._made.items():
            scope = self._scope(key[0], "")
            if access.holder.provider.is_per_purpose and _is_ours(scope):
                access.reach(scope)

    def access(self, role: Role, url: str) -> S3Access:
        """Return the access of one side for ``url``. Raises the errors of ``S3Access``."""
        from jobtool.stores.s3.access import S3Access

        key, provider = self._key_of(role)
        if key not in self._made:
            holder = CredentialHolder(
                provider, self._scope(key[0], url), on_renewal=self._setup.on_renewal
            )
            self._made[key] = S3Access(key[1], holder, connections=self._setup.connections)
            if self._scopes:
                self._made[key].begin(self._scope(key[0], url))
        elif provider.is_per_purpose and not self._scopes:
            self._made[key].reach(self._scope(role, url))
        return self._made[key]

    def _scope(self, role: Role, url: str) -> CredentialScope:
        permissions: dict[Role, Permission] = {"source": "READ", "destination": "READWRITE"}
        known = self._scopes.get(role)
        if known is not None and (_is_ours(known) or not url):
            return known
        job = "" if known is None else known.job
        return CredentialScope(job=job, url=url, permission=permissions[role])

    def _key_of(self, role: Role) -> tuple[tuple[Role, S3Config], CredentialProvider]:
        config, provider = self._configs[role], self._providers[role]
        # Both sides share clients and credentials if their settings are the same.
        other: Role = "destination" if role == "source" else "source"
        is_shared = (
            not provider.is_per_purpose
            and provider == self._providers[other]
            and config == self._configs[other]
        )
        return ("destination" if is_shared else role, config), provider


def _is_ours(scope: CredentialScope) -> bool:
    return scheme_of(scope.url) == _SCHEME
