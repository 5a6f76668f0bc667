"""Where S3 credentials come from, and one holder that feeds both S3 clients."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from jobtool.errors import CredentialsError
from jobtool.names import quote

if TYPE_CHECKING:
    import botocore.session

#: How long an S3 client may use credentials before it asks the holder again.
_CLIENT_CACHE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What signs a request. Secrets are left out of ``repr``."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    expires_at: datetime | None = None


class CredentialProvider(Protocol):
    """A source of credentials."""

    @property
    def name(self) -> str:
        """A word for logs."""

    def fetch(self) -> Credentials:
        """Get credentials afresh; raises ``CredentialsError``."""


class ChainProvider:
    """AWS's default chain, or one of its profiles: environment, files, SSO, instance roles."""

    def __init__(self, profile: str | None = None) -> None:
        self._profile = profile
        self.name = "profile" if profile else "default"

    def fetch(self) -> Credentials:
        """Walk the chain anew, so that a rewritten credentials file is seen."""
        import boto3
        import botocore.exceptions

        try:
            found = boto3.Session(profile_name=self._profile).get_credentials()
            frozen = None if found is None else found.get_frozen_credentials()
        except botocore.exceptions.ProfileNotFound:
            raise CredentialsError(
                f"expected an AWS profile {quote(self._profile or '')} in AWS's configuration "
                "files; found none. Correct [s3] profile in joblist.toml, or AWS_PROFILE."
            ) from None
        except botocore.exceptions.BotoCoreError as error:
            raise CredentialsError(f"can't get AWS credentials: {error}") from None
        if found is None or frozen is None or not (frozen.access_key and frozen.secret_key):
            raise CredentialsError(
                "expected AWS credentials in the environment, AWS's files or this machine's role; "
                "found none. Log in, set AWS_PROFILE, or name a profile: [s3] profile in "
                "joblist.toml."
            )
        return Credentials(
            access_key=frozen.access_key,
            secret_key=frozen.secret_key,
            session_token=frozen.token,
            expires_at=getattr(found, "_expiry_time", None),
        )


class CredentialHolder:
    """The credentials in force, shared by every client of one side. Threads may use it at once."""

    def __init__(self, provider: CredentialProvider) -> None:
        self.provider = provider
        self._lock = threading.Lock()
        self._current: Credentials | None = None

    def refresh(self) -> Credentials:
        """Fetch credentials from the provider; both clients use them from then on."""
        fetched = self.provider.fetch()
        with self._lock:
            self._current = fetched
        return fetched

    def current(self) -> Credentials:
        """Return the credentials in force, fetching the first and those that have expired."""
        with self._lock:
            current = self._current
        if current is None or _has_expired(current):
            return self.refresh()
        return current

    def for_obstore(self) -> dict[str, Any]:
        """Return the credentials as obstore's ``credential_provider`` gives them."""
        current = self.current()
        soon = datetime.now(UTC) + _CLIENT_CACHE
        return {
            "access_key_id": current.access_key,
            "secret_access_key": current.secret_key,
            "token": current.session_token,
            "expires_at": min(current.expires_at or soon, soon),
        }

    def botocore_session(self) -> botocore.session.Session:
        """Return a session whose clients ask this holder at every signature."""
        import botocore.credentials
        import botocore.session

        holder = self

        class Held(botocore.credentials.Credentials):  # type: ignore[misc,unused-ignore]
            def get_frozen_credentials(self) -> Any:
                current = holder.current()
                return botocore.credentials.ReadOnlyCredentials(
                    current.access_key, current.secret_key, current.session_token
                )

        class Resolver:
            def load_credentials(self) -> Any:
                return Held("held", "held")  # both are looked up at each signature

        session = botocore.session.Session()
        session.register_component("credential_provider", Resolver())
        return session


def _has_expired(credentials: Credentials) -> bool:
    return credentials.expires_at is not None and credentials.expires_at <= datetime.now(UTC)
