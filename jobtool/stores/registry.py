"""From a URL to a store: the scheme chooses."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, get_args

from jobtool.errors import UsageError
from jobtool.names import quote, require_utf8
from jobtool.stores.credentials.holder import CredentialHolder
from jobtool.stores.credentials.provider import CredentialProvider, CredentialScope, Permission
from jobtool.stores.credentials.settings import make_provider, settings_of
from jobtool.stores.local import LinkPolicy, LocalStore
from jobtool.stores.memory import Memory, MemoryStore
from jobtool.stores.optional import FolderAttributes
from jobtool.stores.preserve import KEEP_BY_DEFAULT, Kept
from jobtool.stores.s3.config import S3Config, read_s3_table
from jobtool.stores.store import Store
from jobtool.stores.urls import parse

if TYPE_CHECKING:
    from jobtool.stores.s3.access import S3Access

Role = Literal["source", "destination"]

_GLOBAL_ARN = re.compile(r"arn:[^:]*:s3::[^:]*:accesspoint:.+")


class StoreRegistry:
    """Opens stores, and keeps what they share: S3 clients, credentials, memory.

    ``s3`` and ``credentials`` are the tables of those names in joblist.toml. ``connections`` is how
    many requests may be under way at once; ``links`` is what listing a local source does with
    symbolic links; with ``read_back`` what was written is proven by reading it; ``keep`` are the
    attributes of files and folders that are kept. Raises ``UsageError`` for a table that makes no
    sense, and where file names aren't taken for UTF-8.
    """

    def __init__(
        self,
        s3: Mapping[str, Any] | None = None,
        *,
        credentials: Mapping[str, Any] | None = None,
        connections: int = 16,
        links: LinkPolicy = "follow",
        read_back: bool = False,
        keep: frozenset[Kept] = KEEP_BY_DEFAULT,
        shown: str = "joblist.toml",
    ) -> None:
        require_utf8()
        self._read_back = read_back
        self._keep = keep
        self._links = links
        table = dict(s3 or {})
        self._s3_configs = {
            role: read_s3_table(table, role, shown=shown) for role in get_args(Role)
        }
        self._connections = connections
        self._memories: dict[str, Memory] = {}
        self._s3: dict[tuple[Role, S3Config], S3Access] = {}
        self._providers = {
            role: make_provider(
                settings_of(credentials or {}, role), profile=self._s3_configs[role].profile
            )
            for role in get_args(Role)
        }
        self._scopes: dict[Role, CredentialScope] = {}
        self.on_renewal: Callable[[CredentialHolder], None] | None = None

    def open(self, url: str, role: Role, *, owner: str = "", mirrors: Store | None = None) -> Store:
        """Return the store rooted at ``url``; nothing is contacted yet.

        ``owner`` marks what is written, but not finished, as somebody's. ``mirrors`` is the store
        whose folders its own are going to be given the attributes of. Raises ``UsageError`` for a
        URL that is none of ours, and ``CredentialsError``.
        """
        location = parse(url)
        if location.scheme == "s3":
            from jobtool.stores.s3.store import S3Store

            _require_signable(url, location.name)
            return S3Store(
                self._s3_access(role, location.url),
                location.name,
                location.path,
                read_back=self._read_back,
            )
        if location.scheme == "memory":
            memory = self._memories.setdefault(location.name, Memory())
            return MemoryStore(memory, location.url, location.path)
        links = self._links if role == "source" else "keep"
        return LocalStore(
            location.url,
            owner=owner,
            links=links,
            read_back=self._read_back,
            keep=self._keep,
            mirrors=self._mirrored(mirrors),
        )

    def _mirrored(self, store: Store | None) -> str | None:
        has_modes = isinstance(store, FolderAttributes) and "mode" in self._keep
        return store.url if store is not None and has_modes else None

    def prepare(self, urls: Mapping[Role, str | None]) -> None:
        """Make the S3 clients that URLs will need, so that wrong settings are told at once.

        Nobody is contacted, and nothing done a second time. Raises ``UsageError``,
        ``StoreSettingsError``, ``CredentialsError`` and ``StoreUnavailableError``.
        """
        for role, url in urls.items():
            location = None if url is None else parse(url)
            if location is not None and location.scheme == "s3":
                _require_signable(location.url, location.name)
                if self._key_of(role)[0] not in self._s3:
                    self._s3_access(role, location.url)

    def credential_holders(self) -> list[CredentialHolder]:
        """Return the holders of the credentials of every S3 client so far."""
        return [access.holder for access in self._s3.values()]

    def begin_job(self, scopes: Mapping[Role, CredentialScope]) -> None:
        """Have credentials for a job: its own, or those in force if they aren't due.

        Raises ``CredentialsError``.
        """
        self._scopes = dict(scopes)
        for key, access in self._s3.items():
            scope = self._scope(key[0], "")
            # A side that is a folder this time needs none, and could get none for it.
            if not access.holder.provider.is_per_purpose or scope.url.startswith("s3:"):
                access.begin(scope)

    def reach_job(self, scopes: Mapping[Role, CredentialScope]) -> None:
        """Have credentials that are good for a job's purposes; those in force, if they are.

        Raises ``CredentialsError``.
        """
        self._scopes = dict(scopes)
        for key, access in self._s3.items():
            scope = self._scope(key[0], "")
            if access.holder.provider.is_per_purpose and scope.url.startswith("s3:"):
                access.reach(scope)

    def _scope(self, role: Role, url: str) -> CredentialScope:
        permissions: dict[Role, Permission] = {"source": "READ", "destination": "READWRITE"}
        known = self._scopes.get(role)
        if known is not None and (known.url.startswith("s3:") or not url):
            return known
        job = "" if known is None else known.job
        return CredentialScope(job=job, url=url, permission=permissions[role])

    def _key_of(self, role: Role) -> tuple[tuple[Role, S3Config], CredentialProvider]:
        config, provider = self._s3_configs[role], self._providers[role]
        # Both sides share clients and credentials where those are the same.
        other: Role = "destination" if role == "source" else "source"
        is_shared = (
            not provider.is_per_purpose
            and provider == self._providers[other]
            and config == self._s3_configs[other]
        )
        return ("destination" if is_shared else role, config), provider

    def _s3_access(self, role: Role, url: str) -> S3Access:
        from jobtool.stores.s3.access import S3Access

        key, provider = self._key_of(role)
        if key not in self._s3:
            holder = CredentialHolder(
                provider, self._scope(key[0], url), on_renewal=self._tell_renewal
            )
            self._s3[key] = S3Access(key[1], holder, connections=self._connections)
            if self._scopes:
                self._s3[key].begin(self._scope(key[0], url))
        elif provider.is_per_purpose and not self._scopes:
            self._s3[key].reach(self._scope(role, url))
        return self._s3[key]

    def _tell_renewal(self, holder: CredentialHolder) -> None:
        if self.on_renewal is not None:
            self.on_renewal(holder)


def _require_signable(url: str, bucket: str) -> None:
    """Refuse what boto3 can't sign for as it is installed; raises ``UsageError``."""
    if _GLOBAL_ARN.fullmatch(bucket) and find_spec("awscrt") is None:
        raise UsageError(
            f"{quote(url)}: a multi-region access point takes signatures that boto3 can't make "
            "without the package awscrt. Install it, or name the bucket or access point of one "
            "region."
        )
