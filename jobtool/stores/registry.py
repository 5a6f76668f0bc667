"""The registry of stores, which opens the store of a URL by its scheme."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from msgspec.structs import replace

from jobtool.errors import UsageError
from jobtool.names import require_utf8
from jobtool.stores.credentials.holder import CredentialHolder
from jobtool.stores.credentials.provider import CredentialScope
from jobtool.stores.credentials.settings import make_provider, settings_of
from jobtool.stores.infiles import service_url
from jobtool.stores.local.links import LinkPolicy
from jobtool.stores.location import Location, inside
from jobtool.stores.optional import supports
from jobtool.stores.preserve import KEEP_BY_DEFAULT, Kept
from jobtool.stores.sides import Side
from jobtool.stores.store import Store
from jobtool.stores.storetype import (
    ROLES,
    Credentialed,
    Opening,
    Role,
    Setup,
    StoreType,
    require_modules,
    require_writable,
    settings_of_roles,
    store_type,
)


class _Scheme:
    """The store type of one scheme in a run, its settings, and what its stores share."""

    def __init__(self, scheme: str, kind: StoreType, setup: Setup) -> None:
        require_modules(scheme, kind)
        self._kind = kind
        self._setup = setup
        self._settings = settings_of_roles(scheme, kind, setup)
        self.shared = kind.share(setup) if kind.share is not None else None

    def open(
        self,
        location: Location,
        role: Role,
        owner: str,
        mirrors: Store | None,
        other: Callable[[str], Store],
    ) -> Store:
        if role == "destination":
            require_writable(location.url, location.scheme, self._kind)
        opening = Opening(
            role=role,
            setup=self._setup,
            owner=owner,
            mirrors=mirrors,
            settings=self._settings.get(role),
            shared=self.shared,
            other=other,
        )
        return self._kind.open(location, opening)


class StoreRegistry:
    """Opens stores, and keeps what those of one scheme share: clients, credentials, memory.

    ``tables`` are the tables of joblist.toml that are named after schemes. ``sides`` are what
    ``source_fs`` and ``target_fs`` add to them for their role. ``credentials`` is the table of that
    name. ``places`` are tables for the stores below some URLs, which go before those of their
    scheme. See ``Setup`` for the other arguments. Raises ``UsageError`` for an invalid
    table, and if this Python doesn't decode file names as UTF-8.
    """

    def __init__(
        self,
        tables: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        sides: Sequence[Side] = (),
        places: Mapping[str, Mapping[str, Any]] | None = None,
        credentials: Mapping[str, Any] | None = None,
        connections: int = 16,
        links: LinkPolicy = "follow",
        read_back: bool = False,
        keep: frozenset[Kept] = KEEP_BY_DEFAULT,
        shown: str = "joblist.toml",
    ) -> None:
        require_utf8()
        self._schemes: dict[tuple[str, str | None], _Scheme] = {}  # also by place
        self._places = dict(places or {})
        self._scopes: Mapping[Role, CredentialScope] | None = None
        self.on_renewal: Callable[[CredentialHolder], None] | None = None
        self._tables = dict(tables or {})
        self._sides = sides
        for side in sides:
            table = self._tables.get(side.scheme, {})
            own = {**table.get(side.role, {}), **side.table}
            self._tables[side.scheme] = {**table, **({side.role: own} if own else {})}
        wanted = {role: settings_of(credentials or {}, role) for role in ROLES}
        wanted |= {side.role: dict(side.credentials) for side in sides if side.credentials}
        self._setup = Setup(
            shown=shown,
            connections=connections,
            links=links,
            read_back=read_back,
            keep=keep,
            providers={role: make_provider(table) for role, table in wanted.items() if table},
            on_renewal=self._tell_renewal,
        )
        for scheme, table in self._tables.items():
            if table:  # errors in it are raised at once
                self._scheme(scheme, None)

    def open(self, url: str, role: Role, *, owner: str = "", mirrors: Store | None = None) -> Store:
        """Return the store rooted at ``url``. No server is contacted yet.

        ``owner`` and ``mirrors`` are those of ``Opening``. Raises ``UsageError`` for a URL without
        a store, and ``CredentialsError``.
        """
        location = Location.parse(url)
        other = partial(self.open, role=role)
        return self._scheme_of(location).open(location, role, owner, mirrors, other)

    def use_places(self, places: Mapping[str, Mapping[str, Any]]) -> None:
        """Use other tables for the stores below some URLs from now on."""
        changed = {
            url for url in {*self._places, *places} if self._places.get(url) != places.get(url)
        }
        self._places = dict(places)
        for key in [key for key in self._schemes if key[1] in changed]:
            del self._schemes[key]

    def prepare(self, urls: Mapping[Role, str | None]) -> None:
        """Make the clients that URLs will need, so that wrong settings are reported at once.

        Contacts no server. Repeated calls do nothing. Raises ``UsageError``,
        ``StoreSettingsError``, ``CredentialsError`` and ``StoreUnavailableError``.
        """
        for role, url in urls.items():
            if url is not None:
                location = Location.parse(service_url(url))
                shared = self._scheme_of(location).shared
                if supports(shared, Credentialed):
                    shared.prepare(location, role)

    def credential_holders(self) -> list[CredentialHolder]:
        """Return the holders of the credentials of every client so far."""
        return [holder for shared in self._credentialed() for holder in shared.holders()]

    def begin_job(self, scopes: Mapping[Role, CredentialScope]) -> None:
        """Get credentials for a job: its own, or the current ones if they aren't due.

        Raises ``CredentialsError``.
        """
        self._scopes = scopes
        for shared in self._credentialed():
            shared.begin_job(scopes)

    def reach_job(self, scopes: Mapping[Role, CredentialScope]) -> None:
        """Get credentials valid for a job's scopes. Keep the current ones if they are.

        Raises ``CredentialsError``.
        """
        self._scopes = scopes
        for shared in self._credentialed():
            shared.reach_job(scopes)

    def _credentialed(self) -> list[Credentialed]:
        found = (scheme.shared for scheme in list(self._schemes.values()))
        return [shared for shared in found if supports(shared, Credentialed)]

    def _scheme_of(self, location: Location) -> _Scheme:
        around = [url for url in self._places if inside(url, location.url) is not None]
        return self._scheme(location.scheme, max(around, key=len, default=None))

    def _scheme(self, scheme: str, place: str | None) -> _Scheme:
        key = scheme, place
        if key not in self._schemes:
            kind = store_type(scheme)
            if kind is None:
                raise UsageError(
                    f"{self._setup.shown}, table [{scheme}]: no installed package has a store of "
                    f"{scheme}://. Install it, or remove the table."
                )
            ours = [side for side in self._sides if side.scheme == scheme]
            setup = replace(
                self._setup,
                table=self._table(scheme, place),
                secrets={side.role: side.secrets for side in ours if side.secrets},
                filesystems={side.role: side.filesystem for side in ours},
            )
            made = self._schemes.setdefault(key, _Scheme(scheme, kind, setup))
            if supports(made.shared, Credentialed) and self._scopes is not None:
                made.shared.begin_job(self._scopes)
        return self._schemes[key]

    def _table(self, scheme: str, place: str | None) -> Mapping[str, Any]:
        """Return the table of a scheme; what a place has goes before all else."""
        table = self._tables.get(scheme, {})
        if place is None:
            return table
        own = self._places[place]
        roles: dict[str, Any] = {role: {**table.get(role, {}), **own} for role in ROLES}
        return {**table, **own, **roles}

    def _tell_renewal(self, holder: CredentialHolder) -> None:
        if self.on_renewal is not None:
            self.on_renewal(holder)
