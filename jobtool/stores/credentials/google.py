"""Credential providers implemented by google-auth."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import msgspec

from jobtool.names import in_one_line, quote
from jobtool.stores.credentials.provider import (
    BearerToken,
    CredentialScope,
    ProviderError,
    parse_time,
)

#: Reading and writing objects. Source: Google, "Cloud Storage OAuth 2.0 scopes".
SCOPES = ("https://www.googleapis.com/auth/devstorage.read_write",)

_MAX_BYTES = 1024 * 1024


class _Google(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of a provider, and the provider itself."""

    can_renew = True
    is_per_purpose = False
    gives = (BearerToken,)


class GoogleChainProvider(_Google, frozen=True, kw_only=True):
    """Google's default chain: ``GOOGLE_APPLICATION_CREDENTIALS``, gcloud's login, the machine's."""

    name = "default"

    def fetch(self, scope: CredentialScope) -> BearerToken:
        """Walk the chain again and get a token."""
        import google.auth
        from google.auth.exceptions import DefaultCredentialsError

        try:
            found, _ = google.auth.default(scopes=SCOPES)
        except DefaultCredentialsError as error:
            raise ProviderError(
                "expected Google's credentials in the environment, a login of gcloud or this "
                "machine's service account; found none. Run 'gcloud auth application-default "
                "login', set GOOGLE_APPLICATION_CREDENTIALS, or name a file: [credentials] in "
                f"joblist.toml. ({_said(error)})"
            ) from None
        return _token_of(found, "Google's credential chain")


class GoogleFileProvider(_Google, frozen=True, kw_only=True):
    """A file of Google: the key of a service account, or the configuration of another login.

    Such are workload identity federation (``external_account``), impersonation, and a user's login.
    It is read again at each renewal.
    """

    path: str
    name = "google-file"

    def fetch(self, scope: CredentialScope) -> BearerToken:
        """Read the file and get a token."""
        shown = quote(self.path)
        try:
            with open(os.path.expanduser(self.path), "rb") as file:
                information = json.loads(file.read(_MAX_BYTES))
            made = _credentials_in(information)
        except OSError as error:
            raise ProviderError(
                f"can't read Google's credentials from {shown}: {error.strerror}"
            ) from None
        except Exception:  # the library's messages may repeat the file
            made = None
        if made is None:
            raise ProviderError(
                f"expected a key or a configuration of Google in {shown}: JSON with a type such as "
                "service_account or external_account, and the fields of that type; found something "
                "else. Get it again, as by 'gcloud iam'."
            )
        return _token_of(made, f"the server that {shown} names")


def _credentials_in(found: Mapping[str, Any]) -> Any:
    """Make the library's credentials of a file's JSON, by its type. None for another type.

    Source: Google, "AIP-4110: Application Default Credentials" and "AIP-4117".
    """
    kind = found.get("type")
    if kind == "service_account":
        from google.oauth2.service_account import Credentials as Key

        return Key.from_service_account_info(found, scopes=SCOPES)
    if kind == "authorized_user":
        from google.oauth2.credentials import Credentials as User

        return User.from_authorized_user_info(found, scopes=SCOPES)
    if kind == "impersonated_service_account":
        from google.auth.impersonated_credentials import Credentials as Impersonated

        return Impersonated.from_impersonated_service_account_info(found, scopes=SCOPES)
    if kind == "external_account":
        from google.auth import aws, identity_pool, pluggable

        source = found.get("credential_source", {})
        if "environment_id" in source:
            return aws.Credentials.from_info(found, scopes=SCOPES)
        if "executable" in source:  # google-auth runs it only if the environment allows that
            return pluggable.Credentials.from_info(found, scopes=SCOPES)
        return identity_pool.Credentials.from_info(found, scopes=SCOPES)
    return None


def _token_of(credentials: Any, whom: str) -> BearerToken:
    """Get a token. Raises ``ProviderError``."""
    from google.auth.exceptions import GoogleAuthError
    from google.auth.transport.requests import Request

    try:
        credentials.refresh(Request())
        return BearerToken(token=credentials.token, expires_at=parse_time(credentials.expiry))
    except (GoogleAuthError, OSError, ValueError, TypeError) as error:
        raise ProviderError(f"can't get a token from {whom}: {_said(error)}") from None


def _said(error: Exception) -> str:
    """Return the first text of an error, whose others may be an answer as it came.

    Of a refusal it is the code: what the server says beside it may repeat what was sent.
    """
    from google.auth.exceptions import RefreshError

    text = str(error.args[0]) if error.args else type(error).__name__
    end = ":" if isinstance(error, RefreshError) else "\n"
    return in_one_line(text.partition(end)[0], most=300)
