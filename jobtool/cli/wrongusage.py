"""What is said of a wrong command line: click's errors in jobtool's words, with what is meant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import click

from jobtool.suggest import closest, did_you_mean

#: What click says, and what jobtool says instead.
_WORDS_OF_CLICK = [
    (re.compile(pattern, re.DOTALL), words)
    for pattern, words in (
        (r"^Invalid value for '(\S+)'(?: / '(\S+)')?: ", r"\1: "),
        (r"(?<=: )('.*') is not a valid integer(?: range)?", r"expected a whole number; found \1"),
        (r"(?<=: )('.*') is not a valid float(?: range)?", r"expected a number; found \1"),
        (
            r"(?<=: )(\S+) is not in the range (\S+?)<=x<=(\S+?)\.$",
            r"expected a number from \2 to \3; found \1.",
        ),
        (
            r"(?<=: )(\S+) is not in the range x>=(\S+?)\.$",
            r"expected a number of at least \2; found \1.",
        ),
        (r"^Option '(\S+)' requires an argument", r"\1: expected a value after it; found none"),
        (r"^Got unexpected extra arguments? \((.*)\)$", r"expected no further argument; found \1"),
    )
]

_NOT_A_CHOICE = re.compile(r"'(.*?)' is not one of ", re.DOTALL)


def unknown_command(
    name: str,
    known: Iterable[str],
    context: click.Context,
    *,
    synonyms: Mapping[str, str] | None = None,
) -> click.UsageError:
    """Return the error for a command that isn't among the known ones.

    ``synonyms`` are other names that people use, and the commands that they mean.
    """
    synonyms = synonyms or {}
    meant = closest(name.lower().replace("_", "-"), (*known, *synonyms))
    hint = f" Did you mean {synonyms.get(meant, meant)!r}?" if meant else ""
    return click.UsageError(
        f"unknown command {name!r}.{hint} The commands are: {', '.join(known)}.", context
    )


def in_words(error: click.ClickException) -> str:
    """Return the message of a wrong command line, with what is likely meant."""
    if isinstance(error, click.NoSuchOption):
        known = [] if error.ctx is None else _spellings(error.ctx)
        meant = closest(error.option_name.strip("-"), known)
        hint = f" Did you mean '--{meant}'?" if meant else ""
        return f"there is no option {error.option_name!r}.{hint}"
    if isinstance(error, click.MissingParameter) and error.param is not None:
        return f"expected {_named(error.param, error.ctx)}; found none."
    if isinstance(error, click.BadParameter) and error.param is not None:
        kind = error.param.type
        choices = [str(each) for each in kind.choices] if isinstance(kind, click.Choice) else []
        found = _NOT_A_CHOICE.match(error.message)
        if choices and found is not None:
            word = found.group(1)
            return (
                f"{_named(error.param, error.ctx)}: expected one of {', '.join(choices)}; "
                f"found {word!r}.{did_you_mean(word, choices)}"
            )
    return sentence(error.format_message())


def _spellings(context: click.Context) -> list[str]:
    parameters = context.command.get_params(context)
    return [text.strip("-") for each in parameters for text in each.opts if text.startswith("--")]


def _named(parameter: click.Parameter, context: click.Context | None) -> str:
    if isinstance(parameter, click.Option):
        return " / ".join(parameter.opts)
    return parameter.make_metavar(context or click.Context(click.Command(None)))


def sentence(message: str) -> str:
    """Return a message of click in jobtool's words, with a full stop."""
    for pattern, words in _WORDS_OF_CLICK:
        message = pattern.sub(words, message)
    return message if message.endswith((".", "?", "!", "?)")) else f"{message}."
