"""``set_options``: change ``[transfer]`` of a joblist, and the priorities of jobs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from jobtool.api.places import Place, opened
from jobtool.errors import ClaimLostError, JobFileError, UsageError
from jobtool.events import Emit, ignore, unfailing
from jobtool.suggest import unknown_key

if TYPE_CHECKING:
    from jobtool.jobs.claim import Claims
    from jobtool.jobs.joblist import JobList
    from jobtool.jobs.settings import TransferSettings
    from jobtool.report.optionsset import Option, OptionsSet

PRIORITY = "priority"

_UNLIMITED = {"bandwidth": "unlimited", "max_requests_per_second": 0}


def set_options(
    joblist: Place | JobList,
    options: Mapping[str, Any] | None = None,
    *,
    jobs: Collection[str] | None = None,
    match: Collection[str] | None = None,
    dry_run: bool = False,
    on_event: Emit = ignore,
) -> OptionsSet:
    """Set keys of ``[transfer]`` in joblist.toml, or the priority of jobs; return what applies.

    Comments and the other text of joblist.toml stay. Workers that are running take up ``bandwidth``
    and ``max_requests_per_second`` within seconds, other keys when they start.

    Args:
        joblist: The folder, or an open joblist, whose ``settings`` stay as they were read.
        options: The values by key, also as text, such as ``{"bandwidth": "200MB/s"}``. None or an
            empty text stands for the default. With ``jobs`` or ``match`` the only key is
            ``priority``, a whole number: jobs with a higher one come first; 0 is the default.
        jobs: The jobs that get the priority, by name.
        match: Globs of the names of such jobs.
        dry_run: Change nothing.
        on_event: Called with the result. An exception from it stops nothing.

    Raises:
        UsageError: There is nothing at the path, there is no such key or job, or a value is
            invalid.
        JoblistError: The folder isn't a joblist, or its joblist.toml isn't the user's own.
        JoblistUnavailableError: The joblist can't be written.

    Examples:
        >>> found = jobtool.set_options("joblist", {"max_requests_per_second": 200})
        >>> [(option.key, option.value) for option in found.changed]
        [('max_requests_per_second', 200.0)]
        >>> jobtool.set_options("joblist", {"max_requests_per_second": None}).changed[0].value
        0
    """
    from jobtool.jobs.jobchoice import JobChoice

    joblist = opened(joblist)
    options = {} if options is None else options
    choice = JobChoice.of(jobs, match)
    if choice.is_all:
        found = _set_transfer(joblist, options, dry_run=dry_run)
    else:
        priority = _priority_of(options)
        found = _set_priority(joblist, choice.resolve(joblist), priority, dry_run=dry_run)
    unfailing(on_event)(found)
    return found


def _set_transfer(joblist: JobList, given: Mapping[str, Any], *, dry_run: bool) -> OptionsSet:
    from jobtool.jobs.transferedit import checked, edit_transfer
    from jobtool.report.life import SignsOfLife
    from jobtool.report.optionsset import OptionsSet

    if PRIORITY in given:
        raise UsageError("priority: expected --job NAME or --match GLOB with it; found neither")
    before, after = edit_transfer(joblist, checked(given), dry_run=dry_run or not given)
    return OptionsSet(
        path=joblist.path,
        options=_options(before, after),
        workers=SignsOfLife(joblist).running(),
        dry_run=dry_run,
    )


def _options(before: TransferSettings, after: TransferSettings) -> tuple[Option, ...]:
    from jobtool.jobs.transferedit import LIVE_KEYS
    from jobtool.report.optionsset import Option

    defaults = _defaults()

    def shown(settings: TransferSettings, key: str) -> Any:
        value = getattr(settings, key)
        value = defaults[key] if value is None else value
        return list(value) if isinstance(value, tuple) else value

    return tuple(
        Option(
            key=key,
            value=shown(after, key),
            is_default=getattr(after, key) is None,
            live=key in LIVE_KEYS,
            changed=getattr(before, key) != getattr(after, key),
            was=shown(before, key) if getattr(before, key) != getattr(after, key) else None,
        )
        for key in after.__struct_fields__
    )


def _defaults() -> dict[str, Any]:
    from jobtool.jobs.settings import TransferSettings
    from jobtool.stores.preserve import KEEP_BY_DEFAULT, words_for
    from jobtool.transfer.partranges import DEFAULT_PART_BYTES
    from jobtool.worker.options import WorkerOptions, resolve_options

    resolved = resolve_options(WorkerOptions(), TransferSettings())
    found = {key: getattr(resolved, key, None) for key in TransferSettings.__struct_fields__}
    found |= {"part_size_bytes": DEFAULT_PART_BYTES, "preserve": words_for(KEEP_BY_DEFAULT)}
    return found | _UNLIMITED


def _priority_of(options: Mapping[str, Any]) -> int:
    from jobtool.jobs.jobfile import PRIORITIES, priority_in

    for key in options:
        if key != PRIORITY:
            raise UsageError(unknown_key(key, [PRIORITY], what="a key of jobs"))
    given = options.get(PRIORITY, "")
    found = priority_in(str(given)) if not isinstance(given, bool) else None
    if given is None or (PRIORITY in options and given == ""):
        return 0
    if found is None:
        raise UsageError(
            f"priority: expected a whole number from {PRIORITIES[0]} to {PRIORITIES[-1]}; found "
            f"{given!r}"
        )
    return found


def _set_priority(
    joblist: JobList, job_ids: Collection[str], priority: int, *, dry_run: bool
) -> OptionsSet:
    from jobtool.jobs.claim import Claims
    from jobtool.jobs.control import asked_now, edit_control
    from jobtool.jobs.jobchoice import job_name
    from jobtool.report.life import SignsOfLife
    from jobtool.report.optionsset import OptionsSet

    claims, by = Claims.of(joblist), asked_now().by
    done, left_alone = [], {}
    for job_id in job_ids:
        why = _why_not(joblist, claims, job_id, priority, by, dry_run=dry_run)
        if why is None:
            done.append(job_id)
        else:
            left_alone[job_name(joblist, job_id)] = why
    if done and not dry_run:
        edit_control(joblist, lambda found: found.with_priorities(dict.fromkeys(done, priority)))
    return OptionsSet(
        path=joblist.path,
        jobs=tuple(job_name(joblist, job_id) for job_id in done),
        priority=priority,
        left_alone=left_alone,
        workers=SignsOfLife(joblist).running(),
        dry_run=dry_run,
    )


def _why_not(
    joblist: JobList, claims: Claims, job_id: str, priority: int, by: str, *, dry_run: bool
) -> str | None:
    """Write a job's priority; return why that isn't done, None if it is."""
    from jobtool.jobs.claimedjob import ClaimedJob
    from jobtool.jobs.job import JobStatus

    try:
        if joblist.status_of(job_id) is JobStatus.SUCCESS:
            return "a success already"
        if dry_run:
            return None
        claimed = ClaimedJob.acquire(joblist, claims, job_id, lambda: datetime.now(UTC))
        if claimed is None:
            return "a worker is on it"
        with claimed:
            if claimed.job.priority != priority:
                claimed.set_priority(priority, by=by)
    except (JobFileError, ClaimLostError) as error:
        return str(error)
    except FileNotFoundError:
        return "its file was removed"
    return None
