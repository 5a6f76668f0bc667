"""Plug-ins of installed packages: entry points that are loaded at their first use."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from jobtool.errors import JobtoolError, UsageError
from jobtool.names import in_one_line
from jobtool.suggest import did_you_mean

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

#: The group of store types, named by the scheme of their URLs and of their table in joblist.toml.
STORES = "jobtool.stores"

#: The group of steps, named as jobs name them.
STEPS = "jobtool.steps"

#: The group of methods, named as ``[transfer] methods`` names them.
METHODS = "jobtool.methods"

#: The group of kinds of databases, named by the scheme of their URLs.
QUERIES = "jobtool.queries"

#: The group of credential providers, named as ``[credentials] provider`` names them.
CREDENTIALS = "jobtool.credentials"


def find(group: str, name: str) -> EntryPoint | None:
    """Return the entry point of a name, or None if no package has it.

    jobtool's own come first: no package can replace them. Raises ``UsageError`` if two packages
    have the same name.
    """
    from importlib.metadata import PackageNotFoundError, distribution, entry_points

    try:
        own = distribution("jobtool").entry_points.select(group=group, name=name)
    except PackageNotFoundError:
        own = entry_points(group=group, name=name)
    found = {entry.value: entry for entry in own or entry_points(group=group, name=name)}
    if len(found) > 1:
        packages = " and ".join(sorted(map(_package_of, found.values())))
        raise UsageError(
            f"{group} {name!r}: expected one package that has it; found {packages}. Uninstall all "
            "but one."
        )
    return next(iter(found.values()), None)


#: What fsspec calls a filesystem but isn't a place of its own: caches and wrappers around others,
#: this machine's files, S3 by other names, and SSH without a check of host keys.
_NO_PLACES = frozenset(
    "async_wrapper asyncwrapper asynclocal blockcache cached dask data dir file filecache generic "
    "local pyscript reference s3a s3n simplecache ssh".split()
)


def fsspec_knows(scheme: str) -> bool:
    """Return True if fsspec is installed and has a filesystem for a scheme."""
    return scheme not in _NO_PLACES and fsspec_has(scheme)


def fsspec_has(protocol: str) -> bool:
    """Return True if fsspec is installed and has a filesystem of a protocol, a place or not."""
    try:
        from fsspec.registry import known_implementations, registry
    except ImportError:
        return False
    return protocol in known_implementations or protocol in registry


def is_scheme(name: str) -> bool:
    """Return True if a store here has URLs of this scheme."""
    return find(STORES, name) is not None or fsspec_knows(name)


def names(group: str) -> list[str]:
    """Return the names of all entry points of a group, sorted."""
    from importlib.metadata import entry_points

    return sorted(entry_points(group=group).names)


def load(entry: EntryPoint, *, what: str, kind: type) -> object:
    """Load an entry point and return its object.

    ``what`` names it in messages. Raises ``UsageError`` if it can't be loaded or isn't a ``kind``.
    """
    named = f"{what}, which is {entry.value} of the package {_package_of(entry)}"
    try:
        loaded: object = entry.load()
    except (Exception, SystemExit) as error:  # another package may raise anything
        said = in_one_line(f"{type(error).__name__}: {error}")
        raise UsageError(f"{named}, can't be loaded: {said}") from None
    if not isinstance(loaded, kind):
        raise UsageError(f"{named}: expected a {kind.__name__}; found {type(loaded).__name__}")
    return loaded


def maker_of(
    name: str,
    *,
    group: str,
    what: str,
    kind: str,
    built_in: str,
    needs: tuple[str, ...],
    error: type[JobtoolError],
) -> Callable[[], Any]:
    """Return the class, or the function without arguments, that makes a plug-in.

    It is loaded from its entry point and called once, to check that the plug-in has that ``name``
    and the methods in ``needs``. Messages begin with ``what``. ``kind`` is the plug-in's kind, and
    ``built_in`` another name to suggest. Raises ``error`` with one line that says what is wrong.
    """
    try:
        point = find(group, name)
    except UsageError as ambiguous:
        raise error(f"{what} can't be chosen: {ambiguous}") from None
    if point is None:
        hint = did_you_mean(name, {built_in, *names(group)})
        raise error(
            f"no package that is installed here provides {what} {name!r} (entry point of the group "
            f"{group}).{hint} Install the package where workers run."
        )
    try:
        maker: Callable[[], Any] = point.load()
        made = maker()
        is_whole = all(callable(getattr(made, need, None)) for need in needs)
        called = made.name if is_whole else None
    except (Exception, SystemExit) as failure:  # another package may raise anything
        said = in_one_line(f"{type(failure).__name__}: {failure}")
        raise error(
            f"{what} {name!r}, which is {point.value}, can't be loaded here: {said}"
        ) from None
    if called != name:
        wanted = " and ".join(needs)
        raise error(
            f"{what} {name!r}, which is {point.value}: expected a {kind} of that name, with a "
            f"method {wanted}; found {type(made).__name__}" + (f" {called!r}" if called else "")
        )
    return maker


def _package_of(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.module
