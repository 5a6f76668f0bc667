"""A container as requests reach it: Azure's client, its connections, its errors.

There are two clients on purpose. azure-storage-blob commits blocks and manages blobs. ``Direct``
lists blobs, and sends and reads their bytes, with a third of its CPU time. Neither tries again,
since jobtool does, nor reads proxies from the environment for each request.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import certifi
import requests
from azure.core.credentials import AccessToken, AzureSasCredential
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import (
    BlobClient,
    ContainerClient,
    ContainerSasPermissions,
    generate_container_sas,
)
from requests.adapters import HTTPAdapter

from jobtool.errors import CredentialsError, FileError, StoreSettingsError
from jobtool.redact import Unshown, redact
from jobtool.stores.azure.chain import AzureChainProvider
from jobtool.stores.azure.config import Account, AzureSettings
from jobtool.stores.azure.direct import VERSION, Direct
from jobtool.stores.azure.errors import CLIENT_ERRORS, Where, translate
from jobtool.stores.azure.rehydrate import rehydration_of
from jobtool.stores.credentials.holder import CredentialHolder
from jobtool.stores.credentials.provider import AccountKey, BearerToken, Credentials, SasToken
from jobtool.stores.pools import CONNECT_SECONDS, SOCKET_BYTES, ca_bundle_for, trusted_in
from jobtool.stores.proxies import proxy_for

T = TypeVar("T")

_NEVER = 2**33  # seconds since 1970: a token whose end isn't known

#: The largest blob that one request can write. Source: Microsoft, "Put Blob".
MAX_PUT_BYTES = 5000 * 1024 * 1024

#: How long a SAS token is valid that is made from the account's key. A new one is made halfway.
_SAS_LASTS = timedelta(hours=2)


class ReadAccess(Unshown, frozen=True, kw_only=True):
    """A SAS token, or a header ``authorization``; neither for what all may read."""

    sas: str | None = None
    authorization: str | None = None


class Container:
    """A container of an account. Contacts no server when it is made. Any thread may use it.

    Raises ``StoreSettingsError``.
    """

    def __init__(
        self,
        account: Account,
        name: str,
        settings: AzureSettings,
        holder: CredentialHolder,
        *,
        connections: int,
    ) -> None:
        self.name = name
        self.holder = holder
        self._account = account
        self.account_url = account.url
        self.rehydration = rehydration_of(settings)
        self._is_hierarchical = settings.hierarchical
        self._making = threading.Lock()
        self._made_sas: tuple[AccountKey, SasToken] | None = None
        if isinstance(holder.provider, AzureChainProvider) and account.is_by_login:
            require_tls(account.url)
        logging.getLogger("urllib3.connectionpool").addFilter(_redacted)
        bundle, proxy = ca_bundle_for(settings.ca_bundle, os.environ), proxy_for(account.url)
        self.direct = Direct(
            account,
            name,
            holder,
            connections=connections,
            timeout_seconds=settings.timeout_seconds,
            trusted=trusted_in(bundle or certifi.where()),
            proxy=proxy,
        )
        #: Of the library. Its connections are shared by the clients of all credentials.
        self._transport = RequestsTransport(
            session=_session(proxy, connections),
            connection_timeout=CONNECT_SECONDS,
            read_timeout=settings.timeout_seconds,
            connection_verify=bundle or True,
        )
        self._made: tuple[Credentials, ContainerClient] | None = None

    @property
    def client(self) -> ContainerClient:
        """The library's client, with the current credentials.

        Raises ``CredentialsError``.
        """
        current, made = self.holder.current(), self._made
        if made is None or made[0] is not current:
            made = current, self._client_with(current)
            self._made = made
        return made[1]

    def _client_with(self, credentials: Credentials) -> ContainerClient:
        url = self._account.url
        try:
            return ContainerClient(
                url,
                self.name,
                credential=_credential_of(credentials, self._account.name),
                transport=self._transport,
                api_version=VERSION,
                retry_total=0,
                retry_connect=0,
                retry_read=0,
                retry_status=0,
                max_single_put_size=MAX_PUT_BYTES,
            )
        except ValueError as error:
            raise StoreSettingsError(f"{url}: {error}") from None

    def read_access(self) -> ReadAccess:
        """Return how the service itself may read a blob of this container, to copy it."""
        current = self.holder.current()
        if isinstance(current, BearerToken):
            return ReadAccess(authorization=f"Bearer {current.token}")
        if isinstance(current, AccountKey):
            current = self._sas_by(current)
        return ReadAccess(sas=current.token if isinstance(current, SasToken) else None)

    def _sas_by(self, key: AccountKey) -> SasToken:
        """Make a SAS token for reading, or return the one that was made before."""
        with self._making:
            now, made = datetime.now(UTC), self._made_sas
            if made is None or made[0] != key or _is_past_its_half(made[1], now):
                ends = now + _SAS_LASTS
                text = generate_container_sas(
                    self._account.name,
                    self.name,
                    account_key=key.key,
                    permission=ContainerSasPermissions(read=True),
                    expiry=ends,
                )
                made = self._made_sas = key, SasToken(token=text, expires_at=ends)
                redact.learn(*made[1].secrets)
            return made[1]

    def blob(self, name: str) -> BlobClient:
        """Return the client of one blob."""
        return self.client.get_blob_client(name)

    def call(self, url: str, request: Callable[[], T], root: str) -> T:
        """Send a request and return its answer. Errors name ``url``, which is below ``root``.

        A bearer token is never sent over http://. If the service refuses the credentials, others
        are fetched once and ``request`` is called again.
        """
        where = Where(root=root, container=self.name, account_url=self.account_url)
        holder = self.holder
        if isinstance(holder.current(), BearerToken):
            require_tls(self.account_url)
        seen = holder.generation
        try:
            return request()
        except CLIENT_ERRORS as error:
            refusal = translate(error, url, where)
            if not isinstance(refusal, CredentialsError):
                raise refusal from None
        holder.doubt(seen)
        if not holder.provider.can_renew:
            raise refusal
        holder.renew(seen)
        try:
            return request()
        except CLIENT_ERRORS as error:
            holder.doubt(holder.generation)
            raise translate(error, url, where) from None

    def _ask_about_account(self) -> dict[str, Any]:
        found: dict[str, Any] = self.client.get_account_information()
        return found

    def is_hierarchical(self, root: str) -> bool:
        """Return whether the account has a hierarchical namespace. The service is asked once.

        If it refuses to say, that is taken from the scheme of the URL ``root``.
        """
        if self._is_hierarchical is None:
            try:
                found = self.call(root, self._ask_about_account, root)
                told = found.get("is_hns_enabled")
            except (FileError, CredentialsError) as error:
                if error.retryable:
                    raise
                told = None
            is_lake = root.startswith("abfs")
            self._is_hierarchical = is_lake if told is None else str(told).lower() == "true"
        return self._is_hierarchical


def require_tls(url: str) -> None:
    """Raise ``StoreSettingsError`` for an account's URL over which no token may be sent."""
    if not url.startswith("https:"):
        raise StoreSettingsError(
            f"{url}: a login needs https://. Over http:// set AZURE_STORAGE_KEY or "
            "AZURE_STORAGE_SAS_TOKEN in the environment."
        )


