"""Plug-ins of installed packages: entry points, found by name and loaded at their first use."""

from __future__ import annotations

from importlib.metadata import EntryPoint, PackageNotFoundError, distribution, entry_points

from jobtool.errors import UsageError
from jobtool.names import in_one_line

#: The group of store types, named by the scheme of their URLs and of their table in joblist.toml.
STORES = "jobtool.stores"

#: The group of steps, named as jobs name them.
STEPS = "jobtool.steps"


def find(group: str, name: str) -> EntryPoint | None:
    """Return the entry point of a name, or None if no package has it.

    jobtool's own come first: no package can replace them. Raises ``UsageError`` if two packages
    have the same name.
    """
    try:
        own = distribution("jobtool").entry_points.select(group=group, name=name)
    except PackageNotFoundError:
        own = entry_points(group=group, name=name)
    found = {entry.value: entry for entry in own or entry_points(group=group, name=name)}
    if len(found) > 1:
        packages = " and ".join(sorted(map(_package_of, found.values())))
        raise UsageError(f"{group} {name!r}: expected one package that has it; found {packages}")
    return next(iter(found.values()), None)


def names(group: str) -> list[str]:
    """Return the names of all entry points of a group, sorted."""
    return sorted(entry_points(group=group).names)


def load(entry: EntryPoint, *, what: str, kind: type) -> object:
    """Load an entry point and return its object.

    ``what`` names it in messages. Raises ``UsageError`` if it can't be loaded or isn't a ``kind``.
    """
    named = f"{what}, which is {entry.value} of the package {_package_of(entry)}"
    try:
        loaded: object = entry.load()
    except Exception as error:  # another package may raise anything
        said = in_one_line(f"{type(error).__name__}: {error}")
        raise UsageError(f"{named}, can't be loaded: {said}") from None
    if not isinstance(loaded, kind):
        raise UsageError(f"{named}: expected a {kind.__name__}; found {type(loaded).__name__}")
    return loaded


def _package_of(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.module
