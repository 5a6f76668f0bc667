"""``transfer-worker``: claims jobs and transfers them until none is left."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from jobtool.cli.console import WARNING, Console
from jobtool.cli.options import (
    NumberRange,
    as_seconds,
    assignments,
    command,
    dry_run_option,
    input_options,
    open_trusted,
    output_options,
    trust_option,
)
from jobtool.cli.utf8 import ensure_utf8
from jobtool.errors import UsageError
from jobtool.events import Level
from jobtool.names import quote
from jobtool.stop import Stop

if TYPE_CHECKING:
    from jobtool.jobs.claimpolicy import Told
    from jobtool.stores.local import LinkPolicy
    from jobtool.transfer.policies import IfExists, IfGone, Verify
    from jobtool.worker.deadline import Deadline
    from jobtool.worker.environment import Environment
    from jobtool.worker.options import WorkerOptions
    from jobtool.worker.supervisor import Ended

#: What people and schedulers send before the end: all mean to finish what is under way and leave.
_STOP_SIGNALS = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,  # the terminal is gone
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGXCPU,
)


def _as_words(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[str, ...] | None:
    return None if value is None else tuple(word.strip() for word in value.split(","))


@command(name="transfer-worker", example="mpirun -n 4 transfer-worker -i source08")
@input_options()
@click.option(
    "--threads",
    type=click.IntRange(1, 256),
    help="Files at a time in this worker. [default: 16, or joblist.toml's]",
)
@click.option(
    "--max-jobs", type=click.IntRange(min=1), metavar="N", help="Leave after this many jobs."
)
@click.option(
    "--time-limit",
    callback=as_seconds,
    metavar="DURATION",
    help="When this worker will be killed, as 11h30m or 12:00:00; it stops before. "
    "[default: the scheduler's, where it tells]",
)
@click.option(
    "--grace",
    type=NumberRange(min=0, max=86400),
    metavar="SECONDS",
    help="How long before the end to begin to drain. [default: 120, or a quarter of the time]",
)
@click.option("--wait", is_flag=True, help="Stay until no job is ongoing, and take what is left.")
@click.option(
    "--share/--no-share",
    default=True,
    help="Help others with a large job when there is no other, and let them help. [default: share]",
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
    help="A file at the destination that has no receipt: compare and keep it if it is the same "
    "(verify, the default), send it again, or take it for an error.",
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
    "are errors), skip them, take any for an error, or keep them as links.",
)
@click.option(
    "--if-gone",
    type=click.Choice(["error", "ignore"]),
    help="A file that an earlier attempt has listed, that didn't arrive and that is gone from the "
    "source: an error (the default), or left out.",
)
@click.option(
    "--preserve",
    callback=_as_words,
    metavar="WORDS",
    help="Which attributes of files and folders are kept where the destination can: some of mode, "
    "times, xattrs, acl, owner, with commas between, or none or all. [default: mode,times]",
)
@click.option(
    "--credentials",
    "credentials",
    multiple=True,
    metavar="KEY=VALUE",
    help="A key of [credentials] in place of the joblist's whole table, as provider=profile. "
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
    share: bool,
    claims: Told | None,
    if_exists: IfExists | None,
    links: LinkPolicy | None,
    verify: Verify | None,
    if_gone: IfGone | None,
    preserve: tuple[str, ...] | None,
    credentials: tuple[str, ...],
    trust: bool,
    dry_run: bool,
    verbosity: int,
    as_json: bool,
) -> int:
    """Transfer the jobs of a joblist, each file verified, until nothing is left to claim.

    Start as many as you like, under mpirun, in scheduler arrays or by hand: no job is done twice.
    Ctrl-C (or SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGXCPU) finishes the files under way and hands
    the job back; Ctrl-C once more stops at once, and nothing that was proven is lost either way.
    The same happens when the time is nearly up. Under nohup SIGHUP does nothing.
    """
    from jobtool.api.options import require_grace

    require_grace(grace, time_limit, grace_name="--grace", time_limit_name="--time-limit")
    stop = Stop()
    signals = _stop_signals()
    # First of all: a signal that comes before would end the worker as if it had failed.
    with _stopping(stop, signals):
        return _transfer(
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
            told={
                "max_jobs": max_jobs,
                "claims": claims,
                "wait": wait,
                "share": share,
                "threads": threads,
                "if_exists": if_exists,
                "links": links,
                "verify": verify,
                "if_gone": if_gone,
                "preserve": preserve,
            },
        )


def _transfer(
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
    told: dict[str, Any],
) -> int:
    """Do as ``cli`` says; ``told`` are the worker's own options."""
    from jobtool.worker.environment import detect, launched_size

    charge = None
    if not dry_run and launched_size(os.environ) > 1:
        from jobtool.worker.supervisor import Ended, supervise

        outcome = supervise(signals)
        if isinstance(outcome, Ended):
            return _after(outcome, joblist_path, as_json=as_json)
        charge = outcome

    from jobtool.api.options import worker_options
    from jobtool.worker.loop import Worker

    # Before anything can go wrong: the other ranks wait for this one in it.
    environment = detect(os.environ).without_mpi()
    if charge is not None:
        charge.introduce(environment)
    console = Console(
        verbosity=_verbosity(verbosity, environment), as_json=as_json, place=_place(environment)
    )
    if verbosity:
        console.loud_kinds = frozenset({"finished"})  # told by another rank if the first has died
    joblist = open_trusted(joblist_path, trust=trust, tell=console.note, credentials=credentials)
    if environment.rank == 0:
        console.note(f"Valid input path: {quote(joblist.path)}")
        console.note(f"Dry run: {'enabled' if dry_run else 'disabled'}")
        console.note(f"Verbosity level: {verbosity}")

    def warn(text: str) -> None:
        if environment.rank == 0:
            console.note(text, WARNING)

    def tell_deadline(deadline: Deadline, grace_seconds: float) -> None:
        if environment.rank == 0:
            left = timedelta(seconds=round(deadline.seconds))
            console.note(
                f"{left} left ({deadline.source}), the last {grace_seconds:.0f} s of it to drain."
            )

    options = worker_options(
        told,
        stop,
        time_limit_seconds=time_limit,
        grace_seconds=grace,
        warn=warn,
        tell_deadline=tell_deadline,
    )
    if dry_run and environment.rank:
        return 0  # rank 0 tells it for all
    if dry_run:
        return Worker(joblist, environment, options, console.emit).preview()
    # mpirun passes on whole lines only, and gives its ranks a terminal whoever looks.
    is_alone = environment.size == 1
    display = _display(console, options) if is_alone else nullcontext(options)
    with display as options:
        worker = Worker(joblist, environment, options, console.emit)
        code = worker.run(None if charge is None else charge.has_told)
    if charge is not None:
        charge.dismiss(code)
    return code


