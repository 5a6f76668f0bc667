"""Methods from the entry points of installed packages."""

from __future__ import annotations

from collections.abc import Sequence

from jobtool.errors import UsageError
from jobtool.methods.method import OWN_METHODS, SERVER_SIDE, STREAM, Method
from jobtool.plugins import METHODS, maker_of


def require_order(names: Sequence[str]) -> None:
    """Raise ``UsageError`` unless names make an order of methods.

    Each method is named once. ``stream``, if named, is the last: it leaves nothing to others. Only
    ``stream`` comes after ``server-side``.
    """
    if not names:
        raise UsageError(f"methods: expected names of methods, such as {STREAM}; found none")
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"methods: expected each method once; found {name!r} twice")
    if STREAM in names[:-1]:
        raise UsageError(
            f"methods: expected {STREAM!r} as the last, since it leaves nothing to others; found "
            f"{', '.join(names)}"
        )
    if SERVER_SIDE in names and any(
        name not in OWN_METHODS for name in names[names.index(SERVER_SIDE) :]
    ):
        raise UsageError(
            f"methods: expected nothing but {STREAM!r} after {SERVER_SIDE!r}, which is "
            f"jobtool's own, too; found {', '.join(names)}"
        )


def load_methods(names: Sequence[str]) -> tuple[Method, ...]:
    """Return the named methods in order, without ``OWN_METHODS``, which the worker has.

    Raises ``UsageError`` for an invalid order, and for a method that isn't installed here or can't
    be loaded.
    """
    require_order(names)
    return tuple(_load(name) for name in names if name not in OWN_METHODS)


def _load(name: str) -> Method:
    method: Method = maker_of(
        name,
        group=METHODS,
        what="the method",
        kind="method",
        built_in=STREAM,
        needs=("available", "run"),
        error=UsageError,
    )()
    return method
