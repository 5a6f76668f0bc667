"""The options by which commands and workers are given only some jobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def choice_options(function: Command) -> Command:
    """Add ``--job NAME`` and ``--match GLOB``, both repeatable, as ``jobs`` and ``match``."""
    for option in (
        click.option(
            "--match",
            multiple=True,
            metavar="GLOB",
            help="Only jobs whose names match, such as 'plate1*'. Repeatable.",
        ),
        click.option(
            "--job", "jobs", multiple=True, metavar="NAME", help="Only this job. Repeatable."
        ),
    ):
        function = option(function)
    return function
