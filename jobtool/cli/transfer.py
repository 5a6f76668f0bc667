"""``transfer-worker``: transfers the jobs of a joblist."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from jobtool.cli.console import WARNING, Console
from jobtool.cli.options import (
    NumberRange,
    as_bandwidth,
    as_seconds,
    assignments,
    comma_separated,
    command,
    dry_run_option,
    input_options,
    open_trusted,
    output_options,
    trust_option,
)
from jobtool.cli.rankend import end_rank, rank_place
from jobtool.cli.stopsignals import stop_signals, stopping
from jobtool.cli.utf8 import ensure_utf8
from jobtool.level import Level
from jobtool.names import quote
from jobtool.stop import Stop

if TYPE_CHECKING:
    from jobtool.jobs.claimpolicy import ClaimSetting
    from jobtool.jobs.forms import Compression
    from jobtool.stores.local import LinkPolicy
    from jobtool.transfer.policies import IfExists, IfGone, Verify
    from jobtool.worker.deadline import Deadline
    from jobtool.worker.environment import Environment
    from jobtool.worker.options import WorkerOptions


@command(name="transfer-worker", example="mpirun -n 4 transfer-worker -i source08")
@input_options()
@click.option(
    "--threads",
    type=click.IntRange(1, 256),
    help="Files at a time in this worker, at most. [default: 16, or joblist.toml's]",
)
@click.option("--max-jobs", type=click.IntRange(min=1), metavar="N", help="Stop after N jobs.")
@click.option(
    "--time-limit",
    callback=as_seconds,
    metavar="DURATION",
    help="After how long this worker will be killed, such as 11h30m or 12:00:00. It stops before. "
    "[default: the scheduler's time limit, if known]",
)
@click.option(
    "--grace",
    type=NumberRange(min=0, max=86400),
    metavar="SECONDS",
    help="How long before that it begins to stop. [default: 120, or a quarter of the time]",
)
@click.option(
    "--wait", is_flag=True, help="Stay until no job is ongoing, and transfer what is left."
)
@click.option(
    "--site",
    metavar="NAME",
    envvar="JOBTOOL_SITE",
    help="Where this worker is, by the joblist's sites file: it does the steps of packages that "
    "belong there. [default: JOBTOOL_SITE, or the steps of all sites]",
)
@click.option(
    "--share/--no-share",
    default=True,
    help="Idle workers help with large jobs. [default: share]",
)
@click.option(
    "--claims",
    type=click.Choice(["auto", "lock", "lease"]),
    help="How jobs are claimed: by kernel locks, or by leases, which hold between nodes whose "
    "filesystem doesn't share locks. [default: auto, by the filesystem, or joblist.toml's]",
)
@click.option(
    "--if-exists",
    type=click.Choice(["verify", "overwrite", "error"]),
    help="A file at the destination without a receipt: compare it and keep it if it is the same "
    "(verify, the default), send it again, or treat it as an error.",
)
@click.option(
    "--verify",
    type=click.Choice(["digest", "read-back"]),
    help="How a written file is proven: by the store's digest or from memory (the default), or by "
    "reading it again from its medium.",
)
@click.option(
    "--links",
    type=click.Choice(["follow", "skip", "error", "keep"]),
    help="Symbolic links in a local source: follow them inside the job's tree (the default; others "
    "are errors), skip them, treat any as an error, or keep them as links.",
)
@click.option(
    "--if-gone",
    type=click.Choice(["error", "ignore"]),
    help="A file that an earlier attempt listed but didn't transfer, and that is gone from the "
    "source: an error (the default), or left out.",
)
@click.option(
    "--compression",
    type=click.Choice(["none", "zstd", "gzip", "unpack"]),
    help="Store files compressed, as NAME.zst or NAME.gz, where that saves something; or store "
    "such files as what they were (unpack). [default: none, or joblist.toml's]",
)
@click.option(
    "--preserve",
    callback=comma_separated,
    metavar="WORDS",
    help="Which attributes of files and folders are kept where the destination can hold them: some "
    "of mode, times, xattrs, acl, owner, separated by commas; or none or all. "
    "[default: mode,times]",
)
@click.option(
    "--methods",
    callback=comma_separated,
    metavar="NAMES",
    help="How files are moved: names of methods, separated by commas. Each gets the files that "
    "those before it leave. server-side (by the service itself, if it has both sides) and stream "
    "are jobtool's own. auto: all that are available for a job; `jobtool methods` shows them. "
    "[default: server-side,stream]",
)
@click.option(
    "--bandwidth",
    callback=as_bandwidth,
    metavar="RATE",
    help="The bytes that may be moved in a second, such as 200MB/s, by all workers of the joblist "
    "together; or a timetable, such as '08:00-18:00 50MB/s, else unlimited'. "
    "[default: joblist.toml's, or unlimited]",
)
@click.option(
    "--max-requests-per-second",
    type=NumberRange(min=0),
    metavar="N",
    help="The requests to stores in a second, by all workers together; 0 for no limit. "
    "[default: joblist.toml's, or no limit]",
)
@click.option(
    "--metrics-textfile",
    metavar="FOLDER",
    help="Write this worker's metrics to a file in this folder, which node_exporter's textfile "
    "collector reads. [default: joblist.toml's]",
)
@click.option(
    "--credentials",
    "credentials",
    multiple=True,
    metavar="KEY=VALUE",
    help="A key of [credentials], such as provider=profile, in place of the joblist's whole table. "
    "Repeatable.",
)
@trust_option
@dry_run_option
@output_options
def cli(
    *,
    joblist_path: str,
    threads: int | None,
    max_jobs: int | None,
    time_limit: float | None,
    grace: float | None,
    wait: bool,
    site: str | None,
    share: bool,
    claims: ClaimSetting | None,
    if_exists: IfExists | None,
    links: LinkPolicy | None,
    verify: Verify | None,
    if_gone: IfGone | None,
    compression: Compression | None,
    preserve: tuple[str, ...] | None,
    methods: tuple[str, ...] | None,
    bandwidth: str | None,
    max_requests_per_second: float | None,
    metrics_textfile: str | None,
    credentials: tuple[str, ...],
    trust: bool,
    dry_run: bool,
    verbosity: int,
    as_json: bool,
) -> int:
    """Transfer the jobs of a joblist, each file verified, until nothing is left to claim.

    Start as many as you like, under mpirun, in scheduler arrays or by hand: no job is done twice.
    Ctrl-C (or SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGXCPU) finishes the files in progress and hands
    the job back. A second Ctrl-C stops at once. Nothing that was proven is lost either way. The
    worker also stops when its time is nearly up. Under nohup SIGHUP is ignored.
    """
    stop = Stop()
    signals = stop_signals()
    # Before anything else: an earlier signal would end the worker as if it had failed.
    with stopping(stop, signals):
        from jobtool.api.options import require_grace

        require_grace(grace, time_limit, grace_name="--grace", time_limit_name="--time-limit")
        return run_worker(
            stop,
            signals,
            joblist_path=joblist_path,
            time_limit=time_limit,
            grace=grace,
            credentials=assignments(credentials, option="--credentials"),
            trust=trust,
            dry_run=dry_run,
            verbosity=verbosity,
            as_json=as_json,
            metrics_textfile=metrics_textfile,
            chosen={
                "max_jobs": max_jobs,
                "claims": claims,
                "wait": wait,
                "site": site,
                "share": share,
                "threads": threads,
                "if_exists": if_exists,
                "links": links,
                "verify": verify,
                "if_gone": if_gone,
                "compression": compression,
                "preserve": preserve,
                "methods": methods,
                "bandwidth": bandwidth,
                "max_requests_per_second": max_requests_per_second,
            },
        )


def run_worker(
    stop: Stop,
    signals: tuple[signal.Signals, ...],
    *,
    joblist_path: str,
    time_limit: float | None,
    grace: float | None,
    credentials: dict[str, Any],
    trust: bool,
    dry_run: bool,
    verbosity: int,
    as_json: bool,
    chosen: dict[str, Any],
    metrics_textfile: str | None = None,
    console: Console | None = None,
) -> int:
    """Run the worker as ``cli`` describes; ``chosen`` are the worker's own options.

    ``console`` is used in place of a new one.
    """
    from jobtool.worker.environment import joined, launched_size

    link = None
    if not dry_run and launched_size(os.environ) > 1:
        from jobtool.worker.supervisor import Ended, supervise

        outcome = supervise(signals)
        if isinstance(outcome, Ended):
            return end_rank(outcome, joblist_path, as_json=as_json)
        link = outcome

    from jobtool.api.options import worker_options
    from jobtool.cli.arenas import bound_arenas
    from jobtool.metrics.meter import metered
    from jobtool.worker.loop import Worker

    bound_arenas()
    # Before anything can fail: the other ranks wait for this one here.
    environment = joined(os.environ)
    if link is not None:
        link.introduce(environment)
    console = console or Console(
        verbosity=_verbosity(verbosity, environment), as_json=as_json, place=rank_place(environment)
    )
    if verbosity:
        console.loud_kinds = frozenset({"finished"})  # another rank prints it if the first has died
    joblist = open_trusted(joblist_path, trust=trust, warn=console.note, credentials=credentials)
    if environment.rank == 0:
        console.note(f"Valid input path: {quote(joblist.path)}")
        console.note(f"Dry run: {'enabled' if dry_run else 'disabled'}")
        console.note(f"Verbosity level: {verbosity}")

    def warn(text: str) -> None:
        if environment.rank == 0:
            console.note(text, WARNING)

    def on_deadline(deadline: Deadline, grace_seconds: float) -> None:
        if environment.rank == 0:
            left = timedelta(seconds=round(deadline.seconds))
            console.note(
                f"{left} left ({deadline.source}); workers begin to stop {grace_seconds:.0f} s "
                "before the end."
            )

    options = worker_options(
        chosen,
        stop,
        time_limit_seconds=time_limit,
        grace_seconds=grace,
        warn=warn,
        on_deadline=on_deadline,
    )
    if dry_run and environment.rank:
        return 0  # rank 0 prints it for all
    if dry_run:
        return Worker(joblist, environment, options, console.emit).preview()
    # mpirun forwards whole lines only, and gives its ranks a terminal in any case.
    is_alone = environment.size == 1
    display = _display(console, options) if is_alone else nullcontext(options)
    textfile = None if metrics_textfile is None else os.path.abspath(metrics_textfile)
    with (
        display as options,
        metered(joblist, environment, console.emit, options, textfile=textfile) as (emit, options),
    ):
        worker = Worker(joblist, environment, options, emit)
        code = worker.run(None if link is None else link.joined)
    if link is not None:
        link.finish(code)
    return code


@contextlib.contextmanager
def _display(console: Console, options: WorkerOptions) -> Iterator[WorkerOptions]:
    """Show a progress display on a terminal; elsewhere progress is printed as plain lines."""
    if console.as_json or console.verbosity == 0 or not sys.stdout.isatty():
        yield options
        return
    from msgspec.structs import replace

    from jobtool.cli.display import ProgressDisplay

    with ProgressDisplay() as display:
        console.quiet_kinds = frozenset({"progress"})
        console.write, console.watch = display.write, display.on_event
        try:
            yield replace(options, watch=display.show)
        finally:
            console.write = console.watch = None


def _verbosity(asked: int, environment: Environment) -> int:
    """Return the verbosity. By default only rank 0 of several prints normal events."""
    return asked if environment.rank == 0 or asked > Level.NORMAL else Level.ALWAYS


def main() -> None:
    """Run the command."""
    ensure_utf8()
    cli()
