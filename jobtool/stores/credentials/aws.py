"""Credential providers implemented by AWS's library: its chain, STS, S3 Access Grants."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import msgspec

from jobtool.names import quote
from jobtool.stores.credentials.provider import (
    AwsKeys,
    CredentialScope,
    Kind,
    Permission,
    ProviderError,
    parse_time,
)
from jobtool.stores.credentials.sessions import (
    address_by_one_name,
    asking,
    client_of,
    session_of,
)
from jobtool.stores.location import join, scheme_of

_NOT_IN_A_SESSION_NAME = re.compile(r"[^A-Za-z0-9_+=,.@-]")

#: What STS and Access Grants allow for, in seconds.
_STS_SECONDS = msgspec.Meta(ge=900, le=43200)


class _Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of a provider, and the provider itself."""

    can_renew = True
    is_per_purpose = False
    gives: ClassVar[tuple[Kind, ...]] = (AwsKeys,)


class ChainProvider(_Settings, frozen=True, kw_only=True):
    """AWS's default chain: environment, files, single sign-on, the machine's role.

    Without ``profile`` a store of another service uses its own default chain instead.
    """

    profile: str | None = None

    @property
    def name(self) -> str:
        """A word for logs."""
        return "profile" if self.profile else "default"

    def fetch(self, scope: CredentialScope) -> AwsKeys:
        """Walk the chain again, so that a rewritten credentials file is seen."""
        return _from_session(session_of(self.profile))


class ProfileProvider(ChainProvider, frozen=True, kw_only=True):
    """One profile of AWS's files, whatever it uses: a role, single sign-on, a process."""

    profile: str


class EnvironmentProvider(_Settings, frozen=True, kw_only=True):
    """AWS's environment variables and nothing else."""

    name = "environment"
    can_renew = False

    def fetch(self, scope: CredentialScope) -> AwsKeys:
        """Read ``AWS_ACCESS_KEY_ID`` and its companions."""
        key, secret = (
            os.environ.get(name, "") for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        )
        if not (key and secret):
            raise ProviderError(
                "expected AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment; found "
                f"no {'AWS_SECRET_ACCESS_KEY' if key else 'AWS_ACCESS_KEY_ID'}. Export both, or "
                "choose another provider."
            )
        try:
            expires_at = parse_time(os.environ.get("AWS_CREDENTIAL_EXPIRATION"))
        except ValueError:
            expires_at = None
        token = os.environ.get("AWS_SESSION_TOKEN") or None
        with asking("the environment"):
            return AwsKeys(
                access_key=key, secret_key=secret, session_token=token, expires_at=expires_at
            )


class AssumeRoleProvider(_Settings, frozen=True, kw_only=True):
    """A role, assumed by STS with the credentials of the chain or of a profile."""

    role_arn: str
    profile: str | None = None
    external_id: str | None = None
    duration_seconds: Annotated[int, _STS_SECONDS] | None = None
    region: str | None = None
    endpoint_url: str | None = None
    name = "assume-role"

    def fetch(self, scope: CredentialScope) -> AwsKeys:
        """Assume the role. The session is named after the job."""
        arguments = {
            "RoleArn": self.role_arn,
            "RoleSessionName": session_name(scope.job),
            "ExternalId": self.external_id,
            "DurationSeconds": self.duration_seconds,
        }
        with asking(f"STS for role {quote(self.role_arn)}", self.profile):
            client = client_of(self, "sts")
            return _from_answer(client.assume_role(**_without_none(arguments)))


class WebIdentityProvider(_Settings, frozen=True, kw_only=True):
    """A role, assumed by STS with an identity provider's token from a file."""

    role_arn: str
    identity_file: str
    duration_seconds: Annotated[int, _STS_SECONDS] | None = None
    region: str | None = None
    endpoint_url: str | None = None
    profile = None
    name = "web-identity"

    def fetch(self, scope: CredentialScope) -> AwsKeys:
        """Read the file again and assume the role."""
        try:
            with open(os.path.expanduser(self.identity_file), encoding="ascii") as file:
                token = file.read().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ProviderError(
                f"can't read the identity token in {quote(self.identity_file)}: "
                f"{getattr(error, 'strerror', None) or 'it is not text'}"
            ) from None
        arguments = {
            "RoleArn": self.role_arn,
            "RoleSessionName": session_name(scope.job),
            "WebIdentityToken": token,
            "DurationSeconds": self.duration_seconds,
        }
        with asking(f"STS for role {quote(self.role_arn)}"):
            client = client_of(self, "sts", unsigned=True)
            return _from_answer(client.assume_role_with_web_identity(**_without_none(arguments)))


