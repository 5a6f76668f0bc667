"""What the commands that read packages share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from jobtool.cli.console import WARNING, print_error_lines
from jobtool.cli.options import assignments
from jobtool.redact import redact

if TYPE_CHECKING:
    from jobtool.events import Event

Command = TypeVar("Command", bound=Callable[..., Any])


def package_argument(function: Command) -> Command:
    """Add the argument PACKAGE."""
    argument: Callable[[Command], Command] = click.argument("package", metavar="PACKAGE")
    return argument(function)


def members_argument(function: Command) -> Command:
    """Add the arguments MEMBER."""
    argument: Callable[[Command], Command] = click.argument(
        "members", nargs=-1, metavar="[MEMBER]..."
    )
    return argument(function)


def stores_option(function: Command) -> Command:
    """Add ``--set SCHEME.KEY=VALUE``, passed as ``stores``, tables by scheme."""
    option: Callable[[Command], Command] = click.option(
        "--set",
        "stores",
        multiple=True,
        metavar="SCHEME.KEY=VALUE",
        callback=_tables,
        help="A setting of a store, as in joblist.toml, such as s3.endpoint_url. Repeatable.",
    )
    return option(function)


def warn(event: Event) -> None:
    """Print an event on standard error, so that it isn't in the result."""
    print_error_lines([f"{event.mark()} {redact(event.text())}"])


def warn_of(text: str) -> None:
    """Print a warning on standard error."""
    print_error_lines([f"{WARNING} {redact(text)}"])


def _tables(
    context: click.Context, parameter: click.Parameter, value: tuple[str, ...]
) -> dict[str, Any]:
    for text in value:
        scheme, dot, _ = text.partition("=")[0].partition(".")
        if not dot or not scheme:
            raise click.BadParameter(f"{text}: expected SCHEME.KEY=VALUE")
    return assignments(value, option="--set")
