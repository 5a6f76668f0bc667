"""``jobtool stage``: items of the archive at a site's location, on demand."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import click

from jobtool.cli.catalogoptions import catalog_options
from jobtool.cli.console import DONE, FAILED, INFO, WARNING, Console
from jobtool.cli.lines import StagedLine, StageItemLine, StageSkippedLine, StagingLine
from jobtool.cli.options import as_seconds, command, output_options
from jobtool.cli.stopsignals import stop_signals, stopping
from jobtool.errors import JobFileError, UsageError, reason_of
from jobtool.names import quote, shell_word, unquote
from jobtool.stop import Stop

if TYPE_CHECKING:
    from jobtool.staging.results import StagedItem, Staging

_DAY_SECONDS = 86_400
_MOST_BYTES = 64 * 1024 * 1024


@command(
    name="jobtool stage",
    example="jobtool stage 2026-02-01/scan_07 --to processing --site cologne --for 14d",
)
@click.argument("items", nargs=-1, metavar="[ITEM]...")
@click.option(
    "--to",
    default="processing",
    show_default=True,
    metavar="LOCATION",
    help="The location of the site that items are brought to, or SITE.LOCATION.",
)
@click.option(
    "--site",
    metavar="NAME",
    help="The site. [default: JOBTOOL_SITE, or the only site]",
)
@click.option(
    "--for",
    "seconds",
    default="30d",
    show_default=True,
    callback=as_seconds,
    metavar="DURATION",
    help="How long they are needed, such as 12h or 90d.",
)
@click.option(
    "--from-file",
    metavar="FILE",
    help="A file with an item on each line; - for standard input.",
)
@click.option(
    "--member",
    "members",
    multiple=True,
    metavar="GLOB",
    help="Only these files of each item: paths, folders, or patterns of *, ?, [...] and **, "
    "relative to the item. Repeatable.",
)
@click.option(
    "-o",
    "--output-path",
    metavar="JOBLIST",
    help="The joblist. [default: one for the location in ~/.local/state/jobtool/stage]",
)
@click.option(
    "--skip-missing",
    is_flag=True,
    help="Leave out items that can't be staged. By default nothing is staged then.",
)
@click.option("--no-run", is_flag=True, help="Only make the joblist.")
@click.option(
    "--wait",
    is_flag=True,
    help="Stay until files that are being restored are there, and copy them.",
)
@click.option(
    "--list", "is_list", is_flag=True, help="Show what is staged where, by whom, until when."
)
@catalog_options
@output_options
def cli(
    *,
    items: tuple[str, ...],
    to: str,
    site: str | None,
    seconds: float,
    from_file: str | None,
    members: tuple[str, ...],
    output_path: str | None,
    skip_missing: bool,
    no_run: bool,
    wait: bool,
    is_list: bool,
    catalog: str | None,
    sites: str | None,
    stores: dict[str, dict[str, str]],
    verbosity: int,
    as_json: bool,
) -> int:
    """Bring items from the archive, or wherever the catalog has them, to a site's location.

    Each item is copied from its best copy, and its files are proven as by transfer-worker. Packages
    aren't unpacked whole: only the members that are needed are read. Objects in an archive class of
    S3 are restored. While they are, the exit code is 5 and it says until when; the same command
    goes on then. A record says who needs the items until when. jobtool unstage frees the space.
    """
    from jobtool.api.staging import list_staged, stage_items

    console = Console(verbosity=verbosity, as_json=as_json)
    if from_file is not None:
        items = (*items, *_items_of(from_file))
    if is_list:
        _print_list(console, list_staged(items, sites=sites, catalog=catalog, stores=stores))
        return 0
    if not items:
        raise UsageError("expected the names of items; found none. Try --help.")
    if wait and no_run:
        raise UsageError("expected either --wait or --no-run; found both. Try --help.")
    stop = Stop()
    with stopping(stop, stop_signals()), _shown(console) as on_progress:
        done = stage_items(
            items,
            to=to,
            site=site,
            sites=sites,
            catalog=catalog,
            stores=stores,
            days=seconds / _DAY_SECONDS,
            members=members,
            joblist=output_path,
            skip_missing=skip_missing,
            run=not no_run,
            wait=wait,
            on_plan=lambda staging: _print_plan(console, staging),
            on_event=console.emit,
            on_progress=on_progress,
            stop=stop,
        )
    _print_end(console, done, is_run=not no_run)
    return 0 if no_run and done.exit_code in (3, 5) else done.exit_code


def _items_of(path: str) -> list[str]:
    try:
        if path == "-":
            data = sys.stdin.buffer.read(_MOST_BYTES + 1)
        else:
            with open(path, "rb") as file:
                data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"--from-file: can't read {quote(path)}: {reason_of(error)}") from None
    if len(data) > _MOST_BYTES:
        raise UsageError(f"--from-file {quote(path)}: expected at most {_MOST_BYTES} bytes")
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    try:
        return [unquote(line.removesuffix("\r")) for line in lines if line.strip()]
    except JobFileError as error:
        raise UsageError(f"--from-file {quote(path)}: {error}") from None


def _shown(console: Console) -> Any:
    """Return a context with a callback that shows progress: on a terminal, by a display."""
    from jobtool.cli.rundisplay import RunDisplay, can_be_shown

    if console.as_json or console.verbosity == 0 or not can_be_shown():
        return nullcontext(_ignore)

    class Shown(RunDisplay):
        def __enter__(self) -> Any:
            super().__enter__()
            console.quiet_kinds = frozenset({"progress"})
            console.write, console.watch = self.write, self.on_event
            return self.show

        def __exit__(self, *details: Any) -> None:
            console.write = console.watch = None
            super().__exit__(*details)

    return Shown()


def _print_plan(console: Console, staging: Staging) -> None:
    if console.as_json:
        for each in staging.items:
            line = StageItemLine(
                event="stage-item",
                item=quote(each.item),
                url=quote(each.url),
                source=quote(each.source),
                package=quote(each.package),
                is_there=each.is_there,
                reason=each.reason,
            )
            console.print_json(line)
        for item, reason in staging.skipped.items():
            skipped = StageSkippedLine(event="stage-skipped", item=quote(item), reason=reason)
            console.print_json(skipped)
        return
    for each in staging.items:
        symbol = DONE if each.is_there else INFO
        source = "" if each.is_there else f", from {quote(each.source)}"
        console.note(f"{quote(each.item)}: {each.reason}{source}", symbol)
    for item, reason in staging.skipped.items():
        console.note(f"{quote(item)} is left out: {reason}", WARNING)


def _print_end(console: Console, staging: Staging, *, is_run: bool) -> None:
    from jobtool.jobs.stamps import stamp_of

    waits = "" if staging.waits_until is None else stamp_of(staging.waits_until)
    if console.as_json:
        line = StagingLine(
            event="staging",
            joblist=staging.joblist and quote(staging.joblist),
            jobs={quote(name): status for name, status in staging.statuses.items()},
            until=stamp_of(staging.until),
            waits_until=waits or None,
            exit_code=staging.exit_code,
        )
        console.print_json(line)
        return
    goes_on = "" if staging.joblist is None else f"transfer-worker {shell_word(staging.joblist)}"
    count = len(staging.items)
    if not is_run and staging.exit_code:
        console.result(f"{DONE} The joblist is ready: {goes_on}")
    elif staging.exit_code == 0:
        console.result(
            f"{DONE} {count} item(s) are there, and recorded as needed until "
            f"{stamp_of(staging.until)}."
        )
    elif staging.exit_code == 5:
        console.result(
            f"{WARNING} What is left waits for files that are being restored. Go on from {waits} "
            f"on: {goes_on}"
        )
    elif staging.exit_code == 1:
        console.result(
            f"{FAILED} Some jobs are in error. See: "
            f"jobtool summarise {shell_word(staging.joblist or '')}"
        )
    else:
        console.result(f"{WARNING} Work is left. Go on: {goes_on}")


def _print_list(console: Console, lines: list[StagedItem]) -> None:
    from jobtool.jobs.stamps import stamp_of
    from jobtool.units import size_text

    for line in lines:
        until = None if line.until is None else stamp_of(line.until)
        if console.as_json:
            staged = StagedLine(
                event="staged",
                item=quote(line.item),
                place=line.place,
                url=quote(line.url),
                state=line.state,
                files=line.files,
                bytes=line.bytes,
                who=line.who,
                until=until,
            )
            console.print_json(staged)
            continue
        held = f", {line.files} file(s), {size_text(line.bytes)}" if line.files else ""
        need = f"{line.who} until {until}" if line.who is not None else "needed by nobody"
        console.result(
            f"{quote(line.item)}  {line.place}  {line.state}{held}  {need}  {quote(line.url)}"
        )


def _ignore(progress: object) -> None:
    """Show no progress."""
