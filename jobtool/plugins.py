"""What installed packages add, by entry points: found by name, loaded when it is first used."""

from __future__ import annotations

from importlib.metadata import EntryPoint, PackageNotFoundError, distribution, entry_points

from jobtool.errors import UsageError
from jobtool.names import in_one_line

#: The group of store types, named by the scheme of their URLs and of their table in joblist.toml.
STORES = "jobtool.stores"

#: The group of steps, named as jobs name them.
STEPS = "jobtool.steps"


def find(group: str, name: str) -> EntryPoint | None:
    """Return the entry point of a name; None if no package has it.

    Our own come first: no package replaces them, and no other is looked at for them. Raises
    ``UsageError`` if two packages have the same.
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
    """Return what an entry point names; raises ``UsageError`` in one line if it is no ``kind``.

    ``what`` is what the message calls it.
    """
    named = f"{what}, which is {entry.value} of the package {_package_of(entry)}"
    try:
        loaded: object = entry.load()
    except Exception as error:  # anything may be wrong with somebody's package
        said = in_one_line(f"{type(error).__name__}: {error}")
        raise UsageError(f"{named}, can't be loaded: {said}") from None
    if not isinstance(loaded, kind):
        raise UsageError(f"{named}: expected a {kind.__name__}; found {type(loaded).__name__}")
    return loaded


def _package_of(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.module
