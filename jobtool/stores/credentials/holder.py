"""The holder of the current credentials. It renews them for all clients of a store."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from jobtool.errors import CredentialsError, JobtoolError
from jobtool.redact import redact
from jobtool.stores.credentials.provider import (
    AwsKeys,
    CredentialProvider,
    Credentials,
    CredentialScope,
    Kind,
    ProviderError,
)
from jobtool.stores.location import inside

if TYPE_CHECKING:
    import botocore.session

#: How long an S3 client may use credentials before it asks the holder again.
_CLIENT_CACHE = timedelta(minutes=5)

#: Renewal begins this long before credentials expire, or a quarter of their lifetime if that is
#: less. It begins up to half as much earlier, so that a thousand workers that started together
#: don't ask together.
_MARGIN = timedelta(minutes=10)
_JITTER = 0.5

#: How long credentials that don't expire are used for one job after the other before they are
#: fetched again, so that replaced ones are seen.
_UNENDING = timedelta(minutes=5)

#: How long a failure is reused as the answer, unless a job begins: not every thread should wait for
#: a provider that takes seconds to fail.
_FAILURE = timedelta(seconds=5)

#: What stands for no credentials: requests aren't signed.
NOBODY = AwsKeys(access_key="", secret_key="")


def _now() -> datetime:
    return datetime.now(UTC)


class CredentialHolder:
    """The current credentials, for one credential scope at a time. Thread-safe.

    The first use after renewal is due starts it in the background, before they expire. Expired
    credentials are renewed before they are used. ``on_renewal`` is called at each renewal that
    brought others. ``accepts`` are the kinds that the store takes: others are refused.
    """

    def __init__(
        self,
        provider: CredentialProvider,
        scope: CredentialScope,
        *,
        accepts: tuple[Kind, ...] = (AwsKeys,),
        on_renewal: Callable[[CredentialHolder], None] | None = None,
        now: Callable[[], datetime] = _now,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.provider = provider
        self.generation = 0  # how often credentials were fetched
        self._scope = scope
        self._accepts = accepts
        self._on_renewal = on_renewal
        self._now = now
        self._jitter = jitter
        self._fetching = threading.Lock()
        self._current: Credentials | None = None
        self._fetched_at: datetime | None = None
        self._doubted: int | None = None  # the generation that a server refused
        self._accepted = 0  # the last generation that a server accepted
        self._failure: tuple[JobtoolError, datetime] | None = None
        self._renew_at: datetime | None = None
        self._background: threading.Thread | None = None

    def begin(self, scope: CredentialScope) -> None:
        """Get credentials for another job: its own, or the current ones unless they are due.

        Credentials are due if a server has refused them, if they are about to expire, or after five
        minutes if they don't expire. Raises ``CredentialsError``.
        """
        with self._fetching:
            if self.provider.is_per_purpose or self._current is None or self._is_doubted():
                self._fetch_for(scope)
            elif self._is_due():
                try:
                    self._fetch_for(scope)
                except JobtoolError:
                    if _has_expired(self._current, self._now()):
                        raise
            self._scope = scope

    def doubt(self, seen: int) -> None:
        """Record that a server refused credentials of generation ``seen``.

        If they are the current ones still, the next job fetches new ones.
        """
        self._doubted = max(seen, self._doubted or 0)

    def accept(self, seen: int) -> None:
        """Record that a server accepted credentials of generation ``seen``, or newer ones."""
        self._accepted = max(seen, self._accepted)

    def was_accepted(self, seen: int) -> bool:
        """Return whether a server has accepted credentials of generation ``seen`` or newer ones.

        If it refuses them now, they have expired. Otherwise renewing them again wouldn't help.
        """
        return self._accepted >= seen

    def _is_doubted(self) -> bool:
        return self._doubted is not None and self._doubted >= self.generation

    def _is_due(self) -> bool:
        assert self._current is not None
        if self._renew_at is not None:
            return self._now() >= self._renew_at
        if self._current.expires_at is not None:
            return _has_expired(self._current, self._now())
        return self._fetched_at is not None and self._now() - self._fetched_at >= _UNENDING

    def reach(self, scope: CredentialScope) -> None:
        """Fetch credentials for another scope unless that of the current ones includes it.

        Raises ``CredentialsError``.
        """
        if inside(self._scope.url, scope.url) is None:
            with self._fetching:
                self._fetch_for(scope)

    def current(self) -> Credentials:
        """Return the current credentials. Raise ``CredentialsError`` if there are none."""
        seen, current = self.generation, self._current  # in this order: see ``renew``
        if current is None or (
            current.expires_at is not None and _has_expired(current, self._now())
        ):
            return self.renew(seen)
        if self._renew_at is not None and self._now() >= self._renew_at:
            self._renew_in_background()
        return current

    def renew(self, seen: int) -> Credentials:
        """Return credentials newer than generation ``seen``. Only one thread fetches them.

        Raises ``CredentialsError``.
        """
        before = None
        with self._fetching:
            if self.generation == seen or self._current is None:
                before = self._current
                if self._failure is not None and self._now() - self._failure[1] < _FAILURE:
                    error = self._failure[0]
                    raise type(error)(*error.args)  # each thread raises its own
                self._fetch()
            current = self._current
        assert current is not None
        if before not in (None, current) and self._on_renewal is not None:
            self._on_renewal(self)
        return current

    def keys(self) -> AwsKeys:
        """Return the current credentials of a store that takes AWS keys; see ``current``."""
        current = self.current()
        assert isinstance(current, AwsKeys), "the holder accepts nothing else"
        return current

    @property
    def last(self) -> Credentials:
        """The credentials fetched last, expired or not."""
        return self._current or NOBODY

    def _fetch_for(self, scope: CredentialScope) -> None:
        """Fetch credentials for another scope. If that fails, the current scope is kept."""
        before, self._scope = self._scope, scope
        try:
            self._fetch()
        except BaseException:
            self._scope = before
            raise

    def _fetch(self) -> None:
        try:
            self._fetch_anew()
        except JobtoolError as error:
            self._failure = error, self._now()
            raise
        self._failure = None
        self._fetched_at = self._now()

    def _fetch_anew(self) -> None:
        try:
            fetched = self.provider.fetch(self._scope)
        except JobtoolError:
            raise
        except Exception as error:  # a site's own provider: its message may hold a secret
            raise ProviderError(
                f"the credential provider {self.provider.name} failed with {type(error).__name__}"
            ) from None
        if fetched is not None and not isinstance(fetched, Credentials):
            raise ProviderError(
                f"the credential provider {self.provider.name} gave {type(fetched).__name__}; "
                "expected AwsKeys, BearerToken, SasToken, AccountKey or None"
            )
        given = NOBODY if fetched is None else fetched
        redact.learn(*given.secrets)
        if fetched is not None:
            require_kind(self.provider.name, (type(fetched),), self._accepts)
        if given.expires_at is not None and given.expires_at.utcoffset() is None:
            raise ProviderError(
                f"the credential provider {self.provider.name} gave an expires_at without a time "
                "zone; expected one with, such as datetime.now(UTC)"
            )
        if _has_expired(given, self._now()):
            raise ProviderError(
                f"the credential provider {self.provider.name} gave credentials that expired at "
                f"{given.expires_at:%Y-%m-%dT%H:%M:%S%z}. Renew them, or check this clock."
            )
        self._current = given
        self.generation += 1
        self._renew_at = self._time_to_renew(given)

    def _time_to_renew(self, credentials: Credentials) -> datetime | None:
        if credentials.expires_at is None or not self.provider.can_renew:
            return None
        lasts = credentials.expires_at - self._now()
        margin = min(_MARGIN, lasts / 4)
        return credentials.expires_at - margin * (1 + _JITTER * self._jitter())

    def _renew_in_background(self) -> None:
        if self._background is not None and self._background.is_alive():
            return
        seen = self.generation

        def renew() -> None:
            try:
                self.renew(seen)
            except Exception:
                # The current ones are still valid. Try again later; at their end this is raised.
                current = self._current
                if current is not None and current.expires_at is not None:
                    self._renew_at = self._now() + (current.expires_at - self._now()) / 4

        self._background = threading.Thread(target=renew, name="credentials", daemon=True)
        self._background.start()

    def for_obstore(self) -> dict[str, Any]:
        """Return the credentials in the form of obstore's ``credential_provider``."""
        current = self.keys()
        soon = self._now() + _CLIENT_CACHE
        return {
            "access_key_id": current.access_key,
            "secret_access_key": current.secret_key,
            "token": current.session_token,
            "expires_at": min(current.expires_at or soon, soon),
        }

    def botocore_session(self, *, reads_profile: bool = True) -> botocore.session.Session:
        """Return a session whose clients ask this holder at every signature.

        ``reads_profile`` says whether ``AWS_PROFILE`` applies to its other settings.
        """
        import botocore.credentials
        import botocore.session

        holder = self

        class Held(botocore.credentials.Credentials):  # type: ignore[misc,unused-ignore]
            def get_frozen_credentials(self) -> Any:
                current = holder.keys()
                return botocore.credentials.ReadOnlyCredentials(
                    current.access_key, current.secret_key, current.session_token
                )

        class Resolver:
            def load_credentials(self) -> Any:
                return Held("held", "held")  # both are looked up at each signature

        session = botocore.session.Session(
            session_vars={} if reads_profile else {"profile": (None, [], None, None)}
        )
        session.register_component("credential_provider", Resolver())
        return session


def require_kind(provider: str, given: Collection[Kind], accepts: Collection[Kind]) -> None:
    """Raise ``CredentialsError`` unless a provider gives a kind that a store takes."""
    if not set(given) & set(accepts):
        raise CredentialsError(
            f"the credential provider {provider} gives {_words(given)}; this store takes "
            f"{_words(accepts)}. Choose another provider for this side: [credentials.source] or "
            "[credentials.destination] in joblist.toml."
        )


def _words(kinds: Collection[Kind]) -> str:
    """Return the names of kinds, as in "an account key or a SAS token"."""
    names = [kind.kind if kind is AwsKeys else f"a {kind.kind}" for kind in kinds]
    return " or ".join(names).replace("a account", "an account")


def _has_expired(credentials: Credentials, now: datetime) -> bool:
    return credentials.expires_at is not None and credentials.expires_at <= now
