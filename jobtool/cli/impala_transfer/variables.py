"""Options that may be set by an environment variable. An option on the command line wins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from jobtool.cli.wrongusage import sentence

Command = TypeVar("Command", bound=Callable[..., Any])

#: What switches may be in the environment, in any case.
_TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class _Variable(click.Option):
    """An option whose variable's value is read strictly, and named in errors.

    An empty variable counts as one that isn't set.
    """

    def value_from_envvar(self, ctx: click.Context) -> Any:
        """Return the value of the variable, None if it isn't set."""
        text = self.resolve_envvar_value(ctx)
        if text is None:
            return None
        if self.is_bool_flag:
            if text.strip().lower() not in _TRUTH:
                raise click.UsageError(
                    f"{self.envvar}: expected true or false, 1 or 0, yes or no; found {text!r}"
                )
            return _TRUTH[text.strip().lower()]
        try:
            return self.type.convert(text, self, ctx)
        except click.BadParameter as error:
            said = sentence(f"{self.envvar}: {error.message}")
            raise click.UsageError(said) from None


def option(*names: str, variable: str, **settings: Any) -> Callable[[Command], Command]:
    """Add an option with its environment variable, which the help names."""
    decorate: Callable[[Command], Command] = click.option(
        *names, cls=_Variable, envvar=variable, show_envvar=True, **settings
    )
    return decorate


def is_on_command_line(name: str) -> bool:
    """Return True if an option was given on the command line. ``name`` is that of its value."""
    return _source(name) is ParameterSource.COMMANDLINE


def is_given(name: str) -> bool:
    """Return True if an option was given, on the command line or by its variable."""
    return _source(name) in (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)


def _source(name: str) -> ParameterSource | None:
    return click.get_current_context().get_parameter_source(name)
