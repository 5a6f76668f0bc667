"""The ``[credentials]`` table of joblist.toml: the provider of each side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec

from jobtool import typed
from jobtool.errors import UsageError
from jobtool.names import in_one_line
from jobtool.plugins import CREDENTIALS, find, load, names
from jobtool.stores.credentials.aws import (
    AccessGrantsProvider,
    AnonymousProvider,
    AssumeRoleProvider,
    ChainProvider,
    EnvironmentProvider,
    ProfileProvider,
    WebIdentityProvider,
)
from jobtool.stores.credentials.azure import AzureWorkloadIdentityProvider
from jobtool.stores.credentials.documents import FileProvider, ProcessProvider
from jobtool.stores.credentials.google import GoogleFileProvider
from jobtool.stores.credentials.provider import CredentialProvider, ProviderFactory
from jobtool.suggest import closest, did_you_mean, misfit

#: The providers by name.
PROVIDERS: Mapping[str, type[msgspec.Struct]] = {
    "default": ChainProvider,
    "profile": ProfileProvider,
    "environment": EnvironmentProvider,
    "file": FileProvider,
    "process": ProcessProvider,
    "assume-role": AssumeRoleProvider,
    "web-identity": WebIdentityProvider,
    "access-grants": AccessGrantsProvider,
    "azure-workload-identity": AzureWorkloadIdentityProvider,
    "google-file": GoogleFileProvider,
    "anonymous": AnonymousProvider,
}

SIDES = ("source", "destination")

_PROTOCOL = ("name", "can_renew", "is_per_purpose", "fetch")


def settings_of(table: Mapping[str, Any], side: str) -> dict[str, Any]:
    """Return the settings of one side: its own table if it has one, else the common table.

    ::

        [credentials]
        provider = "profile"
        profile = "reader"
        [credentials.destination]
        provider = "access-grants"
        account_id = "123456789012"
    """
    for name in SIDES:
        if not isinstance(table.get(name, {}), Mapping):
            raise UsageError(
                f"[credentials] {name}: expected a table, [credentials.{name}]; found "
                f"{table[name]!r}"
            )
    if side in table:
        return dict(table[side])
    return {key: value for key, value in table.items() if key not in SIDES}


def make_provider(settings: Mapping[str, Any], *, profile: str | None = None) -> CredentialProvider:
    """Make the provider of these settings. Without any, use the default chain or ``profile``.

    Raises ``UsageError`` that names the wrong setting.
    """
    if not settings:
        return ChainProvider(profile=profile)
    name = settings.get("provider")
    if not isinstance(name, str):
        raise UsageError(
            '[credentials]: expected provider = "NAME"; found '
            + (f"{name!r}" if name is not None else f"only {', '.join(sorted(settings))}")
            + _hint_of(settings)
        )
    rest = {key: value for key, value in settings.items() if key != "provider"}
    known = PROVIDERS.get(name)
    if known is None:
        return _from_entry_point(name, rest)
    try:
        made: Any = typed.convert(rest, known, strict=False)
        return made  # type: ignore[no-any-return]
    except msgspec.ValidationError as error:
        where = f"[credentials] of provider {name!r}"
        raise UsageError(misfit(error, known, where=where)) from None


def _hint_of(settings: Mapping[str, Any]) -> str:
    """Return a suggestion for a key that no provider has, or an empty text."""
    keys = {key for known in PROVIDERS.values() for key in known.__struct_fields__}
    for key in sorted(settings):
        meant = closest(key, ("provider", *SIDES)) if key not in keys else None
        if meant is not None and meant != key:
            return f". Did you mean {meant!r}?"
    return ""


def _from_entry_point(name: str, settings: dict[str, Any]) -> CredentialProvider:
    what = f"[credentials] of provider {name!r}"
    try:
        entry = find(CREDENTIALS, name)
    except UsageError as ambiguous:
        raise UsageError(f"{what}: {ambiguous}") from None
    if entry is None:
        installed = sorted({*PROVIDERS, *names(CREDENTIALS)})
        raise UsageError(
            f"[credentials] provider: expected one of {', '.join(installed)}; found {name!r}."
            f"{did_you_mean(name, installed)} Is the package of your site installed here?"
        )
    factory = cast("ProviderFactory", load(entry, what=what, kind=object))
    try:
        made = factory(settings)
    except UsageError:
        raise
    except (Exception, SystemExit) as error:  # anything may be wrong with somebody's package
        said = in_one_line(f"{type(error).__name__}: {error}")
        raise UsageError(f"{what}, which is {entry.value}: {said}") from None
    missing = [name for name in _PROTOCOL if not hasattr(made, name)]
    if missing:
        raise UsageError(
            f"{what}: {entry.value} returned {type(made).__name__}, which has no "
            f"{' and no '.join(missing)}"
        )
    return made
