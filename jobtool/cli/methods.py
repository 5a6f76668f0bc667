"""``jobtool methods``: how the files of a job would be moved, and why not otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from jobtool.cli.console import DONE, Console
from jobtool.cli.lines import MethodChoiceLine
from jobtool.cli.options import (
    comma_separated,
    command,
    input_options,
    open_trusted,
    output_options,
    trust_option,
)
from jobtool.names import quote

if TYPE_CHECKING:
    from rich.table import Table

    from jobtool.api.methods import Explained
    from jobtool.transfer.methodchoice import MethodChoice

_MAX_WIDTH = 100


@command(
    name="jobtool methods", example="jobtool methods source08 --methods auto", is_output_result=True
)
@input_options()
@click.option("--job", metavar="NAME", help="The job. [default: the first that isn't done]")
@click.option(
    "--methods",
    callback=comma_separated,
    metavar="NAMES",
    help="The methods to explain in place of joblist.toml's, as for transfer-worker.",
)
@trust_option
@output_options
def cli(
    *,
    joblist_path: str,
    job: str | None,
    methods: tuple[str, ...] | None,
    trust: bool,
    verbosity: int,
    as_json: bool,
) -> int:
    """Show which methods would move the files of a job, in which order, and why not others.

    It looks at what is installed here and at where source and destination are. It moves nothing and
    contacts no server, so a method that is available may still fail. Its files then go to the next.
    """
    from jobtool.api.methods import explain_methods

    console = Console(verbosity=verbosity, as_json=as_json)
    joblist = open_trusted(joblist_path, trust=trust, warn=console.note)
    for explained in explain_methods(joblist, job=job, methods=methods):
        _tell(explained, console)
    return 0


def _tell(explained: Explained, console: Console) -> None:
    if console.as_json:
        for one in explained.methods:
            line = MethodChoiceLine(
                event="method-choice",
                job=explained.job,
                source=explained.source,
                destination=explained.destination,
                method=one.name,
                place=one.place,
                is_used=one.is_used,
                why_not=one.why_not,
                command=one.command,
            )
            console.print_json(line)
        return
    _print(explained)


def _print(explained: Explained) -> None:
    from rich.console import Console as RichConsole
    from rich.text import Text

    console = RichConsole(highlight=False)
    console.width = min(console.width, _MAX_WIDTH)
    places = f"{quote(explained.source)} → {quote(explained.destination)}"
    heading = Text.assemble("\n", (quote(explained.job), "bold"), f"  {places}")
    console.print(heading, soft_wrap=True)
    with console.capture() as capture:
        console.print(_table(explained.methods))
    for line in capture.get().splitlines():
        console.out(line.rstrip(), highlight=False)
    console.print()


def _table(methods: tuple[MethodChoice, ...]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=2, justify="right")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for one in methods:
        place = "" if one.place is None else str(one.place)
        cell = Text(_said(one))
        if one.command:
            cell.append(f"\n$ {one.command}", style="dim")
        name = Text(f"{DONE if one.is_used else '  '} {one.name}")
        table.add_row(Text(place), name, cell)
    return table


def _said(one: MethodChoice) -> str:
    if one.why_not is not None:
        return f"not available: {one.why_not}"
    return "used" if one.is_used else "available, not asked for"
