"""Where a package is on its way to a site, by the files of its jobs."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from jobtool.errors import JobFileError
from jobtool.jobs.job import Job, JobStatus
from jobtool.jobs.joblist import JobList
from jobtool.jobs.packagetask import PackageTask, job_name
from jobtool.names import filename_of, quote

#: Ways are short. More legs than this are a loop of job files that name each other.
_MOST_LEGS = 100


class Landing(msgspec.Struct, frozen=True, kw_only=True):
    """Where a package has arrived for a site.

    ``job`` is the name of the job that brought it there, ``url`` the folder that holds it, and
    ``place`` that location as ``SITE.LOCATION``, None without sites.
    """

    job: str
    url: str
    place: str | None


def relay_name(package: str, to: str, leg: int) -> str:
    """Return the name of the job that does a leg of a way after the first; ``leg`` from 2 on."""
    return job_name(package, "relay", f"{to}.{leg}")


def legs_of(joblist: JobList, package: str, to: str | None) -> list[Job]:
    """Return the jobs that move a package to a site, in order, up to the first that isn't done.

    Raises ``FileNotFoundError`` if one of them isn't there yet, and ``JobFileError``.
    """
    return legs_among(lambda job_id: joblist.load(job_id)[0], package, to)


def legs_among(load: Callable[[str], Job], package: str, to: str | None) -> list[Job]:
    """Return the same as ``legs_of``, of jobs that ``load`` returns by their ID."""
    found: list[Job] = []
    name = job_name(package, "copy", to)
    while len(found) < _MOST_LEGS:
        job = load(filename_of(name))
        found.append(job)
        if to is None or len(task_of(job).way) <= 2 or job.status is not JobStatus.SUCCESS:
            return found
        name = relay_name(package, to, len(found) + 1)
    raise JobFileError(f"package {quote(package)}: its way to {to} has no end")


def landing_of(joblist: JobList, package: str, to: str | None) -> Landing | None:
    """Return where a package has arrived for a site; None as long as it hasn't.

    Raises ``JobFileError``, ``FileNotFoundError`` and ``JoblistUnavailableError``.
    """
    last = legs_of(joblist, package, to)[-1]
    way = task_of(last).way
    if last.status is not JobStatus.SUCCESS or last.destination is None or (to and not way):
        return None
    return Landing(job=last.name, url=last.destination, place=way[-1] if way else None)


def goes_to(job: Job, place: str) -> bool:
    """Return True if a job's leg leads to a place, or may: one under way may not have said yet."""
    way = task_of(job).way
    return job.status is JobStatus.ONGOING or (len(way) > 1 and way[1] == place)


def task_of(job: Job) -> PackageTask:
    """Return the task of a job; raise ``JobFileError`` if it has none."""
    if job.package is None:
        raise JobFileError(f"job {quote(job.name)}: expected a step of a package; found none")
    return job.package
