"""The options of ``generate-joblist`` that select files."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO, get_args

import click

from jobtool.cli.options import as_seconds
from jobtool.errors import UsageError, reason_of
from jobtool.filters.rules import EXCLUDE_ALL, rules_of_lines
from jobtool.filters.usual import USUAL
from jobtool.layouts.lists.listed import ListFormat
from jobtool.names import quote
from jobtool.units import parse_size

#: A larger file of rules isn't read.
_MOST_BYTES = 4 * 1024 * 1024


def _as_bytes(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    try:
        size = parse_size(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if size >= 2**63:
        raise click.BadParameter(f"expected less than 2**63 bytes; found {value!r}")
    return size


_PATTERNS = {"multiple": True, "metavar": "PATTERN"}
_SIZE = {"callback": _as_bytes, "metavar": "SIZE"}
_AGE = {"callback": as_seconds, "metavar": "DURATION"}

_OPTIONS: dict[str, dict[str, Any]] = {
    "--include": {
        **_PATTERNS,
        "help": "Transfer only files that match, such as '*.tif'. Repeatable. Patterns are "
        "rclone's, for paths below SOURCE.",
    },
    "--exclude": {
        **_PATTERNS,
        "help": "Leave out files that match, such as '*.tmp', or a folder: 'cache/'. Repeatable.",
    },
    "--filter": {
        "multiple": True,
        "metavar": "RULE",
        "help": "'+ PATTERN' includes and '- PATTERN' excludes: the first rule that matches "
        "decides. Repeatable.",
    },
    "--filter-from": {
        "multiple": True,
        "metavar": "FILE",
        "help": "A file of such rules, one a line; they come after those of --filter. Repeatable.",
    },
    "--exclude-usual": {
        "is_flag": True,
        "help": "Leave out what is rarely wanted, by rules after yours: " + ", ".join(USUAL) + ".",
    },
    "--min-size": {**_SIZE, "help": "Leave out smaller files, such as 1MiB."},
    "--max-size": {**_SIZE, "help": "Leave out larger files."},
    "--min-age": {**_AGE, "help": "Leave out files changed later than this long ago, such as 1h."},
    "--max-age": {**_AGE, "help": "Leave out files changed longer than this ago, such as 30d."},
}

_LISTS: dict[str, dict[str, Any]] = {
    "--files-from": {
        "multiple": True,
        "metavar": "FILE",
        "help": "Transfer only the files that a list names, by paths below SOURCE; '-' is the "
        "standard input. Names on lines or ended by NUL, 'aws s3 ls --recursive', or the "
        "manifest.json of an S3 Inventory. Repeatable.",
    },
    "--list-format": {
        "type": click.Choice(get_args(ListFormat)),
        "default": "auto",
        "show_default": True,
        "help": "The format of such lists, and of SOURCE for the layout 'manifest'; 'find' is that "
        r"of find -printf '%s %T@ %p\0'.",
    },
}

_NAMES = {flag.lstrip("-").replace("-", "_"): flag for flag in _OPTIONS}


def filter_options(function: Callable[..., int]) -> Callable[..., int]:
    """Add the options that select files, passed as ``filters``: the table, None without one.

    ``files_from`` are paths, URLs and the standard input, ``list_format`` is their format.
    """

    @functools.wraps(function)
    def with_table(**arguments: Any) -> int:
        given = {name: arguments.pop(name) for name in _NAMES}
        lists = [*map(_list_place, arguments.pop("files_from"))]
        return function(filters=_table(given), files_from=lists, **arguments)

    decorated: Callable[..., int] = with_table
    for flag, settings in reversed([*{**_OPTIONS, **_LISTS}.items()]):
        decorated = click.option(flag, **settings)(decorated)
    return decorated


def filter_flags() -> tuple[str, ...]:
    """Return the options that select files."""
    return (*_OPTIONS, *_LISTS)


def _list_place(text: str) -> str | BinaryIO:
    return sys.stdin.buffer if text == "-" else text


def refuse_lists(files_from: Sequence[object]) -> None:
    """Raise ``UsageError`` if a list is given for the layout ``packages``."""
    if files_from:
        raise UsageError(
            "--files-from isn't for the layout 'packages': --items says which items there are, and "
            "--include and --exclude select their files"
        )


def _table(given: dict[str, Any]) -> dict[str, Any] | None:
    """Return the table ``[filters]`` of some options. Ages become times, counted from now."""
    now = datetime.now(UTC).replace(microsecond=0)
    ages = {"modified_since": given["max_age"], "modified_until": given["min_age"]}
    table = {
        "rules": _rules(
            given["include"],
            given["exclude"],
            given["filter"],
            given["filter_from"],
            has_usual=given["exclude_usual"],
        ),
        "min_bytes": given["min_size"],
        "max_bytes": given["max_size"],
        **{
            key: None if seconds is None else now - timedelta(seconds=seconds)
            for key, seconds in ages.items()
        },
    }
    return {key: value for key, value in table.items() if value not in (None, ())} or None


def _rules(
    include: Sequence[str],
    exclude: Sequence[str],
    rules: Sequence[str],
    files: Sequence[str],
    *,
    has_usual: bool,
) -> tuple[str, ...]:
    if include and exclude:
        raise UsageError(
            "--include and --exclude: which of them comes first isn't clear. Write both as "
            "--filter, in the order in which they count: --filter '- cache/' --filter '+ *.tif' "
            "--filter '- *'"
        )
    usual = [f"- {pattern}" for pattern in USUAL] if has_usual else []
    found = usual if include else []  # what is included decides, and nothing comes after it
    found += [f"+ {pattern}" for pattern in include]
    found += (f"- {pattern}" for pattern in exclude)
    for path in files:
        rules = (*rules, *_read(path))
    found += rules_of_lines(rules)
    return (*found, EXCLUDE_ALL) if include else (*found, *usual)


def _read(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(
            f"--filter-from {quote(path)}: {reason_of(error)}. Correct the path."
        ) from None
    except UnicodeDecodeError:
        raise UsageError(
            f"--filter-from {quote(path)}: expected UTF-8; found other bytes. Write '?' in "
            "place of each of them."
        ) from None
    if len(text) > _MOST_BYTES:
        raise UsageError(f"--filter-from {quote(path)}: expected up to 4 MiB of rules; found more")
    return text.splitlines()
