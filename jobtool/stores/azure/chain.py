"""Azure's default credentials: the key or SAS token of an account, else a login."""

from __future__ import annotations

import msgspec

from jobtool.errors import CredentialsError
from jobtool.stores.azure.config import Account
from jobtool.stores.credentials.azure import default_login, token_of
from jobtool.stores.credentials.provider import (
    AccountKey,
    Credentials,
    CredentialScope,
    ProviderError,
    SasToken,
)


class AzureChainProvider(msgspec.Struct, frozen=True, kw_only=True):
    """What the environment says of an account, else the login of ``DefaultAzureCredential``.

    Raises ``CredentialsError`` for a key or SAS token that isn't one.
    """

    account: Account
    is_per_purpose = False

    def __post_init__(self) -> None:
        self._told()

    @property
    def name(self) -> str:
        """A word for logs."""
        return "anonymous" if self.account.anonymous else "default"

    @property
    def can_renew(self) -> bool:
        """Whether it is a login: the environment stays as it is."""
        return self.account.is_by_login

    def fetch(self, scope: CredentialScope) -> Credentials | None:
        """Return the account's key or SAS token, or a token of the login."""
        if not self.account.is_by_login:
            return self._told()
        try:
            return token_of(default_login(), "DefaultAzureCredential")
        except ProviderError as error:
            raise ProviderError(
                "there is no login to use: run az login, or set AZURE_STORAGE_KEY, "
                f"AZURE_STORAGE_SAS_TOKEN or AZURE_STORAGE_CONNECTION_STRING ({error})"
            ) from None

    def _told(self) -> Credentials | None:
        """Return the account's key or SAS token, or None. Raises ``CredentialsError``."""
        account = self.account
        try:
            if account.key:
                return AccountKey(key=account.key)
            return SasToken.of(account.sas) if account.sas else None
        except ValueError:
            what, like = ("key", "base64") if account.key else ("SAS token", "a query with sig=")
            raise CredentialsError(
                f"the account's {what} isn't one: expected {like}, as the portal shows it. Correct "
                "AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN or AZURE_STORAGE_CONNECTION_STRING."
            ) from None
