"""Tokens in documents: what commands of Azure and Google print, or programs write to a file.

Sources: ``az account get-access-token``, ``az storage container generate-sas``, ``gcloud config
config-helper --format=json``, and RFC 6749, section 5.1, for ``expires_in``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from jobtool.stores.credentials.provider import BearerToken, SasToken, parse_time

_NAMES = ("access_token", "accessToken")


def is_sas(text: str) -> bool:
    """Return whether a text may be a SAS token, perhaps in quotes."""
    return "sig=" in text and text.strip().count("\n") == 0


def sas_in(text: str) -> SasToken:
    """Return the SAS token in a text, which may be in quotes. Raises ``ValueError``."""
    return SasToken.of(text.strip().strip('"'))


def bearer_in(document: Mapping[str, Any], made_at: datetime) -> BearerToken | None:
    """Return the bearer token in a JSON object that was made at a time, or None.

    The object has ``access_token`` or ``accessToken``, itself or under ``credential``. Its end is
    in ``expires_on`` (seconds since 1970), ``expires_in`` (seconds), ``token_expiry`` (ISO 8601),
    or ``expiresOn`` (the same, in local time). Raises ``ValueError`` and ``TypeError`` for invalid
    values.
    """
    found = document.get("credential", document)
    token = next((found[name] for name in _NAMES if name in found), None)
    if token is None:
        return None
    if not isinstance(token, str):
        raise TypeError("a token that isn't text")
    return BearerToken(token=token, expires_at=_end_in(found, made_at))


def _end_in(found: Mapping[str, Any], made_at: datetime) -> datetime | None:
    try:
        if found.get("expires_on"):
            return datetime.fromtimestamp(float(found["expires_on"]), UTC)
        if found.get("expires_in"):
            return made_at + timedelta(seconds=float(found["expires_in"]))
    except (OverflowError, OSError, TypeError):
        raise ValueError("a time that isn't one") from None
    if found.get("expiresOn"):
        return datetime.fromisoformat(str(found["expiresOn"])).astimezone(UTC)
    return parse_time(found.get("token_expiry"))
