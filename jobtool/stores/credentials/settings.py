"""The ``[credentials]`` table of joblist.toml: which provider, for which side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from jobtool.errors import UsageError
from jobtool.stores.credentials.aws import (
    AccessGrantsProvider,
    AnonymousProvider,
    AssumeRoleProvider,
    ChainProvider,
    EnvironmentProvider,
    ProfileProvider,
    WebIdentityProvider,
)
from jobtool.stores.credentials.documents import FileProvider, ProcessProvider
from jobtool.stores.credentials.provider import ENTRY_POINT_GROUP, CredentialProvider

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
    "anonymous": AnonymousProvider,
}

SIDES = ("source", "destination")


def settings_of(table: Mapping[str, Any], side: str) -> dict[str, Any]:
    """Return the settings of one side: its own table if it has one, else the common one.

    ::

        [credentials]
        provider = "profile"
        profile = "reader"
        [credentials.destination]
        provider = "access-grants"
        account_id = "123456789012"
    """
    own = table.get(side)
    if isinstance(own, Mapping):
        return dict(own)
    return {key: value for key, value in table.items() if key not in SIDES}


def make_provider(settings: Mapping[str, Any], *, profile: str | None = None) -> CredentialProvider:
    """Make the provider that settings describe; without any the default chain, or ``profile``'s.

    Raises ``UsageError`` that names what is wrong.
    """
    if not settings:
        return ChainProvider(profile=profile)
    name = settings.get("provider")
    rest = {key: value for key, value in settings.items() if key != "provider"}
    known = PROVIDERS.get(str(name))
    try:
        if known is not None:
            made: Any = msgspec.convert(rest, known, strict=False)
            return made  # type: ignore[no-any-return]
        return _from_entry_point(str(name), rest)
    except msgspec.ValidationError as error:
        fields = ", ".join(known.__struct_fields__) if known else ""
        raise UsageError(
            f"[credentials] of provider {str(name)!r}: {error}. "
            + (f"It knows {fields}." if fields else "It takes no settings.")
        ) from None


def runs_a_command(settings: Mapping[str, Any]) -> bool:
    """Tell whether settings name a command that would be run."""
    return settings.get("provider") == "process"


def _from_entry_point(name: str, settings: dict[str, Any]) -> CredentialProvider:
    from importlib.metadata import entry_points

    found = entry_points(group=ENTRY_POINT_GROUP)
    for entry_point in found:
        if entry_point.name == name:
            made: CredentialProvider = entry_point.load()(settings)
            return made
    installed = sorted({*PROVIDERS, *(entry_point.name for entry_point in found)})
    raise UsageError(
        f"[credentials] provider: expected one of {', '.join(installed)}; found {name!r}. Is the "
        "package of your site installed here?"
    )
