"""What a request has come to, and what is staged: results for callers and commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from jobtool.errors import JobFileError
from jobtool.jobs.job import Job, JobStatus
from jobtool.jobs.joblist import JobList
from jobtool.staging.accessrecord import Arrived
from jobtool.staging.holdings import Holding
from jobtool.staging.request import PlannedItem


class Staging(msgspec.Struct, frozen=True, kw_only=True):
    """A request to stage items, and how far it is.

    ``items`` say where each comes from and why; ``skipped`` has the reason for each item that was
    left out. ``joblist`` is the path of the joblist, None if nothing has to be copied, and
    ``statuses`` has the status of each of the request's jobs by its name. ``waits_until`` is when
    to look again for files that are being restored, None if none are. ``exit_code`` is 0 if all
    has arrived, 1 if a job is in error, 3 if work is left, and 5 if what is left waits for a
    restore.
    """

    items: tuple[PlannedItem, ...]
    skipped: Mapping[str, str]
    until: datetime
    joblist: str | None
    statuses: Mapping[str, str]
    waits_until: datetime | None
    exit_code: int


class StagedItem(msgspec.Struct, frozen=True, kw_only=True):
    """An item that somebody needs, or whose files are staged.

    ``state`` is ``requested``, ``staged`` or ``being freed``. ``who`` needs it until ``until``;
    both are None for files that nobody needs any more.
    """

    item: str
    place: str
    url: str
    state: str
    files: int
    bytes: int
    who: str | None
    until: datetime | None


def looked_at(staging: Staging, job_ids: Sequence[str], *, now: datetime) -> Staging:
    """Return the request with the state of its jobs as their files have it now."""
    if staging.joblist is None:
        return staging
    joblist = JobList.open(staging.joblist)
    statuses: dict[str, str] = {}
    left: list[Job] = []
    for job_id in job_ids:
        try:
            job, _ = joblist.load(job_id)
        except (FileNotFoundError, JobFileError):
            statuses[job_id] = "invalid"
            continue
        statuses[job.name] = job.status.value
        if job.status in (JobStatus.TODO, JobStatus.ONGOING):
            left.append(job)
    times = [job.not_before for job in left]
    waiting = [time for time in times if time is not None and time > now]
    if {"error", "invalid"} & set(statuses.values()):
        code = 1
    elif left:
        code = 5 if len(waiting) == len(left) else 3
    else:
        code = 0
    return msgspec.structs.replace(
        staging, statuses=statuses, waits_until=min(waiting, default=None), exit_code=code
    )


def lines_of(holding: Holding) -> list[StagedItem]:
    """Return what is said of an item: a line for each person who needs it, with the latest time."""
    facts: list[Arrived] = list(holding.arrivals)
    where = [(each.site, each.location) for each in facts]
    where += [(each.what.site, each.what.location) for each in holding.accesses]
    place = ".".join(where[0]) if where else ""
    state = "being freed" if holding.freeing else "staged" if facts else "requested"
    needs: dict[str, datetime] = {}
    for each in holding.accesses:
        needs[each.who] = max(each.until, needs.get(each.who, each.until))
    return [
        StagedItem(
            item=holding.item,
            place=place,
            url=holding.url,
            state=state,
            files=sum(each.files for each in facts),
            bytes=sum(each.bytes for each in facts),
            who=who,
            until=until,
        )
        for who, until in needs.items() or [(None, None)]
    ]
