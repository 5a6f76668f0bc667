"""What ``impala-transfer`` does: the joblist is made, and worked off."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from jobtool.cli.console import DONE, WARNING, Console, error_line, print_error_lines
from jobtool.cli.impala_transfer.helper import HelperTask
from jobtool.cli.impala_transfer.helpers import Helpers, is_alike
from jobtool.cli.impala_transfer.joblists import default_folder, settings_at
from jobtool.cli.impala_transfer.targets import Way, methods_for
from jobtool.cli.querying import asked_password, text_of_query, until_stopped
from jobtool.cli.stopsignals import stop_signals, stopping
from jobtool.errors import UsageError
from jobtool.jobs.exportsettings import DEFAULT_STAGED_CHUNKS, ExportSettings
from jobtool.jobs.exportshare import MANIFEST_JOB
from jobtool.jobs.job import JobStatus
from jobtool.jobs.joblist import JobList
from jobtool.names import quote
from jobtool.stop import Stop


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """An export and the transfer of its files, as the options of the command name them."""

    connection: str
    query: str
    way: Way
    table: str | None
    use_distcp: bool | None
    max_workers: int
    output_format: str
    chunk_size: int | None
    split_by: str | None
    splits: int | None
    order_by: tuple[str, ...]
    count: bool
    tables: Mapping[str, Any]
    credentials: Mapping[str, Any]
    existing_data: Literal["error", "ignore"]
    joblist: str | None
    fresh: bool
    make_only: bool
    dry_run: bool
    verbosity: int
    as_json: bool


def transfer_rows(request: Request) -> int:
    """Make the joblist, or take up the one that is there, and work it off.

    Returns the exit code. Raises what ``export_query`` and workers raise.
    """
    from jobtool.worker.environment import launched_size

    if launched_size(os.environ) > 1 and not request.dry_run:
        raise UsageError(
            "expected one impala-transfer, which starts its own workers; found several ranks of "
            "mpirun. Run impala-transfer --make-only, and then mpirun transfer-worker -i JOBLIST"
        )
    console = Console(verbosity=request.verbosity, as_json=request.as_json)
    stop, signals = Stop(), stop_signals()
    query = text_of_query(request.query)
    folder = _folder_of(request, query)
    known = settings_at(folder)
    methods = _made(request, query, folder, known, stop, console)
    if request.dry_run:
        return 0
    with stopping(stop, signals):
        joblist = JobList.open(folder)
        if not _has_work(request, joblist, console, has_been_made_before=known is not None):
            return 0
        if request.make_only:
            console.note(f"Run: transfer-worker -i {quote(folder)}", DONE)
            return 0
        return _worked_off(request, folder, methods, stop, signals, console)


def _folder_of(request: Request, query: str) -> str:
    """Return the folder of the joblist: for the same export always the same."""
    from jobtool.api.places import local_path

    if request.joblist is not None:
        return local_path(request.joblist)
    facts = (
        request.connection,
        query,
        request.way.destination,
        request.output_format,
        request.chunk_size,
        request.split_by,
        request.splits,
        *request.order_by,
    )
    return default_folder(request.table, facts)


def _made(
    request: Request,
    query: str,
    folder: str,
    known: ExportSettings | None,
    stop: Stop,
    console: Console,
) -> tuple[str, ...] | None:
    """Make the joblist unless it is there, with the settings ``known``; return the methods."""
    from jobtool.api.export import export_query

    way = request.way
    if known is None:
        for remark in way.remarks:
            console.note(remark)
        staging, methods = way.staging, way.methods
        staged = _files_at_a_time(request)
    else:  # a way that was begun is kept
        staging, staged = known.staging, known.staged_chunks
        methods = methods_for(staging, way.destination, request.use_distcp)
    console.note(
        f"The rows of {request.connection} go to {quote(way.destination)} by "
        f"{', '.join(methods or ('stream',))}; the joblist is {quote(folder)}"
    )
    if known is None:
        _ask_password(request)

    def make() -> None:
        export_query(
            request.connection,
            query,
            folder,
            destination=way.destination,
            output_format=request.output_format,
            chunk_rows=request.chunk_size,
            split_by=request.split_by,
            splits=request.splits,
            order_by=request.order_by,
            count=request.count,
            staging=staging,
            staged_chunks=staged,
            existing_data=request.existing_data,
            stores=request.tables,
            credentials=request.credentials,
            transfer={} if known is not None or methods is None else {"methods": methods},
            dry_run=request.dry_run,
            stop=stop,
            on_event=console.emit,
        )

    until_stopped(make, stop)
    return methods


def _ask_password(request: Request) -> None:
    """Ask for the password if one is needed and isn't known; it is kept where workers look."""
    from jobtool.queries.plugins import PASSWORD_VARIABLE

    password = asked_password(request.connection)
    if password is not None:
        os.environ[PASSWORD_VARIABLE] = password


