"""Credential providers implemented by azure-identity."""

from __future__ import annotations

import functools
import os
from datetime import UTC, datetime
from typing import Any

import msgspec

from jobtool.names import in_one_line, quote
from jobtool.stores.credentials.provider import BearerToken, CredentialScope, ProviderError

#: What tokens are for. Source: Microsoft, "Authorize access to blobs using Microsoft Entra ID".
SCOPE = "https://storage.azure.com/.default"


class AzureWorkloadIdentityProvider(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """Workload identity: an application of Entra ID, with an identity provider's token from a file.

    What isn't given is taken from ``AZURE_TENANT_ID``, ``AZURE_CLIENT_ID``,
    ``AZURE_FEDERATED_TOKEN_FILE`` and ``AZURE_AUTHORITY_HOST``, as Kubernetes sets them.
    """

    tenant_id: str | None = None
    client_id: str | None = None
    identity_file: str | None = None
    authority_host: str | None = None
    name = "azure-workload-identity"
    can_renew = True
    is_per_purpose = False
    gives = (BearerToken,)

    def fetch(self, scope: CredentialScope) -> BearerToken:
        """Read the file again and exchange its token for one of Entra ID."""
        from azure.identity import ClientAssertionCredential

        path = self._told(self.identity_file, "identity_file", "AZURE_FEDERATED_TOKEN_FILE")
        tenant = self._told(self.tenant_id, "tenant_id", "AZURE_TENANT_ID")
        client = self._told(self.client_id, "client_id", "AZURE_CLIENT_ID")
        host = self.authority_host or os.environ.get("AZURE_AUTHORITY_HOST")
        try:
            with open(os.path.expanduser(path), encoding="ascii") as file:
                assertion = file.read().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ProviderError(
                f"can't read the identity token in {quote(path)}: "
                f"{getattr(error, 'strerror', None) or 'it is not text'}"
            ) from None
        options: dict[str, Any] = {}
        if host:
            # An authority that is named needn't be known to Microsoft's public directory.
            options = {"authority": host, "disable_instance_discovery": True}
        try:
            made = ClientAssertionCredential(tenant, client, lambda: assertion, **options)
        except ValueError as error:
            raise ProviderError(f"azure-workload-identity: {in_one_line(str(error))}") from None
        return token_of(made, f"Entra ID for application {quote(client)}")

    def _told(self, setting: str | None, name: str, variable: str) -> str:
        found = setting or os.environ.get(variable)
        if not found:
            raise ProviderError(
                f"expected {name} in [credentials], or {variable} in the environment; found neither"
            )
        return found


@functools.cache
def default_login() -> Any:
    """Return the login that ``DefaultAzureCredential`` finds. It is found once in a process."""
    from azure.identity import DefaultAzureCredential

    return DefaultAzureCredential()


def token_of(login: Any, whom: str) -> BearerToken:
    """Get a token for Azure Storage. Raises ``ProviderError``."""
    from azure.core.exceptions import AzureError

    try:
        found = login.get_token(SCOPE)
        ends = datetime.fromtimestamp(found.expires_on, UTC)
        return BearerToken(token=found.token, expires_at=ends)
    except (AzureError, OSError, ValueError) as error:
        said = str(getattr(error, "message", None) or error).partition("\n")[0]
        raise ProviderError(
            f"can't get a token from {whom}: {in_one_line(said, most=300)}"
        ) from None
