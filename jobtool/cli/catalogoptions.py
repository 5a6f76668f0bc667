"""What the commands of the catalog share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from jobtool.cli.lines import CopyValues
from jobtool.cli.packageoptions import stores_option
from jobtool.names import quote

if TYPE_CHECKING:
    from jobtool.catalog.copy import Copy

Command = TypeVar("Command", bound=Callable[..., Any])

#: The mark of each state on a line for people.
MARKS = {"present": "✅", "missing": "❌", "damaged": "❌", "released": "💡"}


def catalog_options(function: Command) -> Command:
    """Add ``--catalog``, ``--sites`` and, passed as ``stores``, ``--set``."""
    for option in (
        stores_option,
        click.option(
            "--sites",
            metavar="FILE",
            help="A file of sites, whose key catalog names the catalog. [variable: JOBTOOL_SITES]",
        ),
        click.option(
            "--catalog",
            metavar="URL",
            help="The catalog: a path or URL. [variable: JOBTOOL_CATALOG; default: the key catalog "
            "of the file of sites]",
        ),
    ):
        function = option(function)
    return function


def values_of(copy: Copy) -> CopyValues:
    """Return a copy as JSON has it."""
    return {
        "item": quote(copy.item),
        "state": copy.state,
        "site": quote(copy.site),
        "location": quote(copy.location),
        "url": quote(copy.url),
        "form": copy.form,
        "package": None if copy.package is None else quote(copy.package),
        "size": copy.size,
        "files": copy.files,
        "digest": copy.digest,
        "verified_at": copy.verified_at.isoformat().replace("+00:00", "Z"),
    }


def line_of(copy: Copy) -> str:
    """Return a copy as a line for people."""
    from jobtool.units import size_text

    held = f"package {quote(copy.package)}, " if copy.package is not None else ""
    return (
        f"  {MARKS[copy.state]} {copy.state:<8}  {quote(copy.place)}  {quote(copy.url)}  "
        f"({held}{size_text(copy.size)}, {copy.files} file(s), verified "
        f"{copy.verified_at:%Y-%m-%dT%H:%M:%SZ})"
    )