def _after(ended: Ended, path: str, *, as_json: bool) -> int:
    """Return the exit code of a rank whose worker has ended; if not in order, when all have."""
    environment = ended.environment
    if ended.in_order or environment is None or environment.run is None:
        return ended.exit_code
    from jobtool.api.places import existing_path
    from jobtool.jobs.claimpolicy import DEFAULT_LEASE_SECONDS
    from jobtool.jobs.joblist import CLAIMS_FOLDER
    from jobtool.jobs.membership import Membership
    from jobtool.worker.events import WorkerStopped
    from jobtool.worker.rankgroup import RankGroup
    from jobtool.worker.supervisor import outlast

    folder = ""
    with contextlib.suppress(UsageError):  # told by the worker
        folder = existing_path(path)
    if not os.path.isdir(folder):  # on this node: the others may see it, and the first tells it
        return ended.exit_code if environment.rank == 0 else 0
    console = Console(as_json=as_json, place=_place(environment))
    if ended.killed_by is not None:
        reason = f"worker {environment.worker} was killed ({ended.killed_by.name})"
        console.emit(WorkerStopped(reason=reason))
    claims_path = os.path.join(folder, CLAIMS_FOLDER)
    rank_group = RankGroup(claims_path, environment, Membership(claims_path, DEFAULT_LEASE_SECONDS))
    code = outlast(ended, rank_group)
    if code and ended.killed_by is not None:
        console.emit(WorkerStopped(reason="no rank is left; start again to have the rest done"))
    return code


def _stop_signals() -> tuple[signal.Signals, ...]:
    """Return the signals that ask to stop: SIGHUP unless it is ignored, as nohup has it."""
    ignores_hangup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return tuple(one for one in _STOP_SIGNALS if one != signal.SIGHUP or not ignores_hangup)


@contextlib.contextmanager
def _stopping(stop: Stop, signals: tuple[signal.Signals, ...]) -> Iterator[None]:
    interrupts = 0

    def handle(number: int, frame: object) -> None:
        nonlocal interrupts
        interrupts += number == signal.SIGINT
        if interrupts > 1 or (number == signal.SIGINT and stop.is_set()) or stop.is_lost:
            os._exit(128 + number)  # what is proven is on disk; the claim frees itself
        stop.set(signal.Signals(number).name)
        # Not through the console: its lock may be held by what this interrupts.
        with contextlib.suppress(OSError):  # whoever read it may have had the same signal
            again = "; Ctrl-C again stops at once" if number == signal.SIGINT else ""
            name = signal.Signals(number).name
            os.write(2, f"\n{name}: finishing files under way{again}\n".encode())

    before = {number: signal.signal(number, handle) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _display(console: Console, options: WorkerOptions) -> Iterator[WorkerOptions]:
    """Show a progress display where a person looks; else progress comes as plain lines."""
    if console.as_json or console.verbosity == 0 or not sys.stdout.isatty():
        yield options
        return
    from jobtool.cli.display import ProgressDisplay

    with ProgressDisplay() as display:
        console.quiet_kinds = frozenset({"progress"})
        console.write, console.watch = display.write, display.tell
        try:
            yield replace(options, watch=display.show)
        finally:
            console.write = console.watch = None


def _place(environment: Environment) -> dict[str, str | int]:
    """Return what tells this worker's lines from those of the other ranks."""
    if environment.size == 1:
        return {}
    return {"host": environment.host, "rank": environment.rank}


def _verbosity(asked: int, environment: Environment) -> int:
    """Return how much to tell: of several ranks the first tells what it does, and what all do."""
    return asked if environment.rank == 0 or asked > Level.NORMAL else Level.ALWAYS


def main() -> None:
    """Run the command."""
    ensure_utf8()
    cli()
