"""Pools of HTTP connections that any thread may use, for the stores that send requests by urllib3.

They try nothing again, since jobtool does, and take the proxy that ``proxies`` names.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3.util import Timeout, make_headers

from jobtool.errors import StoreSettingsError
from jobtool.names import quote

CONNECT_SECONDS = 10

#: How much is read from and written to a socket at a time, where http.client takes 8 KiB.
SOCKET_BYTES = 1024 * 1024

_BUNDLE_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


def make_pool(
    *, proxy: str | None, trusted: Mapping[str, str], connections: int, timeout_seconds: float
) -> urllib3.PoolManager:
    """Return a pool. ``trusted`` is what ``trusted_in`` returns."""
    options: dict[str, Any] = {
        "maxsize": max(connections, 1),
        "retries": False,
        "timeout": Timeout(connect=CONNECT_SECONDS, read=timeout_seconds),
        "blocksize": SOCKET_BYTES,
        **trusted,
    }
    if proxy is None:
        return urllib3.PoolManager(**options)
    user = urlsplit(proxy)
    login = f"{unquote(user.username or '')}:{unquote(user.password or '')}"
    try:
        told = make_headers(proxy_basic_auth=login)
    except UnicodeEncodeError:
        raise StoreSettingsError(
            f"the proxy {quote(user.hostname or '')}: expected a login of characters of Latin-1, "
            "which its header can hold; found others. Change the login in the proxy's URL."
        ) from None
    return urllib3.ProxyManager(proxy, proxy_headers=told if user.username else None, **options)


def ca_bundle_for(ca_bundle: str | None, environment: Mapping[str, str]) -> str | None:
    """Return the file of certificates to trust, or None for the usual ones.

    ``ca_bundle`` is the setting of that name. Raises ``StoreSettingsError`` if the file isn't
    there.
    """
    told, name = ca_bundle and os.path.expanduser(ca_bundle), "ca_bundle"
    for variable in _BUNDLE_VARIABLES:
        if not told:
            told, name = environment.get(variable), variable
    if told and not os.path.exists(told):
        raise StoreSettingsError(
            f"expected a file of certificates at {quote(told)}; found none. Correct {name}."
        )
    return told or None


def trusted_in(bundle: str) -> dict[str, str]:
    """Return urllib3's setting for a file or folder of certificates."""
    return {"ca_cert_dir" if os.path.isdir(bundle) else "ca_certs": bundle}
