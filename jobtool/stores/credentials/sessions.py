"""Sessions of AWS's library that never prompt at the terminal, with their clients."""

from __future__ import annotations

import contextlib
import functools
import gzip
import os
import re
import subprocess
from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec

from jobtool import typed
from jobtool.errors import CredentialsError, StoreSettingsError
from jobtool.names import in_one_line, quote
from jobtool.stores.credentials.provider import ProviderError
from jobtool.stores.proxies import as_botocore, proxy_for

#: The names of AWS's own endpoints, in every partition.
AWS_HOST = re.compile(
    r"\.(amazonaws\.(com|com\.cn|eu)|api\.(aws|amazonwebservices\.(com\.cn|eu))"
    r"|c2s\.ic\.gov|api\.aws\.ic\.gov|sc2s\.sgov\.gov|api\.aws\.scloud|cloud\.adc-e\.uk"
    r"|api\.cloud-aws\.adc-e\.uk|csp\.hci\.ic\.gov|api\.aws\.hci\.ic\.gov)$"
)


def session_of(profile: str | None) -> Any:
    """Return a boto3 session of a profile, or the environment's, that never prompts.

    Raises ``ProviderError`` and ``StoreSettingsError``.
    """
    import boto3
    import botocore.exceptions
    import botocore.session

    try:
        inner = botocore.session.Session()
        session = boto3.Session(profile_name=profile, botocore_session=inner)
        share_loader(inner)
        require_numbers(inner)
        _ask_nobody(inner, session.profile_name)
        return session
    except botocore.exceptions.ProfileNotFound as error:
        # Without ``profile`` the name comes from AWS_PROFILE.
        named = quote(str(error.kwargs.get("profile", profile)))
        raise ProviderError(
            f"expected an AWS profile {named} in AWS's configuration files; found none. Correct "
            "the profile's name in joblist.toml, or AWS_PROFILE."
        ) from None
    except botocore.exceptions.ConfigParseError as error:
        raise unreadable_config(error) from None
    except botocore.exceptions.BotoCoreError as error:
        raise ProviderError(f"can't use AWS's configuration: {_said(error)}") from None


def share_loader(session: Any) -> None:
    """Make a botocore session use the API descriptions that others of this process have parsed.

    Each session would parse them again: 0.1 s of CPU for S3. They are parsed by msgspec, which is
    several times as fast as botocore's way. Raises botocore's errors for AWS configuration files
    that can't be read.
    """
    session.register_component("data_loader", _loader(session.get_config_variable("data_path")))


@functools.cache
def _loader(data_path: str | None) -> Any:
    from botocore.loaders import JSONFileLoader, create_loader

    class Files(JSONFileLoader):  # type: ignore[misc,unused-ignore]
        def load_file(self, file_path: str) -> Any:
            """Return what a file without its suffix holds; None if it is missing."""
            for suffix, opener in ((".json", open), (".json.gz", gzip.open)):
                if not os.path.isfile(file_path + suffix):
                    continue
                with opener(file_path + suffix, "rb") as file:
                    try:
                        return typed.decode(file.read())
                    except msgspec.DecodeError:
                        return super().load_file(file_path)  # raises its own error
            return None

    loader = create_loader(data_path)
    loader.file_loader = Files()
    loader.list_available_services = functools.partial(_Services, loader)
    return loader


class _Services(Collection[str]):
    """The services that have descriptions of one type.

    botocore asks whether it knows a service by listing all of them: four hundred folders.
    """

    def __init__(self, loader: Any, type_name: str) -> None:
        self._loader, self._type_name = loader, type_name

    def __contains__(self, name: object) -> bool:
        from botocore.exceptions import DataNotFoundError

        try:
            return bool(self._loader.list_api_versions(name, self._type_name))
        except DataNotFoundError:
            return False

    def __iter__(self) -> Iterator[str]:
        listed = type(self._loader).list_available_services
        yield from listed(self._loader, self._type_name)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def read_times_fast(session: Any) -> None:
    """Make a botocore session parse the times of listings by the standard library.

    dateutil, which botocore uses for any format, takes half of the time of parsing a listing.
    """
    from botocore.utils import parse_timestamp

    def parse(value: Any) -> datetime:
        if isinstance(value, str) and value.endswith("Z"):  # as in 2026-01-02T03:04:05.678Z
            with contextlib.suppress(ValueError):
                return datetime.fromisoformat(value)
        found: datetime = parse_timestamp(value)
        return found

    factory = session.get_component("response_parser_factory")
    factory.set_parser_defaults(timestamp_parser=parse)


def unreadable_config(error: Any) -> StoreSettingsError:
    """Return jobtool's error for an AWS configuration file that botocore can't parse."""
    path = quote(str(error.kwargs.get("path", "AWS's configuration")))
    return StoreSettingsError(
        f"{path}: AWS's configuration file can't be parsed. Correct it, and check it with "
        "'aws configure list'."
    )


def place_of(session: Any, profile: str | None = None) -> str:
    """Return the profile and its file, as errors name them."""
    profile = profile or session.get_config_variable("profile") or "default"
    path = os.path.expanduser(str(session.get_config_variable("config_file")))
    return f"AWS profile {quote(profile)} in {quote(path)}"


def require_numbers(session: Any) -> None:
    """Raise ``StoreSettingsError`` for an AWS setting that should be a number but isn't.

    It names the setting and its place. botocore's own error names neither.
    """
    from botocore.configprovider import BOTOCORE_DEFAUT_SESSION_VARIABLES as VARIABLES

    for name, (key, variable, _, convert) in VARIABLES.items():
        if convert is not int:
            continue
        try:
            session.get_config_variable(name)
        except (ValueError, TypeError):
            in_environment = os.environ.get(variable)
            found = in_environment or str(session.get_scoped_config().get(key))
            where = variable if in_environment else f"{place_of(session)}, {key}"
            raise StoreSettingsError(
                f"{where}: expected a whole number; found {quote(found[:50])}"
            ) from None