def _credential_of(credentials: Credentials, account: str) -> Any:
    """Return credentials in the form of Azure's library."""
    if isinstance(credentials, AccountKey):
        return {"account_name": account, "account_key": credentials.key}
    if isinstance(credentials, SasToken):
        return AzureSasCredential(credentials.token)
    if isinstance(credentials, BearerToken):
        return _Token(credentials)
    return None


class _Token:
    """A token as Azure's library asks for one. A client is made for each."""

    def __init__(self, credentials: BearerToken) -> None:
        self._credentials = credentials

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        ends = self._credentials.expires_at
        return AccessToken(self._credentials.token, int(ends.timestamp()) if ends else _NEVER)


def _redacted(record: logging.LogRecord) -> bool:
    """Take secrets out of a record: at level DEBUG urllib3 logs URLs, which hold SAS tokens."""
    if isinstance(record.args, tuple):
        record.args = tuple(redact(arg) if isinstance(arg, str) else arg for arg in record.args)
    return True


class _Adapter(HTTPAdapter):
    """Connections without retries, with larger pieces than http.client's 8 KiB."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Make the pool of connections."""
        super().init_poolmanager(*arguments, blocksize=SOCKET_BYTES, **options)


def _session(proxy: str | None, connections: int) -> requests.Session:
    """Return connections that ignore what the environment says of proxies."""
    session = requests.Session()
    session.trust_env = False
    if proxy is not None:
        session.proxies = {"http": proxy, "https": proxy}
    adapter = _Adapter(pool_maxsize=max(connections, 1), max_retries=0)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def _is_past_its_half(token: SasToken, now: datetime) -> bool:
    return token.expires_at is None or now > token.expires_at - _SAS_LASTS / 2
