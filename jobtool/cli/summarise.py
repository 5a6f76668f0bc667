"""``summarise-jobs``: the state of a joblist."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from jobtool.cli.console import Console
from jobtool.cli.options import command, input_options, output_options
from jobtool.cli.utf8 import ensure_utf8
from jobtool.names import quote

if TYPE_CHECKING:
    from datetime import datetime

    from jobtool.cli.page import Line
    from jobtool.cli.summaryview import View
    from jobtool.report.jobline import JobLine
    from jobtool.report.live import LiveJoblist
    from jobtool.report.overview import Overview

_STATUSES = ("todo", "ongoing", "success", "error", "invalid")

#: How often ``--watch`` without a number looks.
DEFAULT_SECONDS = 2.0


def _as_past(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> datetime | None:
    if value is None:
        return None
    from datetime import UTC, datetime

    from jobtool.cli.pasttime import parse_since

    try:
        return parse_since(value, datetime.now(UTC))
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _watch_option(function: Callable[..., int]) -> Callable[..., int]:
    """Add ``--watch [SECONDS]``: a word after it that is no number is the joblist."""
    import functools

    @functools.wraps(function)
    def with_seconds(*, watch: str | None, input_argument: str | None, **rest: Any) -> int:
        seconds: float | None = None
        if watch is not None:
            try:
                seconds = float(watch)
            except ValueError:
                if input_argument is not None or rest.get("input_option") is not None:
                    raise click.BadParameter(
                        f"expected a number of seconds; found {watch!r}", param_hint="'--watch'"
                    ) from None
                seconds, input_argument = DEFAULT_SECONDS, watch
            if not 0.2 <= seconds <= 86_400:
                raise click.BadParameter(
                    f"expected 0.2 to 86400 seconds; found {watch}", param_hint="'--watch'"
                )
        return function(watch_seconds=seconds, input_argument=input_argument, **rest)

    return click.option(
        "--watch",
        metavar="[SECONDS]",
        is_flag=False,
        flag_value=str(DEFAULT_SECONDS),
        help="Show it anew every so many seconds, 2 by default, until Ctrl-C.",
    )(with_seconds)


@command(
    name="summarise-jobs",
    example="summarise-jobs -i source08 --watch",
    is_output_result=True,
)
@_watch_option
@input_options()
@click.option("--jobs", "names_jobs", is_flag=True, help="A line for each job, too.")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(_STATUSES),
    help="A line for each job with this status. Repeatable.",
)
@click.option(
    "--by",
    metavar="FIELD",
    help="A table by this field of the layout. [the first with 2 to 20 values that jobs share]",
)
@click.option(
    "--since",
    "since_time",
    metavar="TIME",
    callback=_as_past,
    help="What has happened since then: '2h', '1d' or a date such as 2026-11-20T14:30.",
)
@output_options
def cli(
    *,
    joblist_path: str,
    watch_seconds: float | None,
    names_jobs: bool,
    statuses: tuple[str, ...],
    by: str | None,
    since_time: datetime | None,
    verbosity: int,
    as_json: bool,
) -> int:
    """Read the job files of a joblist and report.

    How far it is, how fast it goes and when it will be done; what each worker does; which jobs
    failed for which cause, and what deals with it; which ongoing jobs no running worker seems to
    hold. It only reads, and needs nothing of the workers.
    """
    from jobtool.api.places import opened
    from jobtool.report.live import LiveJoblist

    console = Console(verbosity=verbosity, as_json=as_json)
    joblist = opened(joblist_path)
    console.note(f"Valid input path: {quote(joblist.path)}")
    console.note("Dry run: disabled")
    console.note(f"Verbosity level: {verbosity}")
    shown = Shown(
        LiveJoblist(joblist),
        by=by,
        since_time=since_time,
        statuses=statuses,
        names_jobs=names_jobs or bool(statuses) or verbosity >= 2,
    )
    if watch_seconds is not None:
        from jobtool.cli.watch import watch

        return watch(shown, console, watch_seconds)
    shown.live.look()
    overview = shown.overview()
    shown.print(overview, console)
    return overview.exit_code


class Shown:
    """What ``summarise-jobs`` shows of a joblist, by its options."""

    def __init__(
        self,
        live: LiveJoblist,
        *,
        by: str | None = None,
        since_time: datetime | None = None,
        statuses: tuple[str, ...] = (),
        names_jobs: bool = False,
    ) -> None:
        self.live = live
        self._by = by
        self._since_time = since_time
        self._statuses = statuses
        self.names_jobs = names_jobs

    def overview(self, *, is_strict: bool = True) -> Overview:
        """Return the overview.

        Raises ``UsageError`` for a field that no job has, if all jobs have been read. Unless
        ``is_strict``, the jobs that have it may be gone: there is no table then.
        """
        from msgspec.structs import replace

        from jobtool.errors import UsageError
        from jobtool.report.overview import overview_of

        try:
            found = overview_of(self.live, by=self._by, since_time=self._since_time)
            return replace(found, jobs=tuple(self.jobs())) if self.names_jobs else found
        except KeyError as error:
            if self.live.unread or not is_strict:
                return overview_of(self.live, by="", since_time=self._since_time)
            if not error.args:
                raise UsageError(
                    f"--by {quote(self._by or '')}: expected a field of the jobs; found none. "
                    "Leave out --by."
                ) from None
            from jobtool.suggest import closest

            meant = closest(self._by or "", list(error.args))
            hint = f" Did you mean {quote(meant)}?" if meant else ""
            raise UsageError(
                f"--by {quote(self._by or '')}: expected a field of the jobs, one of "
                f"{', '.join(map(quote, error.args))}.{hint}"
            ) from None

    def jobs(self) -> list[JobLine]:
        """Return the jobs that are named: all, or those with the chosen statuses."""
        from jobtool.jobs.job import JobStatus

        chosen = self._statuses or _STATUSES
        return self.live.of_status(
            *(None if word == "invalid" else JobStatus(word) for word in chosen)
        )

    def print(self, overview: Overview, console: Console) -> None:
        """Print everything once."""
        if console.as_json:
            summary = self.live.summary()
            told = {**summary.json(), **overview.json()}
            if self._statuses:
                told["jobs"] = [job.json() for job in self.jobs()]
            console.print_json(told)
            return

        from jobtool.cli.page import Page, plain
        from jobtool.cli.summaryview import View
        from jobtool.cli.terminal import is_terminal, output_width

        width = output_width() if is_terminal(sys.stdout) else None
        view = View(overview, Page(width, encoding=sys.stdout.encoding))
        console.note(f"Found {overview.total} job file(s).")
        for line in self.lines(view):
            console.result(plain(line))

    def lines(self, view: View) -> list[Line]:
        """Return all lines; the counts come last, where a person looks first."""
        lines: list[Line] = view.state()
        if self.names_jobs:
            is_export = self.live.joblist.settings.export is not None
            lines += view.jobs(view.overview.jobs or (), is_export=is_export)
        else:
            lines += [*view.causes(), *view.abandoned()]
        for part in (view.workers, view.values, view.steps, view.pauses, view.counts, view.bar):
            lines += part()
        return [*lines, *view.rate(), *view.since(), *view.further()]


def main() -> None:
    """Run the command."""
    ensure_utf8()
    cli()