def _ask_nobody(session: Any, profile: str) -> None:
    """Make a botocore session never prompt: a worker runs without a user at its terminal.

    A profile's role may need the code of a device (``mfa_serial``), which botocore reads from the
    terminal, and its ``credential_process`` would inherit standard input and the terminal.
    """

    def refuse(prompt: str) -> str:
        raise CredentialsError(
            f"AWS profile {quote(profile)} asks for the code of a device (mfa_serial), and a "
            "worker can't prompt for it. Get credentials first, as by 'aws configure "
            f"export-credentials --profile {quote(profile)} --format env', and export them."
        )

    for provider in session.get_component("credential_provider").providers:
        if hasattr(provider, "_prompter"):
            provider._prompter = refuse
        if hasattr(provider, "_popen"):
            provider._popen = functools.partial(_run, session, profile)
        builder = getattr(provider, "_profile_provider_builder", None)
        if builder is not None:
            _make_quiet(builder, session)


def _run(session: Any, profile: str, words: list[str], **options: Any) -> Any:
    """Start the command of a profile. Raise ``ProviderError`` that names it if that fails."""
    try:
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, start_new_session=True, **options)
    except OSError as error:
        said = "found none" if isinstance(error, FileNotFoundError) else str(error.strerror)
        raise ProviderError(
            f"{place_of(session, profile)}, credential_process: expected a command that can be run "
            f"at {quote(words[0] if words else '')}; {said}"
        ) from None


def _make_quiet(builder: Any, session: Any) -> None:
    """Make the commands of profiles that a role builds on never prompt either."""
    create = builder._create_process_provider

    def create_quiet(profile_name: str) -> Any:
        provider = create(profile_name)
        provider._popen = functools.partial(_run, session, profile_name)
        return provider

    builder._create_process_provider = create_quiet


def client_of(settings: Any, service: str, *, unsigned: bool = False) -> Any:
    """Return a client of a service for a provider's profile, region and endpoint."""
    from botocore import UNSIGNED
    from botocore.config import Config
    from botocore.utils import get_environ_proxies

    config = Config(
        retries={"mode": "standard", "total_max_attempts": 3},
        connect_timeout=10,
        read_timeout=30,
        signature_version=UNSIGNED if unsigned else None,
    )
    session = session_of(settings.profile)
    where = {"region_name": settings.region, "endpoint_url": settings.endpoint_url}
    client = session.client(service, config=config, **where)
    url = client.meta.endpoint_url
    proxies, usual = as_botocore(url, proxy_for(url)), get_environ_proxies(url)
    if proxies.get(urlsplit(url).scheme) != usual.get(urlsplit(url).scheme):
        client = session.client(service, config=config.merge(Config(proxies=proxies)), **where)
    return client


def address_by_one_name(client: Any, account_id: str) -> None:
    """Send requests to the endpoint's own host, unless it is AWS's.

    AWS's hosts take the account's ID before their name, and botocore puts it before any host's.
    """

    def shorten(params: dict[str, Any], **_: object) -> None:
        params["url"] = params["url"].replace(f"://{account_id}.", "://", 1)

    host = urlsplit(client.meta.endpoint_url).hostname or ""
    if not AWS_HOST.search(host):
        client.meta.events.register("before-call.s3-control", shorten)


@contextlib.contextmanager
def asking(whom: str, profile: str | None = None) -> Iterator[None]:
    """Turn errors of AWS's library while it gets credentials into those of jobtool."""
    import botocore.exceptions

    try:
        yield
    except botocore.exceptions.ClientError as error:
        told = error.response.get("Error", {})
        # Only the first line: STS repeats the headers that it can't verify, even the token.
        message = str(told.get("Message", "")).partition("\n")[0][:200]
        raise ProviderError(f"{whom}: {told.get('Code', 'an error')}: {message}") from None
    except (botocore.exceptions.SSOError, botocore.exceptions.TokenRetrievalError) as error:
        raise _signed_out(error, "aws sso login", profile) from None
    except botocore.exceptions.LoginError as error:
        raise _signed_out(error, "aws login", profile) from None
    except KeyError as error:
        raise ProviderError(f"{whom}: expected {error} in the answer; found none") from None
    except (botocore.exceptions.BotoCoreError, ValueError, RuntimeError) as error:
        raise ProviderError(f"can't get credentials from {whom}: {_said(error)}") from None


def _signed_out(error: Exception, command: str, profile: str | None) -> CredentialsError:
    """Return an error that no second try fixes: the user has to log in."""
    import botocore.session

    named = profile or botocore.session.Session().profile or "default"  # AWS_DEFAULT_PROFILE first
    return CredentialsError(
        f"the sign-on of AWS profile {quote(named)} has ended, or never began. Log in: {command} "
        f"--profile {quote(named)}. ({_said(error)})"
    )


def _said(error: Exception) -> str:
    """Return an error's message in one line, without the output of a command."""
    import botocore.exceptions

    if isinstance(error, botocore.exceptions.CredentialRetrievalError):
        # For a profile's credential_process the message is its standard error: maybe a secret.
        return (
            f"its provider {error.kwargs.get('provider')} failed. Run the profile's command by "
            "hand to see its message"
        )
    return in_one_line(str(error), most=300)