def _files_at_a_time(request: Request) -> int | None:
    """Return how many files of a job may wait for their transfer; None for the default.

    As many are sent at a time as are asked for. One call of distcp takes all that wait.
    """
    if request.split_by is not None and request.way.staging is None:
        return None
    return max(request.max_workers, DEFAULT_STAGED_CHUNKS)


def _has_work(
    request: Request, joblist: JobList, console: Console, *, has_been_made_before: bool
) -> bool:
    """Have jobs in error tried again, and all with ``--fresh``; return False if all is done."""
    from jobtool.api.retry import retry_jobs
    from jobtool.audit.anew import is_to_be_anew, start_anew

    if is_to_be_anew(joblist) or (request.fresh and has_been_made_before):
        start_anew(joblist)
        console.note("All rows are exported again.")
        return True
    if not _left(joblist):
        console.note(
            f"All rows are at {quote(request.way.destination)} already. To export them again: the "
            "same command with --fresh. To check the files: jobtool verify "
            f"{quote(joblist.path)}",
            DONE,
        )
        return False
    retry_jobs(joblist)
    return True


def _left(joblist: JobList) -> dict[str, JobStatus | None]:
    """Return the jobs that aren't a success, and their statuses."""
    return {
        each.job_id: each.status for each in joblist.scan() if each.status is not JobStatus.SUCCESS
    }


def _worked_off(
    request: Request,
    folder: str,
    methods: tuple[str, ...] | None,
    stop: Stop,
    signals: tuple[signal.Signals, ...],
    console: Console,
) -> int:
    """Run the workers; return the exit code for all of them."""
    from jobtool.cli.running import run_worker

    _ask_password(request)
    joblist = JobList.open(folder)
    ranges = len(joblist.row_job_ids())
    others = min(request.max_workers, ranges) - 1
    threads = request.max_workers if request.split_by is None else None
    tasks = [
        HelperTask(
            parent=os.getpid(),
            number=number + 2,
            joblist=folder,
            methods=methods,
            verbosity=request.verbosity,
            as_json=request.as_json,
        )
        for number in range(others)
    ]
    helpers = Helpers(tasks, console, stop)
    said = None
    try:
        code = run_worker(
            stop,
            signals,
            joblist_path=folder,
            time_limit=None,
            grace=None,
            credentials={},
            trust=False,
            dry_run=False,
            verbosity=request.verbosity,
            as_json=request.as_json,
            console=console,
            chosen={"wait": True, "share": True, "threads": threads, "methods": methods},
        )
    except BaseException as error:
        helpers.ask_to_stop()
        said = error_line(str(error))
        raise
    finally:
        codes = helpers.wait()
        print_error_lines(line for line in helpers.errors if not is_alike(line, said))
    left = _left(joblist)
    if left:
        console.note(
            "The same command goes on where this one ended. summarise-jobs -i "
            f"{quote(folder)} shows what is left.",
            WARNING,
        )
        if JobStatus.ERROR in left.values() and {*left} - {MANIFEST_JOB} == {
            name for name, status in left.items() if status is JobStatus.ERROR
        }:
            return 1  # the manifest waits for what has failed
        return code or next(filter(None, codes), 3)
    console.note(f"All rows are at {quote(request.way.destination)}", DONE)
    return 0
