"""A resolved connection to an S3 service, from which both clients are made.

botocore resolves it from ``[s3]``, the environment and AWS's files. The settings of one bucket
(host, style, the region that signs) are read from a request that boto3 is about to send. So
obstore gets an exact URL and resolves nothing itself.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import botocore.exceptions
import msgspec
from botocore.httpsession import get_cert_path

from jobtool.errors import (
    CredentialsError,
    JobtoolError,
    StoreSettingsError,
)
from jobtool.names import in_one_line, quote
from jobtool.stores.credentials.sessions import AWS_HOST, unreadable_config
from jobtool.stores.proxies import proxy_for
from jobtool.stores.s3.arguments import Arguments, arguments_of
from jobtool.stores.s3.config import S3Config, is_endpoint
from jobtool.stores.webaddress import is_this_machine

_CHECKSUMS = ("request_checksum_calculation", "response_checksum_validation")


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """How requests reach a service.

    ``ca_bundle`` is a file of certificates to trust instead of the usual ones, and ``proxy`` the
    URL of an HTTP proxy. ``checksums`` are botocore's settings of that name. If it is empty, its
    defaults apply. ``arguments`` are added to requests.
    """

    endpoint_url: str
    is_aws: bool
    is_signed: bool
    addressing_style: str
    ca_bundle: str | None
    proxy: str | None
    checksums: Mapping[str, str]
    arguments: Arguments
    timeout_seconds: float

    @property
    def trusted_path(self) -> str:
        """The file of certificates to verify the server's certificate."""
        return str(get_cert_path(self.ca_bundle or True))


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """Where boto3 sends requests for one bucket: its URL and its signature.

    ``extra_headers`` are S3 headers that a plain signed request doesn't have.
    """

    url: str
    is_signed: bool
    service: str | None
    region: str | None
    extra_headers: frozenset[str]


def resolve(config: S3Config, session: Any, endpoint_url: str, *, is_signed: bool) -> Connection:
    """Resolve the settings common to all buckets of a service whose endpoint is known.

    Raises ``StoreSettingsError`` that names the setting, and ``StoreUnavailableError``.
    """
    _require_url(endpoint_url, config)
    proxy = proxy_for(endpoint_url)
    if config.customer_key_file:
        _require_encrypted(endpoint_url, proxy)
    scoped = session.get_scoped_config()
    is_aws = bool(AWS_HOST.search(urlsplit(endpoint_url).hostname or ""))
    style = scoped.get("s3", {}).get("addressing_style")
    return Connection(
        endpoint_url=endpoint_url,
        is_aws=is_aws,
        is_signed=is_signed,
        addressing_style=config.addressing_style or style or ("auto" if is_aws else "path"),
        ca_bundle=_ca_bundle(config, session) if endpoint_url.startswith("https:") else None,
        proxy=proxy,
        checksums=_checksums(config, scoped, is_aws=is_aws),
        arguments=arguments_of(config),
        timeout_seconds=config.timeout_seconds,
    )


def address_of(request: Any, key: str) -> Address:
    """Return the address of a request for ``key``, from its URL and its signature."""
    parts = urlsplit(request.url)
    url = f"{parts.scheme}://{parts.netloc}{parts.path}".removesuffix(f"/{key}")
    headers = {name.lower(): _text(value) for name, value in request.headers.items()}
    service = region = None
    scope = headers.get("authorization", "").partition("Credential=")[2].partition(",")[0]
    if scope:  # KEY/20261120/eu-west-1/s3/aws4_request
        region, service = scope.split("/")[-3:-1]
    usual = {"x-amz-date", "x-amz-content-sha256", "x-amz-security-token"}
    extra = {name for name in headers if name.startswith("x-amz-")} - usual
    return Address(
        url=url,
        is_signed="authorization" in headers,
        service=service,
        region=region,
        extra_headers=frozenset(extra),
    )


