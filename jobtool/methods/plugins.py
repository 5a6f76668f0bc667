"""Methods from the entry points of installed packages."""

from __future__ import annotations

from collections.abc import Sequence

from jobtool.errors import UsageError
from jobtool.jobs.forms import Compression
from jobtool.jobs.settings import Settings
from jobtool.methods.method import OWN_METHODS, SERVER_SIDE, STREAM, Configurable, Method
from jobtool.plugins import METHODS, find, maker_of

#: In place of names: the order below, of the methods that are installed.
AUTO = "auto"

#: The order of ``auto``: clusters' own copies first, then programs that resume within a file.
AUTO_ORDER = ("distcp", "hdfs-cp", "hdfs-put", "hdfs-get", "bbcp", "rsync", "scp", *OWN_METHODS)


def named_methods(names: Sequence[str], compression: Compression = "none") -> tuple[str, ...]:
    """Return the names, or those that ``auto`` stands for. Raises ``UsageError``.

    With ``compression`` it stands for jobtool's own: what others bring isn't compressed.
    """
    if AUTO not in names:
        require_order(names)
        return tuple(names)
    if len(names) > 1:
        raise UsageError(
            f"methods: expected {AUTO!r} alone, since it stands for all methods; found "
            f"{', '.join(names)}"
        )
    if compression != "none":
        return OWN_METHODS
    return tuple(name for name in AUTO_ORDER if name in OWN_METHODS or find(METHODS, name))


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


def load_methods(names: Sequence[str], settings: Settings) -> tuple[Method, ...]:
    """Return the named methods in order, without ``OWN_METHODS``, which the worker has.

    Raises ``UsageError`` for an invalid order, and for a method that isn't installed here or can't
    be loaded; ``JoblistError`` for settings that it can't use.
    """
    return tuple(
        load_method(name, settings) for name in named_methods(names) if name not in OWN_METHODS
    )


def load_method(name: str, settings: Settings) -> Method:
    """Return one method with its settings; see ``load_methods``."""
    method: Method = maker_of(
        name,
        group=METHODS,
        what="the method",
        kind="method",
        built_in=STREAM,
        needs=("available", "run"),
        error=UsageError,
    )()
    if isinstance(method, Configurable):
        method.configure(settings)
    return method
