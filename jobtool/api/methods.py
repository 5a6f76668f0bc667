"""``explain_methods``: how the files of a job would be moved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from jobtool.api.places import Place, opened
from jobtool.errors import JobFileError, UsageError
from jobtool.names import quote

if TYPE_CHECKING:
    from jobtool.jobs.joblist import JobList
    from jobtool.transfer.methodchoice import MethodChoice


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """The methods for the files that one job has between two places, given as URLs or paths."""

    job: str
    source: str
    destination: str
    methods: tuple[MethodChoice, ...]


def explain_methods(
    joblist: Place | JobList,
    *,
    job: str | None = None,
    methods: Sequence[str] | None = None,
    trust: bool = False,
) -> list[Explained]:
    """Return how the files of a job would be moved, and why not otherwise. Moves nothing.

    No server is contacted. So a method that is available may still fail.

    Args:
        joblist: The folder, or an open joblist.
        job: The name of a job, by default the first one that isn't done.
        methods: The methods in place of the joblist's, as in ``transfer_jobs``.
        trust: Use what joblist.toml says about commands and programs, even if others could have
            written it.

    Returns:
        One entry for each pair of places that the job has files in. Its ``methods`` are those that
        are asked for, in their order, then the others that are known here.

    Raises:
        UsageError: There is nothing at the path, no such job, or the methods make no order.
        JoblistError: The folder isn't a joblist, or its joblist.toml can't be used or trusted.
        JobFileError: The job's file is invalid.
        JoblistUnavailableError: The joblist can't be read.

    Examples:
        >>> [one.name for one in jobtool.explain_methods("joblist")[0].methods if one.is_used]
        ['stream']
    """
    from jobtool.layouts.destination import with_destination
    from jobtool.methods.method import OWN_METHODS
    from jobtool.transfer.methodchoice import method_choices, pairs_of
    from jobtool.transfer.stores_of import stores_of

    joblist = opened(joblist, trust=trust)
    settings = joblist.settings
    job_id = _job_id(joblist, job)
    try:
        found = with_destination(joblist.load(job_id)[0], settings)
    except JobFileError as error:
        raise JobFileError(
            f"{quote(joblist.path_of(job_id))}: {error} Correct it, or name another job by --job."
        ) from None
    names = methods or settings.transfer.methods or OWN_METHODS
    return [
        Explained(
            job=found.name,
            source=source.url,
            destination=destination.url,
            methods=tuple(method_choices(names, settings, source, destination)),
        )
        for source, destination in pairs_of(found, stores_of(joblist), staging=joblist.staging_url)
    ]


def _job_id(joblist: JobList, job: str | None) -> str:
    """Return the ID of the named job, or of the first valid one that isn't done."""
    from jobtool.jobs.exportshare import MANIFEST_JOB
    from jobtool.jobs.job import JobStatus
    from jobtool.jobs.unknownjob import unknown_job

    job_ids = joblist.job_ids()
    if not job_ids:
        raise UsageError(f"{quote(joblist.path)}: expected a job; found none. Make jobs first.")
    if job is not None:
        if job not in job_ids:
            raise unknown_job(job, job_ids, joblist=joblist.path)
        return job
    # The chunks of an export tell more than its manifest.
    passed_over = None if joblist.settings.export is None else MANIFEST_JOB
    is_open = (
        one.job_id
        for one in joblist.scan()
        if one.status not in (JobStatus.SUCCESS, None) and one.job_id != passed_over
    )
    return next(is_open, next((one for one in job_ids if one != passed_over), job_ids[0]))
