"""Cleaning up after the killed workers of a joblist."""

from __future__ import annotations

from collections.abc import Iterator

from jobtool.audit.events import LeftAlone, Leftover
from jobtool.audit.leftovers import Leftovers, target_folders, unreachable
from jobtool.audit.putback import claim_job
from jobtool.errors import InfrastructureError, JoblistUnavailableError, JobtoolError
from jobtool.jobs.claim import Claims
from jobtool.jobs.job import Job
from jobtool.jobs.joblist import JobList
from jobtool.layouts.destination import with_destination
from jobtool.stores.location import Location, is_local
from jobtool.stores.registry import StoreRegistry


def clean(
    joblist: JobList, stores: StoreRegistry, *, remove: bool
) -> Iterator[Leftover | LeftAlone]:
    """Yield the leftovers of jobs that no worker holds; with ``remove``, remove them.

    An upload belongs to this joblist if one of its journals names it, a temporary file if its name
    has the tag of one of its jobs. What can't be reached is yielded with the reason. A bucket that
    can't be used is tried once, unless each job has credentials of its own.

    Raises ``JoblistUnavailableError``.
    """
    claims = Claims.of(joblist)
    leftovers = Leftovers(joblist, stores, claims, remove=remove)
    broken: dict[str, InfrastructureError] = {}
    for job_id in joblist.job_ids():
        try:
            job = with_destination(joblist.load(job_id)[0], joblist.settings)
            buckets = _buckets(job)
        except FileNotFoundError:
            continue
        except JobtoolError as error:
            yield unreachable(job_id, error)
            continue
        known = next((broken[bucket] for bucket in buckets if bucket in broken), None)
        if known is not None:
            yield unreachable(job.name, known)
            continue
        claimed = claim_job(joblist, claims, job_id, job.name)
        if isinstance(claimed, LeftAlone):
            yield claimed
            continue
        try:
            with claimed:
                job = with_destination(claimed.job, joblist.settings)  # it may have been edited
                yield from leftovers.of(job_id, job)
        except JoblistUnavailableError:
            raise
        except JobtoolError as error:
            if (
                isinstance(error, InfrastructureError)
                and len(buckets) == 1
                and not _is_per_job(stores)
            ):
                broken.update(dict.fromkeys(buckets, error))
            yield unreachable(job.name, error)


def _is_per_job(stores: StoreRegistry) -> bool:
    """Return True if jobs may have different credentials."""
    return any(holder.provider.is_per_purpose for holder in stores.credential_holders())


def _buckets(job: Job) -> set[str]:
    """Return the buckets that a job's files go to."""
    return {Location.parse(folder).root for folder in target_folders(job) if not is_local(folder)}
