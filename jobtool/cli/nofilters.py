"""Options that ``transfer-worker`` doesn't have, and why: those that select files."""

from __future__ import annotations

from collections.abc import Callable

import click

#: The options of ``jobtool.cli.filteroptions``, and whether each is a flag.
_FLAGS = {
    "--include": False,
    "--exclude": False,
    "--filter": False,
    "--filter-from": False,
    "--exclude-usual": True,
    "--min-size": False,
    "--max-size": False,
    "--min-age": False,
    "--max-age": False,
    "--files-from": False,
    "--list-format": False,
}


def refuse_filter_options(function: Callable[..., int]) -> Callable[..., int]:
    """Refuse the options that select files, with the reason. The help doesn't show them."""
    decorated = function
    for flag, is_flag in _FLAGS.items():
        decorated = click.option(
            flag, is_flag=is_flag, multiple=True, hidden=True, expose_value=False, callback=_refuse
        )(decorated)
    return decorated


def _refuse(context: click.Context, parameter: click.Parameter, value: tuple[object, ...]) -> None:
    if value:
        raise click.UsageError(
            f"{parameter.opts[0]}: a worker has no filters of its own, since a job is done only "
            "once all its files are proven. Give them to generate-joblist, for this joblist or for "
            "another one that holds some of its files."
        )
