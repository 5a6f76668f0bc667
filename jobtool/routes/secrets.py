"""Secrets don't belong into a file of sites, which many people read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from jobtool.errors import RouteError
from jobtool.jobs.settingsecrets import looks_secret
from jobtool.redact import is_secret


def refuse_secrets(table: Mapping[str, Any], where: str) -> None:
    """Raise ``RouteError`` for what looks like a secret; ``where`` names the file.

    This comes before any other check, so that no message shows one.
    """
    for key, value in _leaves(table):
        if looks_secret(key, value) or is_secret(key.rpartition(".")[2], value):
            raise RouteError(
                f"{where}: {key!r} looks like a secret, which a file of sites must not hold. Log "
                "in as for a joblist: by a profile, the environment, ssh keys, or [credentials] of "
                "joblist.toml."
            )


def _leaves(value: object, key: str = "") -> Iterator[tuple[str, object]]:
    """Yield each value that is no table or list, with the name of its setting.

    Settings of a store have the names of their tables with them, of which each may tell.
    """
    if isinstance(value, Mapping):
        start = f"{key}." if key.partition(".")[0] == "settings" else ""
        for name, each in value.items():
            yield from _leaves(each, f"{start}{name}")
    elif isinstance(value, list):
        for each in value:
            yield from _leaves(each, key)
    else:
        yield key, value
