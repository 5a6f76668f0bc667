"""``jobtool routes``: which way data goes between two sites, and why."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

from jobtool.cli.console import DONE, FAILED, Console
from jobtool.cli.lines import RouteLine
from jobtool.cli.options import command, input_options, output_options
from jobtool.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from jobtool.routes.found import ConsideredRoute, Route

_MAX_WIDTH = 100

#: The exit code if the conditions of no route hold now.
_WAITS = 5


@command(
    name="jobtool routes",
    example="jobtool routes sites.toml --from chile --to cologne --at 2026-11-27T23:00Z",
    is_output_result=True,
)
@input_options(
    name="sites_path", metavar="SITES.TOML", help_text="The file of sites and routes, a TOML file."
)
@click.option(
    "--from",
    "origin",
    required=True,
    metavar="SITE",
    help="Where data is: a site, or SITE.LOCATION.",
)
@click.option(
    "--to",
    "target",
    required=True,
    metavar="SITE",
    help="Where it shall be: a site, or SITE.LOCATION.",
)
@click.option(
    "--at",
    "when",
    metavar="TIME",
    help="When the transfer begins, such as 2026-11-27T22:00+01:00. Without an offset, by the time "
    "zone of the first site. [default: now]",
)
@click.option("--size", metavar="SIZE", help="How much is moved, such as 30TB: it must fit.")
@click.option(
    "--probe",
    is_flag=True,
    help="Ask stores whether they answer, and filesystems how much room they have. Without it, "
    "such conditions are taken to hold.",
)
@output_options
def cli(
    *,
    sites_path: str,
    origin: str,
    target: str,
    when: str | None,
    size: str | None,
    probe: bool,
    verbosity: int,
    as_json: bool,
) -> int:
    """Show which way data goes from one site to another, and why.

    It moves nothing. If the conditions of no route hold at that time, it says from when the first
    may be used, and the exit code is 5.
    """
    from jobtool.api.routes import explain_route

    console = Console(verbosity=verbosity, as_json=as_json)
    route = explain_route(
        sites_path, origin, target, at=_time(when), size_bytes=_size(size), probe=probe
    )
    if as_json:
        line: RouteLine = {"event": "route", **route.json()}
        console.print_json(line)
    else:
        _print(route)
    return 0 if route.is_usable else _WAITS


def _time(text: str | None) -> datetime | None:
    try:
        return None if text is None else datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"--at: expected a time such as 2026-11-27T22:00+01:00; found {text!r}"
        ) from None


def _size(text: str | None) -> int | None:
    from jobtool.routes.amounts import parse_bytes

    try:
        return None if text is None else parse_bytes(text)
    except ValueError as error:
        raise UsageError(f"--size: {error}") from None


def _print(route: Route) -> None:
    from rich.console import Console as RichConsole
    from rich.text import Text

    from jobtool.redact import redact

    console = RichConsole(highlight=False)
    console.width = min(console.width, _MAX_WIDTH)
    heading = (f"{route.origin} → {route.target}", "bold")
    console.print(
        Text.assemble("\n", heading, f"  at {route.at:%Y-%m-%d %H:%M %z}"), soft_wrap=True
    )
    with console.capture() as capture:
        console.print(_legs(route) if route.is_usable else _waiting(route))
        console.print()
        console.print(_table(route.considered))
    for line in capture.get().splitlines():
        console.out(redact(line.rstrip()), highlight=False)
    console.print()


def _waiting(route: Route) -> str:
    opens = route.usable_from
    when = "" if opens is None else f" The first may be used from {opens:%Y-%m-%d %H:%M %z}."
    return f"{FAILED} No route may be used at this time.{when}"


def _legs(route: Route) -> Table:
    from rich.table import Table
    from rich.text import Text

    from jobtool.names import quote

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(justify="right")
    table.add_column(overflow="fold")
    for number, leg in enumerate(route.legs, 1):
        cell = Text(f"{leg.origin.place.text()} → {leg.target.place.text()}")
        cell.append(f"\n{quote(leg.origin.url)} → {quote(leg.target.url)}", style="dim")
        limits = [f"route {leg.route}"]
        limits += [f"methods {', '.join(leg.methods)}"] if leg.methods else []
        limits += [f"bandwidth {leg.bandwidth.text()}"] if leg.bandwidth is not None else []
        cell.append("\n" + " · ".join(limits), style="dim")
        table.add_row(Text(str(number)), cell)
    return table


def _table(considered: tuple[ConsideredRoute, ...]) -> Table:
    from rich.table import Table
    from rich.text import Text

    from jobtool.routes.found import Verdict

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    for _ in range(3):
        table.add_column(overflow="fold")
    table.add_row("", *(Text(name, style="bold") for name in ("for", "route", "why")))
    for one in considered:
        is_taken = one.verdict is Verdict.TAKEN
        cell = Text(f"taken: {one.why}" if is_taken else f"passed over: {one.why}")
        for each in one.assumed:
            cell.append(f"\nnot known, taken to hold: {each}", style="dim")
        what = f"{one.route} ({one.type}, priority {one.priority})"
        if one.type == "custom":
            what = f"{one.route} (custom)" if not one.priority else what
        table.add_row(
            Text(DONE if is_taken else "  "), Text(f"{one.origin} → {one.target}"), Text(what), cell
        )
    return table
