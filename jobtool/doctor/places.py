"""The places of a joblist's data, taken from a few of its jobs."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from jobtool.errors import JobFileError
from jobtool.jobs.job import Job, JobStatus
from jobtool.jobs.joblist import JobList
from jobtool.layouts.destination import with_destination
from jobtool.stores.location import absolute, inside, parent_of, type_of
from jobtool.stores.storetype import StoreType

#: How many jobs are looked at: a joblist may hold a hundred thousand.
_LOOKED_AT = 12
_SOURCES = 3
_DESTINATIONS = 4


class Places(msgspec.Struct, frozen=True):
    """URLs: ``sources`` of trees or single files, and the folders that ``destinations`` are in."""

    sources: tuple[str, ...]
    destinations: tuple[str, ...]

    @property
    def strictest_clock(self) -> StoreType | None:
        """The store type of the destination that tolerates the least difference of clocks, if any.

        See ``StoreType.clock_tolerance_seconds``.
        """
        kinds = [kind for url in self.destinations if (kind := type_of(url)) is not None]
        strict = {
            kind.clock_tolerance_seconds: kind
            for kind in kinds
            if kind.clock_tolerance_seconds is not None
        }
        return strict[min(strict)] if strict else None


def places_of(joblist: JobList) -> Places:
    """Return some sources of jobs that aren't done, and the destinations that were found.

    Looks at a few jobs, evenly spread. Jobs with the same destination folder count as one
    destination. The destination in joblist.toml stands for all those below it.
    """
    jobs = list(_some_jobs(joblist))
    waiting = [job for job in jobs if job.status is not JobStatus.SUCCESS]
    sources = [job.source if not job.files else _first_source(job) for job in waiting]
    roots = [joblist.settings.destination] if joblist.settings.destination else []
    for job in jobs:
        for url in _targets(job):
            if not any(inside(root, url) is not None for root in roots):
                roots.append(parent_of(url)[0])
    return Places(
        tuple(_spread([url for url in sources if url is not None], _SOURCES)),
        tuple(_widest(roots)[:_DESTINATIONS]),
    )


def _some_jobs(joblist: JobList) -> Iterator[Job]:
    for job_id in _spread(joblist.job_ids(), _LOOKED_AT):
        try:
            yield with_destination(joblist.load(job_id)[0], joblist.settings)
        except (JobFileError, FileNotFoundError):
            continue  # summarise-jobs reports invalid ones


def _first_source(job: Job) -> str:
    return absolute(job.source, job.files[0].source)


def _targets(job: Job) -> Iterator[str]:
    if not job.files and job.destination is not None:
        yield job.destination
    for pair in job.files[: 4 * _DESTINATIONS]:
        yield absolute(job.destination, pair.destination)


def _widest(urls: list[str]) -> list[str]:
    distinct = list(dict.fromkeys(urls))
    return [
        url
        for url in distinct
        if not any(inside(other, url) is not None for other in distinct if other != url)
    ]


def _spread(values: list[str], most: int) -> list[str]:
    count = min(len(values), most)
    return [values[number * len(values) // count] for number in range(count)]
