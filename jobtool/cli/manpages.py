"""Manual pages, written from the help of the commands.

Source of the format: groff_man(7).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from importlib import import_module

import click

from jobtool import __version__
from jobtool.cli.main import COMMANDS
from jobtool.cli.main import cli as whole

#: A program that is no subcommand of ``jobtool``, and the module whose ``cli`` it is.
PROGRAMS = {"impala-transfer": "jobtool.cli.impala_transfer.command"}

#: Headings of a command's epilog, and what manual pages call these sections.
_SECTIONS = {"Example": "EXAMPLE", "Exit codes": "EXIT STATUS"}


def pages() -> dict[str, str]:
    """Return all manual pages of section 1, by the names of their files."""
    return {f"{name}.1": page(name, command) for name, command in commands().items()}


def commands() -> Mapping[str, click.Command]:
    """Return the commands that have pages, by the names of these.

    A program that is also a subcommand has two: ``generate-joblist`` and ``jobtool-generate``.
    """
    found: dict[str, click.Command] = {"jobtool": whole}
    for name, module in COMMANDS.items():
        command = import_module(module).cli
        found.update(_with_inner(f"jobtool-{name}", command))
        if not (command.name or "").startswith("jobtool"):
            found[command.name] = command
    for name, module in PROGRAMS.items():
        found[name] = import_module(module).cli
    return found


def page(name: str, command: click.Command) -> str:
    """Return the page of a command."""
    typed = name.replace("-", " ") if name.startswith("jobtool") else name
    context = click.Context(command, info_name=typed, **command.context_settings)
    title, *paragraphs = re.split(r"\n\n+", inspect.cleandoc(command.help or ""))
    return "".join(
        f"{line}\n"
        for line in (
            f'.TH "{_text(name.upper())}" "1" "" "jobtool {__version__}" "jobtool"',
            ".SH NAME",
            f"{_text(name)} \\- {_text(' '.join(title.split()))}",
            ".SH SYNOPSIS",
            *_synopsis(typed, command, context),
            ".SH DESCRIPTION",
            *_paragraphs([title, *paragraphs]),
            *_commands(command, context),
            ".SH OPTIONS",
            *_options(command, context),
            *_epilog(command),
            ".SH SEE ALSO",
            *_see_also(name, command),
        )
    )


def _with_inner(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        for inner, each in command.commands.items():
            yield f"{name}-{inner}", each


def _synopsis(typed: str, command: click.Command, context: click.Context) -> Iterator[str]:
    yield f".B {_text(typed)}"
    yield _text(" ".join(command.collect_usage_pieces(context)))


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and isinstance(parameter, click.Option):
            spelling, meaning = record
            yield from (".TP", f".B {_text(spelling)}", _text(" ".join(meaning.split())) or "\\&")


def _commands(command: click.Command, context: click.Context) -> Iterator[str]:
    if not isinstance(command, click.Group):
        return
    yield ".SH COMMANDS"
    for name in command.list_commands(context):
        inner = command.get_command(context, name)
        assert inner is not None
        yield from (".TP", f".B {_text(name)}", _text(inner.get_short_help_str(200)))


def _epilog(command: click.Command) -> Iterator[str]:
    for part in re.split(r"\n\n+", (command.epilog or "").replace("\b\n", "")):
        heading, _, rest = part.partition("\n")
        yield f".SH {_SECTIONS.get(heading.rstrip(':'), heading.rstrip(':').upper())}"
        yield from (".nf", *map(_text, inspect.cleandoc("\n" + rest).splitlines()), ".fi")


def _see_also(name: str, command: click.Command) -> Iterator[str]:
    related = {"jobtool", "generate-joblist", "transfer-worker", "summarise-jobs"} - {name}
    if isinstance(command, click.Group):
        related |= {f"{name}-{inner}" for inner in command.list_commands(click.Context(command))}
    *most, last = sorted(related)
    for other in most:
        yield f".BR {_text(other)} (1),"
    yield f".BR {_text(last)} (1)"


def _paragraphs(texts: list[str]) -> Iterator[str]:
    for number, text in enumerate(texts):
        if number:
            yield ".PP"
        if text.startswith("\b"):
            yield from (".nf", *map(_text, text.splitlines()[1:]), ".fi")
        else:
            yield from map(_text, text.splitlines())


def _text(text: str) -> str:
    """Return a line as the formatter takes it: no character of it is a request or an escape."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    escaped = escaped.replace("`", "\\(ga").replace("^", "\\(ha").replace("~", "\\(ti")
    escaped = escaped.replace("…", "...")
    escaped = "".join(one if one.isascii() else f"\\[u{ord(one):04X}]" for one in escaped)
    return f"\\&{escaped}" if escaped.startswith(".") else escaped
