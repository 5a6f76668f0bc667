"""What follows once a step of a package is done: the next leg's job, and the catalog."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from jobtool.catalog.copy import Copy
from jobtool.catalog.writer import CatalogWriter
from jobtool.errors import ClaimLostError, JobtoolError, MembershipLostError, StoppedError
from jobtool.failpoints import reach
from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.jobs.joblist import JobList
from jobtool.jobs.packagechain import task_of
from jobtool.staging.arrival import note_staged
from jobtool.steps.step import StepContext
from jobtool.stores.location import Location
from jobtool.worker.events import CatalogBehind
from jobtool.worker.packages.copies import copies_made
from jobtool.worker.packages.way import next_leg, release_of_hub, sites_now
from jobtool.worker.tools import AttemptTools


def note_arrival(tools: AttemptTools, claimed: ClaimedJob, context: StepContext) -> None:
    """Make the job of the next leg, if there is one, and record the copies in the catalog.

    Raises ``RouteError``, the errors of claims and of the joblist and, for what was staged, those
    of writing to the catalog: whoever asked for it finds it by its record.
    """
    joblist, job = tools.joblist, claimed.job
    if task_of(job).step == "stage":
        context.retry.call(
            partial(
                note_staged,
                joblist,
                claimed.job_id,
                job,
                context.stores,
                require_held=context.require_held,
                clock=tools.options.now,
            )
        )
        return
    if task_of(job).step in ("copy", "relay"):
        sites = sites_now(joblist)
        following = None if sites is None else next_leg(job, sites)
        new = [each for each in (following, release_of_hub(joblist, job)) if each is not None]
        if new:
            context.require_held()
            for each in new:
                joblist.add(each)  # unless an earlier attempt has
            joblist.flush()
            reach("after the next leg's job")
    record_copies(tools, claimed, context, lambda: copies_made(joblist, job, context.receipts()))


def record_copies(
    tools: AttemptTools,
    claimed: ClaimedJob,
    context: StepContext,
    copies: Callable[[], Iterable[Copy]],
) -> None:
    """Record copies in the catalog, if the joblist has one.

    A catalog that can't be written doesn't fail the job, whose work is done and proven: that is
    reported, and ``jobtool catalog rebuild`` makes up for it. Raises the errors of claims.
    """
    place: str | None = None
    try:
        place = catalog_of(tools.joblist)
        if place is None:
            return
        writer = CatalogWriter(place, tools.worker, stores=tools.stores)
        writer.add(copies())
        context.retry.call(writer.flush)
    except (ClaimLostError, MembershipLostError, StoppedError):
        raise
    except JobtoolError as error:
        claimed.log("catalog-behind", reason=str(error))
        tools.emit(CatalogBehind(job=claimed.job.name, catalog=place or "", reason=str(error)))


def catalog_of(joblist: JobList) -> str | None:
    """Return the place of a joblist's catalog: its own, else that of its sites; None for none.

    Raises ``RouteError`` and ``UsageError``.
    """
    packages = joblist.settings.packages
    if packages is None:
        return None
    if packages.catalog is not None:
        return Location.resolve(packages.catalog).url
    sites = sites_now(joblist)
    return None if sites is None or sites.catalog is None else sites.catalog.url
