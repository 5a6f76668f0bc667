"""The options of ``generate-joblist`` for the layout ``packages``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, get_args

import click

from jobtool.cli.options import as_seconds, comma_separated
from jobtool.errors import UsageError
from jobtool.jobs.packagesettings import DEFAULT_KEEP_DAYS, Release, SiteStep
from jobtool.units import size_text


def _as_bytes(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    from jobtool.routes.amounts import parse_bytes

    if value is None:
        return None
    try:
        size = parse_bytes(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if not 1 <= size <= 2**60:
        raise click.BadParameter(f"expected 1 byte to {size_text(2**60)}; found {value!r}")
    return size


#: What distinguishes these arguments from those of other layouts.
_PREFIX = "bundle_"

_OPTIONS: Mapping[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "package_bytes": (
        ("--package-size",),
        {
            "callback": _as_bytes,
            "metavar": "SIZE",
            "help": "Packages: full from this size on, such as 30TB. [100GB]",
        },
    ),
    "items": (
        ("--items",),
        {
            "metavar": "PATTERN",
            "help": "Packages: the items, which are never split, such as {date}/{scan}. "
            "[*: each entry of the source]",
        },
    ),
    "group_by": (
        ("--group-by",),
        {
            "callback": comma_separated,
            "metavar": "FIELDS",
            "help": "Packages: items that differ in these fields of --items don't share one.",
        },
    ),
    "order": (
        ("--order",),
        {
            "type": click.Choice(["name", "time"]),
            "help": "Packages: take items by name, or by the time of their newest file. [name]",
        },
    ),
    "max_wait_seconds": (
        ("--max-wait",),
        {
            "callback": as_seconds,
            "metavar": "DURATION",
            "help": "Packages: make one that isn't full only once its first item was seen this "
            "long ago, such as 1d. [make it at once]",
        },
    ),
    "close": (
        ("--close",),
        {"is_flag": True, "help": "Packages: this time, make those that aren't full too."},
    ),
    "name": (
        ("--name",),
        {"metavar": "NAME", "help": "Packages: NAME-0001 and so on. [the joblist's name]"},
    ),
    "sites": (
        ("--sites",),
        {"metavar": "FILE", "help": "Packages: the file of sites and routes, in place of -d."},
    ),
    "origin": (
        ("--from",),
        {"metavar": "SITE", "help": "Packages: the site of the source, or SITE.LOCATION."},
    ),
    "to": (
        ("--to",),
        {
            "multiple": True,
            "metavar": "SITE",
            "help": "Packages: a site that they go to. Repeatable.",
        },
    ),
    "pack": (
        ("--pack",),
        {
            "type": click.Choice(["stream", "buffer"]),
            "help": "Packages: compose them while they are sent, or write them to the buffer of "
            "--from first. [buffer if there are several --to, else stream]",
        },
    ),
    "steps": (
        ("--then",),
        {
            "callback": comma_separated,
            "metavar": "STEPS",
            "help": "Packages: what follows at each --to, of " + ",".join(get_args(SiteStep)) + ".",
        },
    ),
    "release": (
        ("--release",),
        {
            "type": click.Choice(get_args(Release)),
            "help": "Packages: what is freed in the end. [nothing]",
        },
    ),
    "keep_days": (
        ("--keep-days",),
        {
            "type": click.IntRange(0, 36_500),
            "metavar": "DAYS",
            "help": "Packages: how long released files of the source stay in the trash. "
            f"[{DEFAULT_KEEP_DAYS}]",
        },
    ),
    "catalog": (
        ("--catalog",),
        {"metavar": "URL", "help": "Packages: the folder of the catalog of copies."},
    ),
}


def bundle_options(function: Callable[..., int]) -> Callable[..., int]:
    """Add the options of packages, passed as ``bundling``: keywords of ``generate_packages``."""

    @functools.wraps(function)
    def with_table(**arguments: Any) -> int:
        given = {name: arguments.pop(_PREFIX + name) for name in _OPTIONS}
        bundling = {name: value for name, value in given.items() if value not in (None, (), False)}
        return function(bundling=bundling, **arguments)

    decorated: Callable[..., int] = with_table
    for name, (flags, settings) in reversed(list(_OPTIONS.items())):
        decorated = click.option(*flags, _PREFIX + name, **settings)(decorated)
    return decorated


def require_none(bundling: Mapping[str, Any]) -> None:
    """Raise ``UsageError`` if options of packages are given for another layout."""
    for name in bundling:
        flag = _OPTIONS[name][0][0]
        raise UsageError(f"{flag} is an option of the layout 'packages': add --layout packages")


def refuse_for_packages(*, values: Mapping[str, str], has_steps: bool) -> None:
    """Raise ``UsageError`` for options that the layout ``packages`` doesn't have."""
    if values:
        raise UsageError(
            f"--set {min(values)}=…: the layout 'packages' takes no values. --set takes "
            "SCHEME.KEY, such as s3.endpoint_url, and credentials.KEY with it."
        )
    if has_steps:
        raise UsageError(
            "--steps: the layout 'packages' has its own steps: --then unpack,verify,archive"
        )
