"""``jobtool unstage``: frees the space of staged items."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from jobtool.cli.catalogoptions import catalog_options
from jobtool.cli.console import DONE, FAILED, INFO, WARNING, Console
from jobtool.cli.lines import UnstagedLine
from jobtool.cli.options import command, dry_run_option, output_options
from jobtool.cli.stopsignals import stop_signals, stopping
from jobtool.errors import UsageError
from jobtool.names import quote
from jobtool.stop import Stop

if TYPE_CHECKING:
    from jobtool.staging.outcome import Unstaged

_SYMBOLS = {"freed": DONE, "needed": INFO, "ended": INFO, "stays": FAILED}
_MOST_SHOWN = 20


@command(name="jobtool unstage", example="jobtool unstage --expired --dry-run")
@click.argument("items", nargs=-1, metavar="[ITEM]...")
@click.option("--expired", is_flag=True, help="All items that nobody needs any more.")
@click.option("--deep", is_flag=True, help="Read the members of the other copy back first.")
@dry_run_option
@catalog_options
@output_options
def cli(
    *,
    items: tuple[str, ...],
    expired: bool,
    deep: bool,
    dry_run: bool,
    catalog: str | None,
    sites: str | None,
    stores: dict[str, dict[str, str]],
    verbosity: int,
    as_json: bool,
) -> int:
    """Free the space of staged items.

    Only files that jobtool stage has brought are deleted, if they are unchanged since and another
    copy holds them, which is looked at first. Files that were changed stay and are named. An item
    that somebody else needs stays until then. The exit code is 1 if an item stays for another
    reason. Run it again after a kill.
    """
    from jobtool.api.staging import unstage_items

    if expired == bool(items):
        found = "both" if expired else "neither"
        raise UsageError(f"expected either ITEM or --expired; found {found}. Try --help.")
    console = Console(verbosity=verbosity, as_json=as_json)
    stop = Stop()
    with stopping(stop, stop_signals(), doing="finishing the file in progress"):
        done = unstage_items(
            items,
            expired=expired,
            dry_run=dry_run,
            deep=deep,
            sites=sites,
            catalog=catalog,
            stores=stores,
            on_item=lambda each: _print(console, each, dry_run=dry_run),
            stop=stop,
        )
    if not done and not as_json:
        console.note("Nothing has expired.")
    return 1 if any(each.outcome == "stays" for each in done) else 0


def _print(console: Console, done: Unstaged, *, dry_run: bool) -> None:
    from jobtool.jobs.stamps import stamp_of
    from jobtool.units import size_text

    if console.as_json:
        line = UnstagedLine(
            event="unstaged",
            dry_run=dry_run,
            item=quote(done.item),
            url=quote(done.url),
            outcome=done.outcome,
            reason=done.reason,
            until=None if done.until is None else stamp_of(done.until),
            files=done.files,
            bytes=done.bytes,
            kept_files=done.kept_files,
            kept=[quote(path) for path in done.kept],
            evidence=quote(done.evidence) if done.evidence else None,
            how=done.how,
        )
        console.print_json(line)
        return
    symbol = _SYMBOLS[done.outcome]
    if done.outcome != "freed":
        console.result(f"{symbol} {quote(done.item)} {_VERBS[done.outcome]}: {done.reason}")
        return
    verb = "would be" if dry_run else "are"
    size = size_text(done.bytes)
    console.result(
        f"{symbol} {quote(done.item)}: {done.files} file(s), {size} {verb} deleted from "
        f"{quote(done.url)}; {quote(done.evidence)} holds them ({done.how})"
    )
    if done.kept_files:
        named = ", ".join(quote(path or done.item) for path in done.kept[:_MOST_SHOWN])
        more = done.kept_files - min(len(done.kept), _MOST_SHOWN)
        console.result(
            f"{WARNING} {quote(done.item)}: {done.kept_files} file(s) stay, since they were "
            f"changed or weren't brought by jobtool stage: {named}"
            + (f" and {more} more" if more else "")
        )


_VERBS = {"needed": "stays for now", "ended": "is asked for no more", "stays": "stays"}
