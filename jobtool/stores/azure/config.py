"""How to reach Azure: the tables ``[az]`` and ``[abfs]`` of joblist.toml, and the environment.

Secrets come from the environment only, by the names that the ``az`` command and adlfs use.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from jobtool.errors import CredentialsError, StoreSettingsError
from jobtool.redact import Unshown
from jobtool.stores.azure.names import account_of
from jobtool.stores.proxies import names_a_server

DEFAULT_TIMEOUT_SECONDS = 60.0
MAX_TIMEOUT_SECONDS = 86400

CONNECTION_STRING = "AZURE_STORAGE_CONNECTION_STRING"
ACCOUNT_VARIABLES = ("AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME")
KEY_VARIABLES = ("AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCOUNT_KEY")
SAS_VARIABLE = "AZURE_STORAGE_SAS_TOKEN"

_DOMAIN = "core.windows.net"


class AzureSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table of the scheme in joblist.toml. It holds no secrets.

    ``account`` is the storage account, and ``account_url`` its URL if that isn't
    ``https://ACCOUNT.blob.core.windows.net``. Without them the environment names the account.
    ``anonymous`` reads a public container without credentials. ``hierarchical`` says whether the
    account has a hierarchical namespace (Data Lake Storage Gen2). By default the service is asked
    when a folder is listed. ``ca_bundle`` is the absolute path of a file of certificates (PEM) to
    verify the server's certificate. ``timeout_seconds`` is how long a request waits for bytes of
    its answer. ``rehydrate_tier`` says to move archived blobs of the source to that tier, and
    ``rehydrate_priority`` how fast. Their jobs are tried again after ``rehydrate_check_seconds``.
    """

    account: str | None = None
    account_url: str | None = None
    anonymous: bool = False
    hierarchical: bool | None = None
    ca_bundle: str | None = None
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    rehydrate_tier: Literal["Hot", "Cool", "Cold"] | None = None
    rehydrate_priority: Literal["Standard", "High"] = "Standard"
    rehydrate_check_seconds: Annotated[float, msgspec.Meta(ge=1, le=86400)] = 1800.0

    def __post_init__(self) -> None:
        """Refuse what no client can be made from. msgspec adds the name of the table."""
        if self.account is not None and not re.fullmatch(r"[a-z0-9]{3,24}", self.account):
            raise ValueError(
                f"account: expected 3 to 24 lower-case letters and digits; found {self.account!r}"
            )
        url = self.account_url
        if url is not None:
            if "sig=" in url or "@" in url:
                raise ValueError(
                    "account_url: a joblist is no place for a signature or a password. Set "
                    f"{SAS_VARIABLE} in the environment of workers."
                )
            if not names_a_server(url) or urlsplit(url).query or urlsplit(url).fragment:
                raise ValueError(
                    "account_url: expected a URL as in https://ACCOUNT.blob.core.windows.net; "
                    f"found {url!r}"
                )
        if not 0 < self.timeout_seconds <= MAX_TIMEOUT_SECONDS:
            raise ValueError(
                f"timeout_seconds: expected a number above 0 and up to {MAX_TIMEOUT_SECONDS} (a "
                f"day); found {self.timeout_seconds:g}"
            )
        told = self.ca_bundle
        if told is not None and not (os.path.isabs(told) or told.startswith("~")):
            raise ValueError(f"ca_bundle: expected an absolute path; found {told!r}")


class Account(Unshown, frozen=True, kw_only=True):
    """A storage account and how to log in: by a key, a SAS token, a login, or ``anonymous``.

    Without key, token and ``anonymous`` it is the login that ``DefaultAzureCredential`` finds.
    """

    url: str
    name: str
    key: str | None = None
    sas: str | None = None
    anonymous: bool = False

    shown_fields = ("url",)

    @property
    def is_by_login(self) -> bool:
        """Whether requests carry the token of a login."""
        return not (self.key or self.sas or self.anonymous)


def account_for(
    settings: AzureSettings, endpoint: str | None, environment: Mapping[str, str]
) -> Account:
    """Return the account of a URL. ``endpoint`` is that of the URL itself, if it names an account.

    Order: the URL, ``account_url`` and ``account``, the connection string,
    ``AZURE_STORAGE_ACCOUNT``. An ``account_url`` for the account that the URL names is its address.
    Keys and tokens of the environment are used only for the account that it names, or if it names
    none. Raises ``StoreSettingsError`` and ``CredentialsError``.
    """
    told = _from_connection_string(environment.get(CONNECTION_STRING, "").strip())
    url = endpoint or settings.account_url or (settings.account and _url_of(settings.account))
    address = settings.account_url
    if endpoint and address and account_of(address) == account_of(endpoint):
        url = address
    named = next((environment[name] for name in ACCOUNT_VARIABLES if environment.get(name)), None)
    if url is None:
        if told is not None and not settings.anonymous:
            return told
        if named is None:
            raise StoreSettingsError(
                "no storage account: expected it in the environment (AZURE_STORAGE_ACCOUNT), as "
                'account = "NAME" in the table [az] of joblist.toml, or in the URL, as in '
                f"abfss://CONTAINER@ACCOUNT.dfs.{_DOMAIN}/PATH"
            )
        url = _url_of(named)
    url = url.rstrip("/")
    name = account_of(url) or settings.account or named or ""
    if settings.anonymous:
        return Account(url=url, name=name, anonymous=True)
    if told is not None and told.name == name:
        return Account(url=url, name=name, key=told.key, sas=told.sas)
    if named is not None and named != name:
        return Account(url=url, name=name)
    key = next((environment[each] for each in KEY_VARIABLES if environment.get(each)), None)
    sas = (environment.get(SAS_VARIABLE) or "").strip().lstrip("?") or None
    return Account(url=url, name=name, key=key, sas=None if key else sas)


def _url_of(account: str) -> str:
    return f"https://{account}.blob.{_DOMAIN}"


def _from_connection_string(text: str) -> Account | None:
    """Return the account of a connection string. Its text isn't shown: it holds a secret."""
    if not text:
        return None
    fields = {}
    for field in filter(None, text.split(";")):
        name, equals, value = field.partition("=")
        if not equals:
            raise CredentialsError(
                f"{CONNECTION_STRING}: expected NAME=VALUE pairs with ';' between them, as the "
                "portal shows them; found something else"
            )
        fields[name.strip().lower()] = value.strip()
    account = fields.get("accountname", "")
    url = fields.get("blobendpoint")
    if not url and account:
        protocol = fields.get("defaultendpointsprotocol", "https")
        url = f"{protocol}://{account}.blob.{fields.get('endpointsuffix', _DOMAIN)}"
    if not url or not names_a_server(url):
        raise CredentialsError(
            f"{CONNECTION_STRING}: expected AccountName or BlobEndpoint in it; found neither"
        )
    url = url.partition("?")[0].rstrip("/")
    sas = fields.get("sharedaccesssignature", "").lstrip("?") or None
    key = fields.get("accountkey") or None
    return Account(url=url, name=account or account_of(url), key=key, sas=None if key else sas)
