"""The tables of methods in joblist.toml."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from jobtool import typed
from jobtool.errors import JoblistError
from jobtool.jobs.settings import FILENAME, Settings
from jobtool.suggest import misfit, unknown_key

T = TypeVar("T", bound=msgspec.Struct)


def of_method(settings: Settings, name: str, into: type[T]) -> T:
    """Return the table ``[methods.NAME]`` as a struct; raises ``JoblistError``."""
    return of_table(settings.methods.get(name, {}), into, where=f"table [methods.{name}]")


def of_table(table: Mapping[str, Any], into: type[T], *, where: str) -> T:
    """Return a table of joblist.toml as a struct.

    ``where`` names it in the ``JoblistError`` that is raised for unknown keys and wrong values.
    """
    place = f"{FILENAME}, {where}"
    _require_known(table, into.__struct_fields__, place)
    try:
        return typed.convert(table, into)
    except msgspec.ValidationError as error:
        raise JoblistError(misfit(error, into, where=place)) from None


def _require_known(table: Mapping[str, Any], names: tuple[str, ...], place: str) -> None:
    for key in table:
        if key not in names:
            raise JoblistError(f"{place}: {unknown_key(key, names, what='a key')}")
