"""Credentials that a caller in Python gave: they stay in the process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from jobtool.errors import UsageError
from jobtool.stores.credentials.provider import AwsKeys, BearerToken, CredentialScope


class GivenProvider(msgspec.Struct, frozen=True, kw_only=True):
    """Provides the credentials that it was made with."""

    credentials: AwsKeys | BearerToken
    name = "given"
    can_renew = False
    is_per_purpose = False

    @property
    def gives(self) -> tuple[type[AwsKeys] | type[BearerToken], ...]:
        """The kind of the credentials."""
        return (type(self.credentials),)

    def fetch(self, scope: CredentialScope) -> AwsKeys | BearerToken:
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


def given_token(secrets: Mapping[str, Any]) -> GivenProvider:
    """Make the provider of a ``token`` of Google's. Raises ``UsageError``, without showing it."""
    token = secrets.get("token")
    if not isinstance(token, str):
        raise UsageError(
            "gs, token: expected an access token, or the path of a service account's file; found a "
            f"{type(token).__name__}"
        )
    try:
        return GivenProvider(credentials=BearerToken(token=token))
    except ValueError as error:
        raise UsageError(f"gs, token: {error}") from None
