"""The protocol of a credential provider.

A site adds its own as an entry point of the group ``jobtool.credentials``: a function that takes
the settings of the ``[credentials]`` table, without ``provider``, and returns a provider::

    [project.entry-points."jobtool.credentials"]
    our-site = "our_package:make_provider"
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, Protocol
from urllib.parse import unquote

import msgspec

from jobtool.errors import CredentialsError

Permission = Literal["READ", "READWRITE"]


class _Secret(msgspec.Struct, frozen=True, kw_only=True):
    """What every kind of credentials has. Secrets are left out of ``repr``.

    ``kind`` is a word for messages and logs. ``secrets`` must not be shown anywhere.
    """

    expires_at: datetime | None = None

    kind = "credentials"

    def __repr__(self) -> str:
        return f"{type(self).__name__}(expires_at={self.expires_at!r})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("expires_at", self.expires_at)]

    @property
    def secrets(self) -> tuple[str | None, ...]:
        """The texts that must not be shown."""
        return ()

    @property
    def shown(self) -> str:
        """What may be shown to tell credentials apart in logs: by default, their kind."""
        return self.kind.replace(" ", "-")


class AwsKeys(_Secret, frozen=True, kw_only=True):
    """Keys of AWS or of another S3 server, which sign requests.

    Raises ``ValueError`` for what can't be sent in a header.
    """

    access_key: str
    secret_key: str
    session_token: str | None = None

    kind = "AWS keys"

    def __post_init__(self) -> None:
        # The HTTP library's error for a line end in a header would show the whole value.
        for value in (self.access_key, self.session_token or ""):
            if not _is_for_header(value):
                raise ValueError("a key's ID or a token holds white space or isn't ASCII")
        if not self.secret_key.isprintable() or self.secret_key != self.secret_key.strip():
            raise ValueError("a secret key has white space around it, or holds control characters")

    @property
    def secrets(self) -> tuple[str | None, ...]:
        """The secret key and the session token."""
        return self.secret_key, self.session_token

    @property
    def shown(self) -> str:
        """The last four characters of the access key's ID."""
        return self.access_key[-4:]


class BearerToken(_Secret, frozen=True, kw_only=True):
    """An OAuth access token, as Google and Microsoft Entra ID issue them.

    Raises ``ValueError`` for what can't be sent in a header.
    """

    token: str

    kind = "bearer token"

    def __post_init__(self) -> None:
        if not (self.token and _is_for_header(self.token)):
            raise ValueError("a token is empty, holds white space or isn't ASCII")

    @property
    def secrets(self) -> tuple[str | None, ...]:
        """The token."""
        return (self.token,)


class SasToken(_Secret, frozen=True, kw_only=True):
    """A shared access signature of Azure: the query of a URL, without ``?``.

    Raises ``ValueError`` for what isn't one.
    """

    token: str

    kind = "SAS token"

    def __post_init__(self) -> None:
        if not (_is_for_header(self.token) and "sig" in self._fields):
            raise ValueError("a SAS token has no sig=, holds white space or isn't ASCII")

    @property
    def _fields(self) -> dict[str, str]:
        pairs = (field.partition("=") for field in self.token.split("&"))
        return {name: value for name, _, value in pairs}

    @property
    def secrets(self) -> tuple[str | None, ...]:
        """The token, and its signature, which could be shown without the rest."""
        return self.token, self._fields["sig"]

    @classmethod
    def of(cls, text: str) -> SasToken:
        """Make one of a text, which may begin with ``?``. Its field ``se`` says when it ends.

        Source: Microsoft, "Create a service SAS", signedExpiry. Raises ``ValueError``.
        """
        made = cls(token=text.strip().removeprefix("?"))
        return cls(token=made.token, expires_at=parse_time(unquote(made._fields.get("se", ""))))


class AccountKey(_Secret, frozen=True, kw_only=True):
    """A key of an Azure storage account, in base64. Raises ``ValueError`` for other text."""

    key: str

    kind = "account key"

    def __post_init__(self) -> None:
        base64.b64decode(self.key, validate=True)

    @property
    def secrets(self) -> tuple[str | None, ...]:
        """The key."""
        return (self.key,)


#: What a provider may give. A store takes some of these kinds.
Credentials = AwsKeys | BearerToken | SasToken | AccountKey

#: A kind of credentials.
Kind = type[AwsKeys] | type[BearerToken] | type[SasToken] | type[AccountKey]


class CredentialScope(msgspec.Struct, frozen=True, kw_only=True):
    """The use of credentials: the job's name, the URL it works below, and reading or writing."""

    job: str
    url: str
    permission: Permission


class ProviderError(CredentialsError):
    """A provider gave no credentials. It may give some later."""


class CredentialProvider(Protocol):
    """A source of credentials.

    ``name`` is a word for logs. ``can_renew`` says whether another ``fetch`` may bring credentials
    that last longer. ``is_per_purpose`` says whether credentials are valid for their credential
    scope only, so that source and destination can't share them. It may have ``gives``: the kinds of
    credentials that it may return, so that a store which takes no such kind is refused at once.
    """

    @property
    def name(self) -> str:
        """A word for logs."""

    @property
    def can_renew(self) -> bool:
        """Whether another fetch may bring credentials that last longer."""

    @property
    def is_per_purpose(self) -> bool:
        """Whether credentials are valid for their credential scope only."""

    def fetch(self, scope: CredentialScope) -> Credentials | None:
        """Fetch new credentials. Return None for unsigned requests.

        Raises ``ProviderError``, whose message must not hold a secret.
        """


#: Makes a provider from its settings. Raises ``UsageError`` for invalid settings.
ProviderFactory = Callable[[Mapping[str, Any]], CredentialProvider]


def _is_for_header(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


def parse_time(text: object) -> datetime | None:
    """Parse a time in ISO 8601, as AWS writes it. Return None if there is none.

    Raises ``ValueError``.
    """
    if text in (None, ""):
        return None
    if isinstance(text, datetime):
        return text if text.tzinfo else text.replace(tzinfo=UTC)
    found = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    return found if found.tzinfo else found.replace(tzinfo=UTC)
