"""The options by which commands and workers are given only some jobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def _none_for_nothing(
    context: click.Context, parameter: click.Parameter, value: tuple[str, ...]
) -> tuple[str, ...] | None:
    return value or None


def choice_options(function: Command) -> Command:
    """Add ``--job NAME`` and ``--match GLOB``, both repeatable: ``jobs`` and ``match``.

    Each is a tuple, or None if the option isn't given.
    """
    for option in (
        click.option(
            "--match",
            multiple=True,
            callback=_none_for_nothing,
            metavar="GLOB",
            help="Only jobs whose names match, such as 'plate1*'. Repeatable.",
        ),
        click.option(
            "--job",
            "jobs",
            multiple=True,
            callback=_none_for_nothing,
            metavar="NAME",
            help="Only this job. Repeatable.",
        ),
    ):
        function = option(function)
    return function
