"""The protocol of a credential provider.

A site adds its own as an entry point of the group ``jobtool.credentials``: a function that takes
the settings of the ``[credentials]`` table, without ``provider``, and returns a provider::

    [project.entry-points."jobtool.credentials"]
    our-site = "our_package:make_provider"
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

import msgspec

from jobtool.errors import CredentialsError

Permission = Literal["READ", "READWRITE"]


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """What signs a request. Secrets are left out of ``repr``.

    Raises ``ValueError`` for what can't be sent in a header.
    """

    access_key: str
    secret_key: str
    session_token: str | None = None
    expires_at: datetime | None = None

    def __post_init__(self) -> None:
        # The HTTP library's error for a line end in a header would show the whole value.
        for value in (self.access_key, self.session_token or ""):
            if not (value.isascii() and value.isprintable() and " " not in value):
                raise ValueError("a key's ID or a token holds white space or isn't ASCII")
        if not self.secret_key.isprintable() or self.secret_key != self.secret_key.strip():
            raise ValueError("a secret key has white space around it, or holds control characters")

    def __repr__(self) -> str:
        return f"Credentials(expires_at={self.expires_at!r})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("expires_at", self.expires_at)]

    @property
    def key_end(self) -> str:
        """The last four characters of the access key's ID, to tell keys apart in logs."""
        return self.access_key[-4:]


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
    scope only, so that source and destination can't share them.
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
