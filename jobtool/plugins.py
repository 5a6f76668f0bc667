"""Plug-ins: what a package brings by an entry point, and what is said of one that can't be had."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jobtool.errors import JobtoolError
from jobtool.names import in_one_line
from jobtool.suggest import did_you_mean


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
    """Load the entry point of a plug-in: a function without arguments, or a class.

    It is called once, to see that what it makes has that ``name`` and the functions that it
    ``needs``. ``what`` is what messages begin with, ``kind`` the plug-in's kind, ``built_in`` a
    name that may be meant as well. Raises ``error`` with one line that says what is wrong.
    """
    from importlib.metadata import entry_points

    installed = entry_points(group=group)
    found = {point.value: point for point in installed if point.name == name}
    if not found:
        hint = did_you_mean(name, {built_in, *(point.name for point in installed)})
        raise error(
            f"no package that is installed here has {what} {name!r} (entry point of the group "
            f"{group}).{hint} Install the package where workers run."
        )
    if len(found) > 1:
        raise error(
            f"{what} {name!r} is in more than one package that is installed here: "
            f"{', '.join(sorted(found))}. Uninstall all but one."
        )
    ((value, point),) = found.items()
    try:
        maker: Callable[[], Any] = point.load()
        made = maker()
        is_whole = all(callable(getattr(made, need, None)) for need in needs)
        called = made.name if is_whole else None
    except Exception as failure:  # anything may be wrong with somebody's package
        said = in_one_line(f"{type(failure).__name__}: {failure}")
        raise error(f"{what} {name!r}, which is {value}, can't be loaded here: {said}") from None
    if called != name:
        wanted = " and ".join(needs)
        raise error(
            f"{what} {name!r}, which is {value}: expected a {kind} of that name, with a method "
            f"{wanted}; found {type(made).__name__}" + (f" {called!r}" if called else "")
        )
    return maker
