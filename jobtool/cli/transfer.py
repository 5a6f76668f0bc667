"""``transfer-worker``: transfers the jobs of a joblist."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from jobtool.cli.choosing import choice_options
from jobtool.cli.nofilters import refuse_filter_options
from jobtool.cli.options import (
    NumberRange,
    as_bandwidth,
    as_log_size,
    as_rate,
    as_seconds,
    assignments,
    comma_separated,
    command,
    input_options,
    output_options,
    trust_option,
)
from jobtool.cli.running import LogChoice, run_worker
from jobtool.cli.stopsignals import Said, stop_signals, stopping
from jobtool.cli.utf8 import ensure_utf8
from jobtool.errors import UsageError
from jobtool.stop import Stop

if TYPE_CHECKING:
    from jobtool.jobs.claimpolicy import ClaimSetting
    from jobtool.jobs.forms import Compression
    from jobtool.stores.local import LinkPolicy
    from jobtool.transfer.policies import IfExists, IfGone, Verify


@command(name="transfer-worker", example="mpirun -n 4 transfer-worker -i source08")
@input_options()
@click.option(
    "--threads",
    type=click.IntRange(1, 256),
    help="Files at a time in this worker, at most. [default: joblist.toml's, or 16, and up to 64 "
    "small ones while that is faster]",
)
@choice_options
@click.option(
    "--order",
    metavar="ORDER",
    help="Which jobs come first: by name, largest, smallest (as far as sizes are known), "
    "field:NAME (by a field of the layout), or random. [default: name]",
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
    "--log-file",
    metavar="FILE",
    help="Write this worker's lines to a file as well, as JSON with --json. %h in the name is the "
    "host, %p the process, %r the rank; each worker needs a file of its own.",
)
@click.option(
    "--log-max-size",
    callback=as_log_size,
    default="100MiB",
    show_default=True,
    metavar="SIZE",
    help="From which size on the file is put aside as FILE.1, and FILE.1 as FILE.2.",
)
@click.option(
    "--log-keep",
    type=click.IntRange(0, 1000),
    default=5,
    show_default=True,
    metavar="N",
    help="How many files that were put aside are kept.",
)
@click.option(
    "--credentials",
    "credentials",
    multiple=True,
    metavar="KEY=VALUE",
    help="A key of [credentials], such as provider=profile, in place of the joblist's whole table. "
    "Repeatable.",
)
@refuse_filter_options
@trust_option
@click.option(
    "--dry-run",
    is_flag=True,
    help="Look at all that would be transferred, and tell how much it is, whether it fits, how "
    "long it takes, and what wouldn't arrive; write nothing.",
)
@click.option(
    "--rate",
    callback=as_rate,
    metavar="RATE",
    help="With --dry-run: estimate the time at this rate, such as 200MB/s. [default: that of the "
    "joblist's jobs so far]",
)
@output_options
def cli(
    *,
    joblist_path: str,
    threads: int | None,
    jobs: tuple[str, ...] | None,
    match: tuple[str, ...] | None,
    order: str | None,
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
    log_file: str | None,
    log_max_size: int,
    log_keep: int,
    credentials: tuple[str, ...],
    trust: bool,
    dry_run: bool,
    rate: float | None,
    verbosity: int,
    as_json: bool,
) -> int:
    """Transfer the jobs of a joblist, each file verified, until nothing is left to claim.

    Start as many as you like, under mpirun, in scheduler arrays or by hand: no job is done twice.
    Ctrl-C (or SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGXCPU) finishes the files in progress and hands
    the job back. A second Ctrl-C stops at once. Nothing that was proven is lost either way. The
    worker also stops when its time is nearly up, and by jobtool stop; it waits while the joblist is
    paused by jobtool pause. Under nohup SIGHUP is ignored. With --job or --match the exit code is
    about these jobs alone.
    """
    stop, said = Stop(), Said()
    signals = stop_signals()
    # Before anything else: an earlier signal would end the worker as if it had failed.
    doing = "telling what was found" if dry_run else "finishing files in progress"
    with stopping(stop, signals, doing=doing, said=said):
        from jobtool.api.options import require_grace
        from jobtool.jobs.jobchoice import JobChoice
        from jobtool.worker.order import require_order

        if rate is not None and not dry_run:
            raise UsageError("--rate: expected --dry-run with it, which estimates the time")
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
            rate=rate,
            verbosity=verbosity,
            as_json=as_json,
            metrics_textfile=metrics_textfile,
            said=said,
            log=None if log_file is None else LogChoice(log_file, log_max_size, log_keep),
            chosen={
                "max_jobs": max_jobs,
                "jobs": JobChoice.of(jobs, match),
                "order": require_order(order or "name"),
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


def main() -> None:
    """Run the command."""
    ensure_utf8()
    cli()
