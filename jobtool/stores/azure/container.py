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
import msgspec
import requests
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import (
    BlobClient,
    ContainerClient,
    ContainerSasPermissions,
    generate_container_sas,
)
from requests.adapters import HTTPAdapter

from jobtool.errors import CredentialsError, FileError, StoreSettingsError
from jobtool.redact import redact
from jobtool.stores.azure.config import Account, AzureSettings, ca_bundle_for
from jobtool.stores.azure.direct import VERSION, Direct
from jobtool.stores.azure.errors import CLIENT_ERRORS, Where, translate
from jobtool.stores.proxies import proxy_for

T = TypeVar("T")

_CONNECT_SECONDS = 10

#: The largest blob that one request can write. Source: Microsoft, "Put Blob".
MAX_PUT_BYTES = 5000 * 1024 * 1024

#: How long a SAS token is valid that is made from the account's key. A new one is made halfway.
_SAS_LASTS = timedelta(hours=2)

#: How much is read from and written to a socket at a time.
_SOCKET_BYTES = 1024 * 1024


class ReadAccess(msgspec.Struct, frozen=True, kw_only=True):
    """A SAS token, or a header ``authorization``; neither for what all may read."""

    sas: str | None = None
    authorization: str | None = None

    def __repr__(self) -> str:
        """Return no secret."""
        return "ReadAccess()"


class Container:
    """A container of an account. Contacts no server when it is made. Any thread may use it.

    Raises ``StoreSettingsError``.
    """

    def __init__(
        self, account: Account, name: str, settings: AzureSettings, *, connections: int
    ) -> None:
        self.name = name
        self._account = account
        self.account_url = account.url
        self._is_hierarchical = settings.hierarchical
        self._making = threading.Lock()
        self._made_sas, self._made_until = "", datetime.min.replace(tzinfo=UTC) + _SAS_LASTS
        redact.learn(account.key, account.sas, *_signatures_in(account.sas))
        if account.sas:
            logging.getLogger("urllib3.connectionpool").addFilter(_redacted)
        if account.is_by_login and not account.url.startswith("https:"):
            raise StoreSettingsError(
                f"{account.url}: a login needs https://. Over http:// set AZURE_STORAGE_KEY or "
                "AZURE_STORAGE_SAS_TOKEN in the environment."
            )
        bundle, proxy = ca_bundle_for(settings, os.environ), proxy_for(account.url)
        credential = _credential_of(account)
        self.direct = Direct(
            account,
            name,
            credential if account.is_by_login else None,
            connections=connections,
            connect_seconds=_CONNECT_SECONDS,
            timeout_seconds=settings.timeout_seconds,
            trusted=_trusted_in(bundle or certifi.where()),
            proxy=proxy,
        )
        try:
            self.client = ContainerClient(
                account.url,
                name,
                credential=credential,
                transport=RequestsTransport(
                    session=_session(proxy, connections),
                    connection_timeout=_CONNECT_SECONDS,
                    read_timeout=settings.timeout_seconds,
                    connection_verify=bundle or True,
                ),
                api_version=VERSION,
                retry_total=0,
                retry_connect=0,
                retry_read=0,
                retry_status=0,
                max_single_put_size=MAX_PUT_BYTES,
            )
        except ValueError as error:
            raise StoreSettingsError(f"{account.url}: {error}") from None

    def read_access(self) -> ReadAccess:
        """Return how the service itself may read a blob of this container, to copy it."""
        account = self._account
        if account.is_by_login:
            return ReadAccess(authorization=f"Bearer {self.direct.token()}")
        if not account.key:
            return ReadAccess(sas=account.sas)
        with self._making:
            now = datetime.now(UTC)
            if now > self._made_until - _SAS_LASTS / 2:
                self._made_until = now + _SAS_LASTS
                self._made_sas = generate_container_sas(
                    account.name,
                    self.name,
                    account_key=account.key,
                    permission=ContainerSasPermissions(read=True),
                    expiry=self._made_until,
                )
                redact.learn(*_signatures_in(self._made_sas))
            return ReadAccess(sas=self._made_sas)

    def blob(self, name: str) -> BlobClient:
        """Return the client of one blob."""
        return self.client.get_blob_client(name)

    def call(self, url: str, request: Callable[[], T], root: str) -> T:
        """Send a request and return its answer. Errors name ``url``, which is below ``root``."""
        try:
            return request()
        except CLIENT_ERRORS as error:
            where = Where(root=root, container=self.name, account_url=self.account_url)
            raise translate(error, url, where) from None

    def is_hierarchical(self, root: str) -> bool:
        """Return whether the account has a hierarchical namespace. The service is asked once.

        If it refuses to say, that is taken from the scheme of the URL ``root``.
        """
        if self._is_hierarchical is None:
            try:
                found = self.call(root, self.client.get_account_information, root)
                told = found.get("is_hns_enabled")
            except (FileError, CredentialsError) as error:
                if error.retryable:
                    raise
                told = None
            is_lake = root.startswith("abfs")
            self._is_hierarchical = is_lake if told is None else str(told).lower() == "true"
        return self._is_hierarchical


def _credential_of(account: Account) -> Any:
    if account.key:
        return {"account_name": account.name, "account_key": account.key}
    if account.sas:
        from azure.core.credentials import AzureSasCredential

        return AzureSasCredential(account.sas)
    if account.anonymous:
        return None
    from azure.identity import DefaultAzureCredential

    return DefaultAzureCredential()


def _signatures_in(sas: str | None) -> list[str]:
    """Return the secret part of a SAS token, which could be shown without the rest."""
    fields = (field.partition("=") for field in (sas or "").split("&"))
    return [value for name, _, value in fields if name == "sig"]


def _redacted(record: logging.LogRecord) -> bool:
    """Take secrets out of a record: at level DEBUG urllib3 logs URLs, which hold SAS tokens."""
    if isinstance(record.args, tuple):
        record.args = tuple(redact(arg) if isinstance(arg, str) else arg for arg in record.args)
    return True


class _Adapter(HTTPAdapter):
    """Connections without retries, with larger pieces than http.client's 8 KiB."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Make the pool of connections."""
        super().init_poolmanager(*arguments, blocksize=_SOCKET_BYTES, **options)


def _trusted_in(bundle: str) -> dict[str, str]:
    """Return urllib3's setting for a file or folder of certificates."""
    return {"ca_cert_dir" if os.path.isdir(bundle) else "ca_certs": bundle}


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