class AccessGrantsProvider(_Settings, frozen=True, kw_only=True):
    """S3 Access Grants: credentials for the job's own prefix only.

    Source: AWS, "S3 Access Grants", GetDataAccess; the target ends in ``*``.
    """

    account_id: str
    permission: Permission | None = None
    profile: str | None = None
    duration_seconds: Annotated[int, _STS_SECONDS] | None = None
    region: str | None = None
    endpoint_url: str | None = None
    name = "access-grants"
    is_per_purpose = True

    def fetch(self, scope: CredentialScope) -> AwsKeys:
        """Request access to everything below the scope's URL."""
        if scheme_of(scope.url) != "s3":
            raise ProviderError(
                "S3 Access Grants are for one prefix, and the files of job "
                f"{quote(scope.job)} have no common s3:// prefix. Make jobs that stay in one "
                "bucket, or choose another provider."
            )
        target = join(scope.url, "*")
        arguments = {
            "AccountId": self.account_id,
            "Target": target,
            "Permission": self.permission or scope.permission,
            "DurationSeconds": self.duration_seconds,
        }
        with asking(f"S3 Access Grants for {quote(target)}", self.profile):
            client = client_of(self, "s3control")
            address_by_one_name(client, self.account_id)
            return _from_answer(client.get_data_access(**_without_none(arguments)))


class AnonymousProvider(_Settings, frozen=True, kw_only=True):
    """No credentials: requests aren't signed, as public buckets allow."""

    name = "anonymous"
    gives = ()

    def fetch(self, scope: CredentialScope) -> None:
        """Return none."""


def is_default(provider: object) -> bool:
    """Return whether a provider stands for the default chain of each store's own service."""
    return isinstance(provider, ChainProvider) and provider.profile is None


def profile_of(provider: object) -> str | None:
    """Return the profile of AWS's files that a provider uses. A ``file``'s section isn't one."""
    found = getattr(provider, "profile", None) if isinstance(provider, _Settings) else None
    return found if isinstance(found, str) else None


def session_name(job: str) -> str:
    """Return a job's name as a session name of STS: 2 to 64 of certain characters."""
    return _NOT_IN_A_SESSION_NAME.sub("-", f"jobtool-{job}")[:64]


def credentials_of(key: object, secret: object, token: object, expires: object) -> AwsKeys:
    """Make credentials from the fields of a document. Raise ``ValueError`` for invalid ones."""
    if not (isinstance(key, str) and isinstance(secret, str) and key and secret):
        raise ValueError("no access key, or no secret one")
    return AwsKeys(
        access_key=key,
        secret_key=secret,
        session_token=str(token) if token else None,
        expires_at=parse_time(expires),
    )


def _from_answer(answer: Mapping[str, Any]) -> AwsKeys:
    found = answer["Credentials"]
    return credentials_of(
        found.get("AccessKeyId"),
        found.get("SecretAccessKey"),
        found.get("SessionToken"),
        found.get("Expiration"),
    )


def _from_session(session: Any) -> AwsKeys:
    with asking("AWS's credential chain", session.profile or "default"):
        found = session.get_credentials()
        frozen = None if found is None else found.get_frozen_credentials()
        if found is not None and frozen is not None and frozen.access_key and frozen.secret_key:
            return AwsKeys(
                access_key=frozen.access_key,
                secret_key=frozen.secret_key,
                session_token=frozen.token,
                expires_at=getattr(found, "_expiry_time", None),
            )
    raise ProviderError(
        "expected AWS credentials in the environment, AWS's files or this machine's role; "
        "found none. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, log in, or "
        "name a profile: [credentials] in joblist.toml."
    )


def _without_none(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if value is not None}
