"""Credentials that a caller in Python gave: they stay in the process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from jobtool.errors import UsageError
from jobtool.stores.credentials.provider import AwsKeys, CredentialScope


class GivenProvider(msgspec.Struct, frozen=True, kw_only=True):
    """Provides the credentials that it was made with."""

    credentials: AwsKeys
    name = "given"
    can_renew = False
    is_per_purpose = False
    gives = (AwsKeys,)

    def fetch(self, scope: CredentialScope) -> AwsKeys:
        """Return the credentials."""
        return self.credentials


def given_provider(secrets: Mapping[str, Any]) -> GivenProvider:
    """Make the provider of secrets: ``access_key``, ``secret_key``, perhaps ``session_token``.

    Raises ``UsageError``, without showing them.
    """
    found = {key: secrets.get(key) for key in ("access_key", "secret_key", "session_token")}
    for key in ("access_key", "secret_key"):
        if not (isinstance(found[key], str) and found[key]):
            told = "key" if key == "access_key" else "secret"
            raise UsageError(f"s3: expected both key and secret; found no {told}")
    try:
        return GivenProvider(credentials=AwsKeys(**found))  # type: ignore[arg-type]
    except ValueError as error:
        raise UsageError(f"s3, key and secret: {error}") from None
