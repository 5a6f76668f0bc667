"""``transfer-worker``: claims jobs and transfers them until none is left."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from jobtool.cli.console import Console
from jobtool.cli.options import (
    command,
    dry_run_option,
    existing_path,
    joblist_option,
    output_options,
)
from jobtool.names import quote

if TYPE_CHECKING:
    from jobtool.jobs.settings import TransferSettings
    from jobtool.stores.local import LinkPolicy
    from jobtool.transfer.run import IfExists, Verify
    from jobtool.worker.environment import Environment
    from jobtool.worker.options import WorkerOptions

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@command(name="transfer-worker", example="mpirun -n 4 transfer-worker -i source08")
@joblist_option
@click.option(
    "--threads",
    type=click.IntRange(1, 256),
    help="Files at a time in this worker. [default: 16, or joblist.toml's]",
)
@click.option(
    "--max-jobs", type=click.IntRange(min=1), metavar="N", help="Leave after this many jobs."
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
@dry_run_option
@output_options
def cli(
    *,
    joblist_path: str,
    threads: int | None,
    max_jobs: int | None,
    if_exists: IfExists | None,
    links: LinkPolicy | None,
    verify: Verify | None,
    dry_run: bool,
    verbosity: int,
    as_json: bool,
) -> int:
    """Transfer the jobs of a joblist, each file verified, until nothing is left to claim.

    Start as many as you like, under mpirun, in scheduler arrays or by hand: no job is done twice.
    Ctrl-C (or SIGTERM) finishes the files under way and hands the job back; once more stops at
    once, and nothing that was proven is lost either way.
    """
    from jobtool.jobs.joblist import JobList
    from jobtool.worker.environment import detect
    from jobtool.worker.loop import Worker
    from jobtool.worker.options import WorkerOptions

    path = existing_path(joblist_path)
    environment = detect(os.environ)
    console = Console(verbosity=verbosity, as_json=as_json, prefix=_prefix(environment))
    joblist = JobList.open(path)
    if environment.rank == 0:
        console.note(f"Valid input path: {quote(joblist.path)}")
        console.note(f"Dry run: {'enabled' if dry_run else 'disabled'}")
        console.note(f"Verbosity level: {verbosity}")
    stop = threading.Event()
    options = WorkerOptions(
        max_jobs=max_jobs,
        stop=stop,
        **_settled(
            joblist.settings.transfer,
            threads=threads,
            if_exists=if_exists,
            links=links,
            verify=verify,
        ),
    )
    if dry_run and environment.rank:
        return 0  # rank 0 tells it for all
    if dry_run:
        return Worker(joblist, environment, options, console.emit).preview()
    is_alone = environment.size == 1  # mpirun gives its ranks a terminal, all the same one
    display = _display(console, options) if is_alone else contextlib.nullcontext(options)
    with _stopping(stop), display as options:
        return Worker(joblist, environment, options, console.emit).run()


def _settled(settings: TransferSettings, **given: Any) -> dict[str, Any]:
    """Return what was decided: options as given, else the joblist's, else left to the defaults."""
    from jobtool.transfer.run import Policies

    names = settings.__struct_fields__
    settled = {name: given.get(name) or getattr(settings, name) for name in names}
    settled = {name: value for name, value in settled.items() if value is not None}
    policies = {
        name: settled.pop(name) for name in ("if_exists", "links", "verify") if name in settled
    }
    if "part_size_bytes" in settled:
        settled["part_bytes"] = settled.pop("part_size_bytes")
    return {**settled, "policies": Policies(**policies)}


@contextlib.contextmanager
def _stopping(stop: threading.Event) -> Iterator[None]:
    def handle(number: int, frame: object) -> None:
        if stop.is_set() and number == signal.SIGINT:
            os._exit(130)  # what is proven is on disk; the claim frees itself
        stop.set()
        # Not through the console: its lock may be held by what this interrupts.
        os.write(2, f"\n{signal.Signals(number).name}: finishing files under way\n".encode())

    before = {number: signal.signal(number, handle) for number in _STOP_SIGNALS}
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
        console.write = display.write
        try:
            yield replace(options, watch=display.show)
        finally:
            console.write = None


def _prefix(environment: Environment) -> str:
    if environment.size == 1:
        return ""
    return f"[{environment.host}:{environment.rank}] "


def main() -> None:
    """Run the command."""
    cli()