def settings_error(error: Exception, config: S3Config) -> JobtoolError:
    """Return jobtool's error for botocore's configuration error. It names the setting."""
    if isinstance(error, botocore.exceptions.ProfileNotFound):
        return CredentialsError(
            f"{error} in AWS's configuration files. Correct [s3] profile in joblist.toml, "
            "or AWS_PROFILE."
        )
    if isinstance(error, botocore.exceptions.ConfigParseError):
        return unreadable_config(error)
    if isinstance(error, botocore.exceptions.InvalidRegionError):
        name = _named(config.region, "region", "AWS_DEFAULT_REGION")  # not AWS_REGION
        return StoreSettingsError(
            f"{name}: expected a region as in us-east-1, without blanks; found "
            f"{error.kwargs.get('region_name')!r}"
        )
    if isinstance(error, ValueError) and "endpoint" in str(error).lower():
        return _bad_endpoint(str(error).rpartition(": ")[2], config)
    said = in_one_line(str(error), most=300)
    return StoreSettingsError(f"AWS's configuration (environment or files) can't be used: {said}")


def _require_url(endpoint_url: str, config: S3Config) -> None:
    if not is_endpoint(endpoint_url):
        raise _bad_endpoint(endpoint_url, config)
    parts = urlsplit(endpoint_url)
    if parts.username or parts.password:
        raise StoreSettingsError(
            f"{_endpoint_setting(config)} holds a user or a password. Use AWS's credentials file."
        )


def _require_encrypted(endpoint_url: str, proxy: str | None) -> None:
    """Refuse to send the key of SSE-C in the clear over a network (AWS, "Using SSE-C")."""
    parts = urlsplit(endpoint_url)
    if parts.scheme == "https" or (proxy is None and is_this_machine(parts.hostname or "")):
        return
    through = "" if proxy is None else ", through a proxy"
    raise StoreSettingsError(
        "[s3] customer_key_file: expected an endpoint with https://, since each request carries "
        f"the key; found {quote(endpoint_url)}{through}. Use https, or remove the key."
    )


def _bad_endpoint(found: str, config: S3Config) -> StoreSettingsError:
    shown = "one with a user or password" if "@" in found else quote(found)
    return StoreSettingsError(
        f"{_endpoint_setting(config)}: expected a URL as in https://minio.example:9000; "
        f"found {shown}"
    )


def _endpoint_setting(config: S3Config) -> str:
    return _named(config.endpoint_url, "endpoint_url", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")


def _named(told: object, key: str, *variables: str) -> str:
    """Return the source of a setting: joblist.toml, the environment or AWS's files."""
    if told is not None:
        return f"joblist.toml, table [s3], {key}"
    for variable in variables:
        if os.environ.get(variable):
            return variable
    return f"{key} in AWS's configuration file"


def _ca_bundle(config: S3Config, session: Any) -> str | None:
    """Return the file of certificates, in botocore's order, or None for its own."""
    told = config.ca_bundle and os.path.expanduser(config.ca_bundle)
    name = "[s3] ca_bundle in joblist.toml"
    if not told:
        told, name = session.get_config_variable("ca_bundle"), "AWS_CA_BUNDLE"
        if told and not os.environ.get(name):
            name = "ca_bundle in AWS's configuration file"
    if not told:
        told, name = os.environ.get("REQUESTS_CA_BUNDLE"), "REQUESTS_CA_BUNDLE"
    if not told:
        return None
    if not os.path.isfile(told):
        raise StoreSettingsError(
            f"expected a file of certificates at {quote(told)}; found none. Correct {name}."
        )
    try:
        with open(told, "rb") as file:
            is_pem = b"-----BEGIN " in file.read()
    except OSError as error:
        raise StoreSettingsError(
            f"can't read the certificates in {quote(told)}: {error.strerror}. Correct {name}."
        ) from None
    if not is_pem:
        raise StoreSettingsError(
            f"expected certificates (PEM) in {quote(told)}; found none. Correct {name}."
        )
    return str(told)


def _checksums(config: S3Config, scoped: Mapping[str, Any], *, is_aws: bool) -> dict[str, str]:
    if config.checksums:
        return dict.fromkeys(_CHECKSUMS, config.checksums)
    told = any(f"AWS_{name.upper()}" in os.environ or name in scoped for name in _CHECKSUMS)
    return {} if told or is_aws else dict.fromkeys(_CHECKSUMS, "when_required")


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
