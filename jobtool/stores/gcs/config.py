"""How to reach Google Cloud Storage: the table ``[gs]`` of joblist.toml, and the environment.

It holds no secrets. Credentials come from providers (``jobtool.stores.credentials``).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec

from jobtool.errors import CredentialsError, StoreSettingsError
from jobtool.names import quote
from jobtool.stores.proxies import names_a_server

ENDPOINT = "https://storage.googleapis.com"

#: The variable with the address of an emulator, as Google's own clients read it.
EMULATOR = "STORAGE_EMULATOR_HOST"

#: The variable with the path of a file of credentials, as Google's own clients read it.
CREDENTIALS_FILE = "GOOGLE_APPLICATION_CREDENTIALS"

DEFAULT_TIMEOUT_SECONDS = 60.0
MAX_TIMEOUT_SECONDS = 86400

_STORAGE_CLASSES = ("STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE")
_PROJECT = re.compile(r"(?:[a-z0-9.-]+:)?[a-z0-9][a-z0-9-]*")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class GcsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table of the scheme in joblist.toml. It holds no secrets.

    ``endpoint_url`` is the service's address, if it isn't Google's usual one or that of
    ``STORAGE_EMULATOR_HOST``. ``anonymous`` reads public buckets without credentials.
    ``user_project`` is the project that is billed, which a bucket with "requester pays" needs.
    ``storage_class`` is that of new objects, if not the bucket's. ``ca_bundle`` is the absolute
    path of a file of certificates (PEM) to verify the server's certificate. ``timeout_seconds`` is
    how long a request waits for bytes of its answer.
    """

    endpoint_url: str | None = None
    anonymous: bool = False
    user_project: str | None = None
    storage_class: str | None = None
    ca_bundle: str | None = None
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS

    def __post_init__(self) -> None:
        """Refuse what no client can be made from. msgspec adds the name of the table."""
        url = self.endpoint_url
        if url is not None:
            if "@" in url:
                raise ValueError("endpoint_url: a joblist is no place for a password")
            if not names_a_server(url) or urlsplit(url).query or urlsplit(url).fragment:
                raise ValueError(f"endpoint_url: expected a URL as in {ENDPOINT}; found {url!r}")
        if self.user_project is not None and not _PROJECT.fullmatch(self.user_project):
            raise ValueError(
                f"user_project: expected the ID of a project; found {self.user_project!r}"
            )
        if self.user_project is not None and self.anonymous:
            raise ValueError("user_project: only a login can bill a project; found anonymous, too")
        if self.storage_class is not None and self.storage_class not in _STORAGE_CLASSES:
            raise ValueError(
                f"storage_class: expected one of {', '.join(_STORAGE_CLASSES)}; found "
                f"{self.storage_class!r}"
            )
        told = self.ca_bundle
        if told is not None and not (os.path.isabs(told) or told.startswith("~")):
            raise ValueError(f"ca_bundle: expected an absolute path; found {told!r}")
        if not 0 < self.timeout_seconds <= MAX_TIMEOUT_SECONDS:
            raise ValueError(
                f"timeout_seconds: expected a number above 0 and up to {MAX_TIMEOUT_SECONDS} (a "
                f"day); found {self.timeout_seconds:g}"
            )


class Endpoint(msgspec.Struct, frozen=True):
    """The address of a service, and whether requests to it carry a login."""

    url: str
    needs_login: bool


def endpoint_for(settings: GcsSettings, environment: Mapping[str, str]) -> Endpoint:
    """Return the endpoint: that of the settings, of the environment, or Google's.

    An emulator that the environment names gets no login. Raises ``StoreSettingsError`` for an
    address that is none, or over which no login may go.
    """
    url, needs_login = settings.endpoint_url, not settings.anonymous
    emulator = environment.get(EMULATOR, "").strip()
    if url is None and emulator:
        url, needs_login = emulator if "://" in emulator else f"http://{emulator}", False
        if not names_a_server(url):
            raise StoreSettingsError(
                f"{EMULATOR}: expected HOST:PORT, or a URL as in http://127.0.0.1:4443; found "
                f"{quote(emulator)}"
            )
    url = (url or ENDPOINT).rstrip("/")
    if needs_login:
        _require_safe(url)
    return Endpoint(url, needs_login)


def _require_safe(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
        raise StoreSettingsError(
            f"{url}: a login needs https://. Over http:// set anonymous = true in the table [gs] "
            "of joblist.toml."
        )


def require_file(environment: Mapping[str, str]) -> None:
    """Raise ``CredentialsError`` if the environment names a file of credentials that is missing."""
    path = environment.get(CREDENTIALS_FILE)
    if path and not os.path.isfile(path):
        raise CredentialsError(
            f"{CREDENTIALS_FILE}: expected a file of credentials at {quote(path)}; found none"
        )
