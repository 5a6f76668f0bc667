"""Access to S3: sessions, clients and regions that all stores of one configuration share."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
import botocore.exceptions
from botocore import UNSIGNED
from botocore.config import Config

from jobtool.errors import CredentialsError, StoreUnavailableError
from jobtool.names import quote
from jobtool.stores.credentials.aws import AWS_HOST, AnonymousProvider, profile_of
from jobtool.stores.credentials.holder import CredentialHolder
from jobtool.stores.credentials.provider import Purpose
from jobtool.stores.s3.config import S3Config

if TYPE_CHECKING:
    from obstore.store import S3Store as ObstoreBucket


class S3Access:
    """What all stores of one ``S3Config`` share: credentials, a boto3 client, obstore buckets."""

    def __init__(self, config: S3Config, holder: CredentialHolder, *, connections: int) -> None:
        self.holder = holder
        self._config = config
        self._is_signed = not isinstance(holder.provider, AnonymousProvider)
        signature = "s3v4" if self._is_signed else UNSIGNED
        self.is_lax_about_ranges = False  # found out at the first range that is read
        self._buckets: dict[str, tuple[int, ObstoreBucket]] = {}
        self._regions: dict[str, str] = {}
        session = self.holder.botocore_session()
        profile = config.profile or profile_of(holder.provider)
        if profile:  # its region and endpoint count as well
            session.set_config_variable("profile", profile)
        scoped = _scoped_config(session)
        # One for both clients: each boto3 session adds its methods to the botocore session's.
        self._session = boto3.Session(botocore_session=session)
        self._ca_bundle = (
            config.ca_bundle or os.environ.get("AWS_CA_BUNDLE") or scoped.get("ca_bundle")
        )
        if self._ca_bundle and not os.path.isfile(self._ca_bundle):
            raise StoreUnavailableError(
                f"expected a file of certificates at {quote(self._ca_bundle)}; found none. Correct "
                "[s3] ca_bundle in joblist.toml, or AWS_CA_BUNDLE."
            )
        plain = self._make_client(Config(signature_version=signature))
        self.is_aws = bool(AWS_HOST.search(urlsplit(plain.meta.endpoint_url).hostname or ""))
        self.addressing_style = (
            config.addressing_style
            or (scoped.get("s3") or {}).get("addressing_style")
            or ("auto" if self.is_aws else "path")
        )
        settings = Config(
            signature_version=signature,
            s3={"addressing_style": self.addressing_style},
            max_pool_connections=connections,
            connect_timeout=10,
            read_timeout=config.timeout_seconds,
            retries={"mode": "standard", "total_max_attempts": 3},
            **self._checksum_settings(scoped),
        )
        self.client = self._make_client(settings)
        #: For what must not be asked twice behind our back: each answer lost would leave an upload.
        self.client_asking_once = self._make_client(
            settings.merge(Config(retries={"mode": "standard", "total_max_attempts": 1}))
        )

    def _make_client(self, config: Config) -> Any:
        return self._session.client(
            "s3",
            endpoint_url=self._config.endpoint_url,
            region_name=self._config.region,
            verify=self._ca_bundle,  # None is botocore's own bundle; it is never switched off
            config=config,
        )

    def _checksum_settings(self, scoped: dict[str, Any]) -> dict[str, Any]:
        names = ("request_checksum_calculation", "response_checksum_validation")
        if self._config.checksums:
            return dict.fromkeys(names, self._config.checksums)
        told = any(f"AWS_{name.upper()}" in os.environ or name in scoped for name in names)
        return {} if told or self.is_aws else dict.fromkeys(names, "when_required")

    def begin(self, purpose: Purpose) -> None:
        """Have fresh credentials for another purpose. Raises ``CredentialsError``."""
        self.holder.begin(purpose)

    def reach(self, purpose: Purpose) -> None:
        """Have credentials that are good for another purpose. Raises ``CredentialsError``."""
        self.holder.reach(purpose)

    def renew(self, seen: int) -> None:
        """Make sure that credentials are newer than generation ``seen``.

        Raises ``CredentialsError``.
        """
        self.holder.renew(seen)

    def bucket(self, name: str) -> ObstoreBucket:
        """Return obstore's view of a bucket, with no older credentials than the holder's."""
        generation = self.holder.generation
        # obstore keeps credentials for a while, so that one opened before has the old ones.
        opened, bucket = self._buckets.get(name, (-1, None))
        if bucket is None or opened != generation:
            bucket = self._open_bucket(name)
            self._buckets[name] = generation, bucket
        return bucket

    def _open_bucket(self, name: str) -> ObstoreBucket:
        from obstore.store import S3Store as ObstoreBucket

        endpoint = urlsplit(self.client.meta.endpoint_url)
        virtual = self.addressing_style == "virtual" or (
            self.addressing_style == "auto" and "." not in name
        )
        settings: dict[str, Any] = {
            "region": self._region_of(name),
            "virtual_hosted_style_request": virtual,
        }
        if not self.is_aws:
            host = f"{name}.{endpoint.netloc}" if virtual else endpoint.netloc
            settings["endpoint"] = f"{endpoint.scheme}://{host}{endpoint.path}"
        options: dict[str, Any] = {
            "allow_http": endpoint.scheme == "http",
            "connect_timeout": timedelta(seconds=10),
            "read_timeout": timedelta(seconds=self._config.timeout_seconds),
            "timeout": timedelta(minutes=10),
        }
        if self._ca_bundle:
            with open(self._ca_bundle, "rb") as file:
                options["root_certificate"] = file.read()
        signing: dict[str, Any] = {"skip_signature": True}
        if self._is_signed:
            signing = {"credential_provider": self.holder.for_obstore}
        return ObstoreBucket(
            name,
            client_options=options,  # type: ignore[arg-type]
            # Retries on top are the transfer's; these bridge a dropped connection.
            retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=30)},
            **signing,
            **settings,
        )

    def _region_of(self, bucket: str) -> str:
        # AWS answers requests at the wrong region with a redirect, which obstore doesn't follow.
        # The answer names the region, even where it is a refusal.
        default: str = self.client.meta.region_name or "us-east-1"
        if not self.is_aws or self._config.region:
            return default
        if bucket not in self._regions:
            try:
                answer = self.client.head_bucket(Bucket=bucket)
            except botocore.exceptions.ClientError as error:
                answer = error.response
            headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
            self._regions[bucket] = str(headers.get("x-amz-bucket-region", default))
        return self._regions[bucket]


def _scoped_config(session: Any) -> dict[str, Any]:
    try:
        return dict(session.get_scoped_config())
    except botocore.exceptions.ProfileNotFound as error:
        raise CredentialsError(
            f"{error} in AWS's configuration files. Correct [s3] profile in joblist.toml, "
            "or AWS_PROFILE."
        ) from None
