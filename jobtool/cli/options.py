"""What all commands share: options, paths, errors."""

from __future__ import annotations

import atexit
import errno
import functools
import math
import os
import sys
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from jobtool.cli import completing, streams
from jobtool.cli.console import WARNING, print_error
from jobtool.cli.version import version_option
from jobtool.cli.wrongusage import in_words
from jobtool.errors import JobtoolError, UsageError
from jobtool.liveness import QUERY_THREAD
from jobtool.redact import redact_tracebacks
from jobtool.worker.duration import parse_duration

if TYPE_CHECKING:
    from jobtool.jobs.joblist import JobList

Command = TypeVar("Command", bound=Callable[..., Any])

_EXIT_CODES = """\b
Exit codes:
  0  nothing left to claim and nothing in error
  1  some job is in error or invalid
  2  wrong usage or configuration
  3  stopped early, work is left: run it again
  4  environment problem: credentials, storage or network;
     jobs were handed back, not failed
  5  what is left waits for files that can't be read yet, such as archived
     objects, or is paused: run it again later
  74 in place of 0: not all of the output could be written, and it is the
     result (a report, a script, a dry run)"""

_JOBLIST_HELP = "The joblist: a folder that generate-joblist made."

#: The exit code in place of 0 if the output is the result and not all of it could be written:
#: EX_IOERR of sysexits.h.
OUTPUT_LOST = 74


class NumberRange(click.FloatRange):
    """click's range of numbers that refuses NaN, which no comparison finds out of range."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read a number; fail with a usage error if it isn't one or is out of range."""
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"expected a number; found {value}.", param, ctx)
        return number


class OneLineErrors(click.Command):
    """A click command that reports wrong usage in one line, like every other error.

    Shells complete its values by their metavars; see ``jobtool.cli.completing``.
    """

    def __init__(self, *args: Any, **extra: Any) -> None:
        super().__init__(*args, **extra)
        for parameter in self.params:
            completing.complete(parameter)

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command line and exit."""
        streams.install()
        try:
            return super().main(*args, **{**extra, "standalone_mode": False})
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
            sys.exit(error.exit_code)
        except click.ClickException as error:
            if completing.is_asked():  # a line that is being typed
                sys.exit(error.exit_code)
            print_error(f"{in_words(error)} Try --help.")
            sys.exit(error.exit_code)
        except click.Abort:
            sys.exit(130)


def command(
    *, example: str, is_output_result: bool = False, reads_tables: bool = False, **settings: Any
) -> Callable[[Callable[..., int]], click.Command]:
    """Make a click command of a function that returns an exit code.

    Long options take dashes and underscores alike. The help ends with an example and the exit
    codes. jobtool's errors become one line. With ``is_output_result``, and in a dry run, output
    that could not be written makes the exit code 74 instead of 0. Otherwise the exit code is that
    of the work. With ``reads_tables`` the process ends before Arrow's library tidies up: if one of
    its threads has just begun, as after a table of a few rows, that aborts the process.
    """

    def decorate(function: Callable[..., int]) -> click.Command:
        @functools.wraps(function)
        def run(**arguments: Any) -> NoReturn:
            redact_tracebacks()
            try:
                code = function(**arguments)
            except JobtoolError as error:
                print_error(str(error))
                code = error.exit_code
            if is_output_result or arguments.get("dry_run"):
                code = code or _code_of_output()
            _leave_hanging_queries(code)
            if reads_tables and "pyarrow" in sys.modules:
                atexit._run_exitfuncs()
                _exit_at_once(code)
            sys.exit(code)

        decorator: Callable[[Callable[..., Any]], click.Command] = click.command(
            cls=OneLineErrors,
            context_settings={
                "token_normalize_func": _dashes_for_underscores,
                "help_option_names": ["-h", "--help"],
                "max_content_width": 100,
            },
            epilog=f"\b\nExample:\n  {example}\n\n{_EXIT_CODES}",
            **settings,
        )
        return decorator(run)

    return decorate


def _leave_hanging_queries(code: int) -> None:
    """End the process at once if a query goes on that its database doesn't stop.

    DuckDB, for one, waits for its queries when Python ends.
    """
    if any(thread.name == QUERY_THREAD for thread in threading.enumerate()):
        _exit_at_once(code)


def _exit_at_once(code: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _code_of_output() -> int:
    """Return 0 if all output could be written; else print why not and return 74."""
    error = streams.why_lost()
    if error is None:
        return 0
    if error.errno != errno.EPIPE:  # a reader that leaves, such as `head`, needs no message
        print_error(f"can't write to standard output: {error.strerror}")
    return OUTPUT_LOST


def input_options(
    *, name: str = "joblist_path", metavar: str = "JOBLIST", help_text: str = _JOBLIST_HELP
) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Add the input of a command, an argument or ``-i/--input-path``, passed as ``name``."""

    def decorate(function: Callable[..., int]) -> Callable[..., int]:
        @functools.wraps(function)
        def with_one(*, input_argument: str | None, input_option: str | None, **rest: Any) -> int:
            given = [text for text in (input_argument, input_option) if text is not None]
            if len(given) != 1:
                found = f"both {given[0]} and {given[1]}" if given else "neither"
                raise UsageError(
                    f"expected {metavar} either as the argument or by -i/--input-path; found "
                    f"{found}. Try --help."
                )
            return function(**{name: given[0]}, **rest)

        argument = click.argument("input_argument", metavar=f"[{metavar}]", required=False)
        return argument(input_option(metavar=metavar, help_text=help_text)(with_one))

    return decorate


