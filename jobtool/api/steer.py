"""``pause_jobs``, ``resume_jobs``, ``stop_jobs``: steer workers that are running."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from jobtool.api.places import Place, opened
from jobtool.errors import ClaimLostError, JobFileError
from jobtool.events import Emit, ignore, unfailing

if TYPE_CHECKING:
    from jobtool.jobs.claim import Claims
    from jobtool.jobs.control import Asked, Control
    from jobtool.jobs.joblist import JobList
    from jobtool.report.steered import Steered

_UNDONE = ("todo", "ongoing")


def pause_jobs(
    joblist: Place | JobList,
    *,
    jobs: Collection[str] | None = None,
    match: Collection[str] | None = None,
    dry_run: bool = False,
    on_event: Emit = ignore,
) -> Steered:
    """Ask the workers of a joblist to wait, or to leave some jobs alone, until they are resumed.

    Running workers notice within seconds. They finish the files and parts in progress and hand
    their jobs back, which counts as no failure. Workers that start later wait, too.

    Args:
        joblist: The folder, or an open joblist.
        jobs: Only these jobs, by name; None for all. An empty collection is an error. Workers go on
            with others.
        match: Only jobs whose names match one of these globs, such as ``plate1*``.
        dry_run: Change nothing.
        on_event: Called with the result. An exception from it stops nothing.

    Raises:
        UsageError: There is nothing at the path, or no job has such a name.
        JoblistError: The folder isn't a joblist, or its control.json can't be read.
        JoblistUnavailableError: The joblist can't be read or written.

    Examples:
        >>> jobtool.pause_jobs("joblist").workers
        0
        >>> jobtool.resume_jobs("joblist").changed
        True
    """
    from jobtool.jobs.control import asked_now

    joblist = opened(joblist)
    chosen = _chosen(joblist, jobs, match)
    asked = asked_now()
    before, after = _edit(joblist, lambda found: found.with_pause(asked, chosen), dry_run=dry_run)
    earlier = before.list_pause if chosen is None else before.pause_of(next(iter(chosen), ""))
    return _told(
        on_event,
        joblist,
        action="pause",
        job_ids=chosen,
        changed=after != before,
        earlier=earlier,
        dry_run=dry_run,
    )


def resume_jobs(
    joblist: Place | JobList,
    *,
    jobs: Collection[str] | None = None,
    match: Collection[str] | None = None,
    dry_run: bool = False,
    on_event: Emit = ignore,
) -> Steered:
    """End the pause of a joblist with those of all its jobs, or the pauses of some jobs.

    The arguments and the errors are those of ``pause_jobs``.

    Examples:
        >>> jobtool.resume_jobs("joblist").changed
        False
    """
    joblist = opened(joblist)
    chosen = _chosen(joblist, jobs, match)
    before, after = _edit(joblist, lambda found: found.without_pause(chosen), dry_run=dry_run)
    return _told(
        on_event,
        joblist,
        action="resume",
        job_ids=chosen,
        changed=after != before,
        still_paused=after.list_pause is not None,
        dry_run=dry_run,
    )


def stop_jobs(
    joblist: Place | JobList,
    *,
    jobs: Collection[str] | None = None,
    match: Collection[str] | None = None,
    dry_run: bool = False,
    on_event: Emit = ignore,
) -> Steered:
    """Ask the workers of a joblist that are running now to end, or stop some jobs for good.

    Workers finish the files and parts in progress, hand their jobs back and end with exit code 3.
    Workers that start later aren't concerned. A job that is stopped becomes ``error``, until
    ``retry_jobs`` puts it back; the worker that held it goes on with others.

    The arguments and the errors are those of ``pause_jobs``.

    Examples:
        >>> jobtool.stop_jobs("joblist").whole
        True
    """
    from jobtool.jobs.control import JobsStop, WorkersStop, asked_now

    joblist = opened(joblist)
    chosen = _chosen(joblist, jobs, match)
    asked = asked_now()
    token = secrets.token_hex(8)
    if chosen is None:
        stop = WorkersStop(by=asked.by, at=asked.at, host=asked.host, token=token)
        _edit(joblist, lambda found: found.with_stop(stop), dry_run=dry_run)
        return _told(on_event, joblist, action="stop", job_ids=None, dry_run=dry_run)
    undone = [job_id for job_id in chosen if _status(joblist, job_id) in _UNDONE]
    ended = _ended(joblist, undone, asked, token) if not dry_run else []
    held = _attempts(joblist, set(undone) - set(ended))
    if held and not dry_run:
        stop_of_jobs = JobsStop(by=asked.by, at=asked.at, host=asked.host, token=token, jobs=held)
        moot = _moot(joblist)
        _edit(joblist, lambda found: found.with_job_stops(stop_of_jobs, moot), dry_run=False)
        # A worker may have handed one back before it could see the request.
        ended += _ended(joblist, [*held], asked, token)
    return _told(
        on_event,
        joblist,
        action="stop",
        job_ids=undone,
        ended=ended,
        left_alone=len(chosen) - len(undone),
        changed=bool(undone),
        dry_run=dry_run,
    )


def _chosen(
    joblist: JobList, jobs: Collection[str] | None, match: Collection[str] | None
) -> list[str] | None:
    """Return the IDs of the chosen jobs; None for the whole joblist."""
    from jobtool.jobs.jobchoice import JobChoice

    choice = JobChoice.of(jobs, match)
    return None if choice.is_all else choice.resolve(joblist)


def _edit(
    joblist: JobList, change: Callable[[Control], Control], *, dry_run: bool
) -> tuple[Control, Control]:
    """Change what is asked; return what was asked before, and what is asked then."""
    from jobtool.jobs.control import edit_control, read_control

    if dry_run:
        found = read_control(joblist)
        return found, change(found)
    before: list[Control] = []

    def changed(found: Control) -> Control:
        before.append(found)
        return change(found)

    after = edit_control(joblist, changed)
    return before[-1], after


def _status(joblist: JobList, job_id: str) -> str | None:
    with contextlib.suppress(FileNotFoundError):
        return joblist.status_of(job_id)
    return None


def _attempts(joblist: JobList, job_ids: Collection[str]) -> dict[str, int]:
    """Return the attempt at each of these undone jobs that is under way, or about to begin."""
    found = {}
    for job_id in sorted(job_ids):
        with contextlib.suppress(FileNotFoundError, JobFileError):
            job, _ = joblist.load(job_id)
            if job.status in _UNDONE:
                found[job_id] = job.attempts + (job.status == "todo")
    return found


def _moot(joblist: JobList) -> list[str]:
    """Return the jobs of earlier stops that need no stop any more."""
    from jobtool.jobs.control import read_control

    stopped = {job_id for stop in read_control(joblist).job_stops for job_id in stop.jobs}
    return [job_id for job_id in stopped if _status(joblist, job_id) not in _UNDONE]


def _ended(joblist: JobList, job_ids: Collection[str], asked: Asked, token: str) -> list[str]:
    """Make those of some jobs ``error`` that no worker holds; return their IDs."""
    from jobtool.jobs.claim import Claims

    claims = Claims.of(joblist)
    return [job_id for job_id in job_ids if _is_ended(joblist, claims, job_id, asked, token)]


def _is_ended(joblist: JobList, claims: Claims, job_id: str, asked: Asked, token: str) -> bool:
    from jobtool.jobs.claimedjob import ClaimedJob

    try:
        claimed = ClaimedJob.acquire(joblist, claims, job_id, lambda: datetime.now(UTC))
        if claimed is None:
            return False
        with claimed:
            if claimed.job.status not in _UNDONE:
                return False
            claimed.end_by_stop(f"stopped by {asked.by}", token)
    except (JobFileError, FileNotFoundError, ClaimLostError):
        return False
    return True


def _told(
    on_event: Emit,
    joblist: JobList,
    *,
    job_ids: Collection[str] | None,
    ended: Collection[str] = (),
    earlier: Asked | None = None,
    **values: object,
) -> Steered:
    from jobtool.jobs.jobchoice import job_name
    from jobtool.jobs.stamps import stamp_of
    from jobtool.report.life import SignsOfLife
    from jobtool.report.steered import Steered

    event = Steered(
        path=joblist.path,
        whole=job_ids is None,
        jobs=tuple(job_name(joblist, each) for each in job_ids or ()),
        ended=tuple(job_name(joblist, each) for each in ended),
        by=None if earlier is None else earlier.by,
        since=None if earlier is None else stamp_of(earlier.at),
        workers=SignsOfLife(joblist).running(),
        **values,  # type: ignore[arg-type]
    )
    unfailing(on_event)(event)
    return event
