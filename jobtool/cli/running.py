"""Running one worker for a command: its console, its rank, its progress display."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from jobtool.cli.console import WARNING, Console
from jobtool.cli.options import open_trusted
from jobtool.cli.rankend import end_rank, rank_place
from jobtool.cli.stopsignals import Said
from jobtool.errors import JobtoolError
from jobtool.events import Emit, Event
from jobtool.level import Level
from jobtool.names import quote
from jobtool.stop import Stop

if TYPE_CHECKING:
    from jobtool.worker.deadline import Deadline
    from jobtool.worker.environment import Environment
    from jobtool.worker.options import WorkerOptions
    from jobtool.worker.supervisor import SupervisorLink


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
    rate: float | None = None,
    log: LogChoice | None = None,
    said: Said | None = None,
    console: Console | None = None,
) -> int:
    """Run a worker as ``transfer-worker`` describes; ``chosen`` are the worker's own options.

    ``rate`` is for a dry run: the bytes in a second to expect. ``log`` says where it writes its
    log, ``said`` is what signal handlers say; ``console`` is used in place of a new one.
    """
    from jobtool.worker.environment import joined, launched_size

    link = None
    if not dry_run and launched_size(os.environ) > 1:
        from jobtool.worker.supervisor import Ended, supervise

        outcome = supervise(signals)
        if isinstance(outcome, Ended):
            return end_rank(outcome, joblist_path, as_json=as_json)
        link = outcome

    from jobtool.cli.arenas import bound_arenas

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
    with _logged(console, None if dry_run else log, environment):
        return _run_joined(
            console,
            environment,
            link,
            stop,
            joblist_path=joblist_path,
            time_limit=time_limit,
            grace=grace,
            credentials=credentials,
            trust=trust,
            dry_run=dry_run,
            verbosity=verbosity,
            chosen=chosen,
            metrics_textfile=metrics_textfile,
            rate=rate,
            said=said,
        )


def _run_joined(
    console: Console,
    environment: Environment,
    link: SupervisorLink | None,
    stop: Stop,
    *,
    joblist_path: str,
    time_limit: float | None,
    grace: float | None,
    credentials: dict[str, Any],
    trust: bool,
    dry_run: bool,
    verbosity: int,
    chosen: dict[str, Any],
    metrics_textfile: str | None,
    rate: float | None,
    said: Said | None,
) -> int:
    """Run the worker of a process that knows its rank."""
    from msgspec import structs

    from jobtool.api.options import worker_options
    from jobtool.cli.garbage import collecting_rarely_at_first
    from jobtool.metrics.meter import metered
    from jobtool.notify.watching import notifying
    from jobtool.worker.loop import Worker

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
        emit = _naming_few(console) if verbosity == Level.NORMAL else console.emit
        return Worker(joblist, environment, options, emit).preview(rate)
    # mpirun forwards whole lines only, and gives its ranks a terminal in any case.
    is_alone = environment.size == 1
    if not console.as_json and verbosity == Level.NORMAL:
        console.quiet_kinds |= {"progress"}  # run-progress says more in fewer lines
    if verbosity == Level.ALWAYS:  # no progress is shown
        options = structs.replace(options, looks="never")
    display = _display(console, options, said) if is_alone else nullcontext(options)
    textfile = None if metrics_textfile is None else os.path.abspath(metrics_textfile)
    with (
        display as options,
        collecting_rarely_at_first(console.emit) as told,
        metered(joblist, environment, told, options, textfile=textfile) as (emit, options),
        notifying(joblist, environment, emit, options) as (emit, options),
    ):
        worker = Worker(joblist, environment, options, emit)
        code = worker.run(None if link is None else link.joined)
        if link is not None:
            link.finish(code)  # whatever happens to what is still told
    return code


#: So many jobs of a dry run are named, unless more is asked for.
_MOST_NAMED = 20


class LogChoice(NamedTuple):
    """Where a worker writes its log: options of the command line."""

    path: str
    max_bytes: int
    keep: int


@contextlib.contextmanager
def _logged(console: Console, choice: LogChoice | None, environment: Environment) -> Iterator[None]:
    """Write a log as well during the block, with the error that ends it."""
    if choice is None:
        yield
        return
    from jobtool.cli.logfile import LogFile, log_path

    path = log_path(
        choice.path,
        host=environment.host,
        pid=environment.pid,
        rank=environment.rank,
        size=environment.size,
    )
    console.log = LogFile(
        path,
        as_json=console.as_json,
        verbosity=console.verbosity,
        max_bytes=choice.max_bytes,
        keep=choice.keep,
        place=rank_place(environment),
    )
    try:
        yield
    except JobtoolError as error:
        console.log.error(str(error))
        raise
    finally:
        console.log.close()
        console.log = None


def _naming_few(console: Console) -> Emit:
    """Return an ``Emit`` that prints the first jobs of a dry run; JSON has all of them."""
    from jobtool.worker.events import Preview, WouldTransfer

    count = 0

    def emit(event: Event) -> None:
        nonlocal count
        if isinstance(event, WouldTransfer) and not console.as_json:
            count += 1
            if count > _MOST_NAMED:
                return
        if isinstance(event, Preview) and count > _MOST_NAMED:
            console.note(f"And {count - _MOST_NAMED:,} more; -v 2 names all.")
        console.emit(event)

    return emit


@contextlib.contextmanager
def _display(
    console: Console, options: WorkerOptions, said: Said | None
) -> Iterator[WorkerOptions]:
    """Show a progress display on a terminal; elsewhere progress is printed as plain lines."""
    if console.as_json or console.verbosity == 0 or not sys.stdout.isatty():
        yield options
        return
    from msgspec.structs import replace

    from jobtool.cli.rundisplay import RunDisplay, can_be_shown

    if not can_be_shown():
        yield options
        return
    with RunDisplay(said) as display:
        console.quiet_kinds |= {"progress", "run-progress"}
        console.write, console.watch = display.write, display.on_event
        try:
            yield replace(options, watch=display.show, watch_run=display.show_run, looks="always")
        finally:
            console.write = console.watch = None


def _verbosity(asked: int, environment: Environment) -> int:
    """Return the verbosity. By default only rank 0 of several prints normal events."""
    return asked if environment.rank == 0 or asked > Level.NORMAL else Level.ALWAYS