def input_option(
    *, metavar: str = "JOBLIST", help_text: str = _JOBLIST_HELP
) -> Callable[[Command], Command]:
    """Add ``-i/--input-path`` alone, passed as ``input_option``."""
    return click.option(
        "-i", "--input-path", "input_option", metavar=metavar, help=f"{help_text} Or the argument."
    )


def job_option(function: Command) -> Command:
    """Add ``--job NAME``, repeatable."""
    option: Callable[[Command], Command] = click.option(
        "--job", "jobs", multiple=True, metavar="NAME", help="Only this job. Repeatable."
    )
    return option(function)


def output_options(function: Command) -> Command:
    """Add ``--json``, ``-v/--verbosity`` and ``--version``."""
    for option in (
        version_option,
        click.option("--json", "as_json", is_flag=True, help="Print JSON lines."),
        click.option(
            "-v",
            "--verbosity",
            type=click.IntRange(0, 3),
            default=1,
            show_default=True,
            help="0: errors and results; 1: what happens; 2: each job; 3: each file.",
        ),
    ):
        function = option(function)
    return function


def comma_separated(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[str, ...] | None:
    """Read words that are separated by commas; a callback of an option."""
    return None if value is None else tuple(word.strip() for word in value.split(","))


def trust_option(function: Command) -> Command:
    """Add ``--trust``."""
    option: Callable[[Command], Command] = click.option(
        "--trust",
        is_flag=True,
        help="Run the commands that joblist.toml names, and use its options for programs, this "
        "once, even if others could have written it.",
    )
    return option(function)


def assignments(texts: tuple[str, ...], *, option: str) -> dict[str, Any]:
    """Read ``KEY=VALUE`` and ``TABLE.KEY=VALUE`` into nested tables; raises ``UsageError``."""
    tables: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageError(f"{option} {text}: expected KEY=VALUE; found {text!r}")
        *parts, name = key.split(".")
        table = tables
        for part in parts:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise UsageError(
                    f"{option} {text}: {part} already has a value, so it isn't a table. "
                    "Leave one of them out."
                )
        table[name] = value
    return tables


def open_trusted(
    path: str,
    *,
    trust: bool,
    warn: Callable[[str, str], None],
    credentials: Mapping[str, Any] | None = None,
) -> JobList:
    """Open a joblist whose commands may be run; see ``JobList.require_trusted``.

    ``credentials`` are the user's own, used instead of the joblist's. ``warn`` is called with a
    warning to print.
    """
    from jobtool.api.places import opened

    joblist = opened(path, trust=trust, credentials=credentials)
    warning = joblist.require_trusted()
    if warning is not None:
        warn(warning, WARNING)
    return joblist


def dry_run_option(function: Command) -> Command:
    """Add ``--dry-run``."""
    option: Callable[[Command], Command] = click.option(
        "--dry-run", is_flag=True, help="Print what would be done; change nothing."
    )
    return option(function)


def as_seconds(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> float | None:
    """Read a duration such as ``11h30m``; the callback of such options."""
    if value is None:
        return None
    try:
        return parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def as_bandwidth(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> str | None:
    """Check a rate or a timetable of rates; the callback of such options."""
    if value is not None:
        from jobtool.jobs.limits import Bandwidth

        try:
            Bandwidth.parse(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None
    return value


def as_log_size(context: click.Context, parameter: click.Parameter, value: str) -> int:
    """Read the size of a log, such as ``100MiB``; the callback of such an option."""
    from jobtool.units import parse_size

    least = 4096  # a smaller one would hardly hold the lines of one job
    try:
        size = parse_size(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if size < least:
        raise click.BadParameter(f"expected at least {least} bytes; found {value}")
    return size


def as_rate(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """Read a rate in bytes a second; the callback of such options."""
    if value is None:
        return None
    from jobtool.jobs.limits import Bandwidth

    try:
        found = Bandwidth.parse(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if found.periods or found.rest is None:
        raise click.BadParameter(f"expected one rate, such as 200MB/s; found {value!r}")
    return found.rest


def _dashes_for_underscores(token: str) -> str:
    return token.replace("_", "-")
