"""The proxy for requests: decided once for each endpoint, the same for every client."""

from __future__ import annotations

import ipaddress
import os
from urllib.parse import urlsplit

from jobtool.errors import StoreSettingsError
from jobtool.names import quote

_DEFAULT_PORTS = {"http": 80, "https": 443}


def proxy_for(url: str) -> str | None:
    """Return the URL of the proxy for requests to ``url``, or None if there is none.

    ``HTTPS_PROXY``, ``HTTP_PROXY`` and ``ALL_PROXY`` name it, in upper or lower case. ``NO_PROXY``
    names what is reached without a proxy: hosts, domains, ``host:port``, addresses, networks
    (``10.0.0.0/8``) or ``*``. Raises ``StoreSettingsError`` for a proxy that isn't an HTTP proxy.
    """
    # Not at the top: it imports HTTP, TLS and mail, which a command without S3 doesn't need.
    import urllib.request

    parts = urlsplit(url)
    told = urllib.request.getproxies()
    kind = parts.scheme if told.get(parts.scheme) else "all"
    proxy = told.get(kind)
    if not proxy or _is_excluded(parts.hostname or "", parts.port, parts.scheme, told.get("no")):
        return None
    full = proxy if "://" in proxy else f"http://{proxy.removeprefix('//')}"
    if not names_a_server(full):
        scheme = full.partition("://")[0]  # the rest may hold a password
        raise StoreSettingsError(
            f"{_variable(kind)}: expected a proxy as in http://proxy.example:3128; found one with "
            f"{quote(scheme)}://, or without a host. Correct it, or add "
            f"{quote(parts.hostname or '')} to NO_PROXY."
        )
    return full


def names_a_server(url: str) -> bool:
    """Return True if a text begins with http:// or https://, and a host."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def as_botocore(url: str, proxy: str | None) -> dict[str, str]:
    """Return the proxy for ``url`` as botocore's ``Config(proxies=...)`` takes it.

    An empty table means no proxy, whatever the environment says.
    """
    return {} if proxy is None else {urlsplit(url).scheme: proxy}


def _is_excluded(host: str, port: int | None, scheme: str, excluded: str | None) -> bool:
    import urllib.request

    named = f"{host}:{port or _DEFAULT_PORTS.get(scheme)}"
    if urllib.request.proxy_bypass(host) or urllib.request.proxy_bypass(named):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    for entry in (excluded or "").split(","):
        try:
            if address in ipaddress.ip_network(entry.strip().strip("[]"), strict=False):
                return True
        except ValueError:
            continue
    return False


def _variable(kind: str) -> str:
    names = (f"{kind}_proxy", f"{kind.upper()}_PROXY")
    return next((name for name in names if os.environ.get(name)), names[1])
