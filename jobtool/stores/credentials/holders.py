"""The credential holders of a run, for the stores of one service."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import msgspec

from jobtool.errors import CredentialsError
from jobtool.stores.credentials.holder import CredentialHolder, require_kind
from jobtool.stores.credentials.provider import (
    CredentialProvider,
    CredentialScope,
    Kind,
    Permission,
)
from jobtool.stores.location import scheme_of

if TYPE_CHECKING:
    from jobtool.stores.storetype import Role, Setup

_PERMISSIONS: Mapping[Role, Permission] = {"source": "READ", "destination": "READWRITE"}


class _Made(msgspec.Struct):
    """A holder and the roles that use it: one, if its credentials are for one purpose."""

    holder: CredentialHolder
    roles: set[Role]

    @property
    def is_per_purpose(self) -> bool:
        return self.holder.provider.is_per_purpose

    @property
    def role(self) -> Role:
        """The role whose scope the credentials are fetched for: that of the wider permission."""
        return "destination" if "destination" in self.roles else "source"


class Holders:
    """Makes and keeps credential holders. Source and destination share one if they may.

    ``schemes`` are those of the service's URLs, and ``accepts`` the kinds of credentials that its
    stores take. Any thread may use it. What shares the stores of a scheme (``Credentialed``) passes
    on its calls.
    """

    def __init__(self, setup: Setup, schemes: Collection[str], accepts: tuple[Kind, ...]) -> None:
        self._setup = setup
        self._schemes = frozenset(schemes)
        self._accepts = accepts
        self._made: list[_Made] = []
        self._scopes: dict[Role, CredentialScope] = {}
        self._lock = threading.RLock()

    def holder(self, role: Role, provider: CredentialProvider, url: str) -> CredentialHolder:
        """Return the holder of a provider's credentials, made for ``url`` if it is new.

        Raises ``CredentialsError`` for a provider of other kinds of credentials.
        """
        with self._lock:
            for made in self._made:
                if made.is_per_purpose and role not in made.roles:
                    continue
                if made.holder.provider == provider:
                    made.roles.add(role)
                    return made.holder
            gives = getattr(provider, "gives", ())
            if gives:
                require_kind(provider.name, gives, self._accepts)
            holder = CredentialHolder(
                provider,
                self._scope(role, url),
                accepts=self._accepts,
                on_renewal=self._setup.on_renewal,
            )
            self._made.append(_Made(holder, {role}))
            if self._scopes:
                holder.begin(self._scope(role, url))
            return holder

    def holder_for(self, role: Role, provider: CredentialProvider, url: str) -> CredentialHolder:
        """Return the holder of a provider's credentials, which are valid for ``url``.

        Within a job they are those of its scopes. Raises ``CredentialsError``.
        """
        holder = self.holder(role, provider, url)
        if provider.is_per_purpose and not self._scopes:
            holder.reach(self._scope(role, url))
        return holder

    def all(self) -> list[CredentialHolder]:
        """Return the holders made so far; see ``Credentialed.holders``."""
        return [made.holder for made in self._made]

    def begin_job(self, scopes: Mapping[Role, CredentialScope]) -> None:
        """Get credentials for a job; see ``Credentialed``."""
        self._scopes = dict(scopes)
        for made in self._made:
            scope = self._scope(made.role, "")
            # A side that is elsewhere in this job needs no credentials and can't get any.
            is_used = any(self._is_ours(self._scope(role, "")) for role in made.roles)
            if is_used or not made.is_per_purpose:
                try:
                    made.holder.begin(scope)
                except CredentialsError:
                    if is_used:
                        raise

    def reach_job(self, scopes: Mapping[Role, CredentialScope]) -> None:
        """Get credentials valid for a job's scopes; see ``Credentialed``."""
        self._scopes = dict(scopes)
        for made in self._made:
            if made.is_per_purpose:
                scope = self._scope(made.role, "")
                if self._is_ours(scope):
                    made.holder.reach(scope)

    def _scope(self, role: Role, url: str) -> CredentialScope:
        known = self._scopes.get(role)
        if known is not None and (self._is_ours(known) or not url):
            return known
        job = "" if known is None else known.job
        return CredentialScope(job=job, url=url, permission=_PERMISSIONS[role])

    def _is_ours(self, scope: CredentialScope) -> bool:
        return scheme_of(scope.url) in self._schemes


class ByHolders:
    """What shares the stores of a service, with ``Holders`` for the calls of ``Credentialed``."""

    _holders: Holders

    def holders(self) -> list[CredentialHolder]:
        """Return the credential holders of all clients made so far."""
        return self._holders.all()

    def begin_job(self, scopes: Mapping[Role, CredentialScope]) -> None:
        """Get credentials for a job; see ``Credentialed``."""
        self._holders.begin_job(scopes)

    def reach_job(self, scopes: Mapping[Role, CredentialScope]) -> None:
        """Get credentials valid for a job's scopes; see ``Credentialed``."""
        self._holders.reach_job(scopes)
