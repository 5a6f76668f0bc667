"""What follows once a package's files have arrived: the next leg's job, the catalog."""

from __future__ import annotations

from functools import partial

from jobtool.failpoints import reach
from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.jobs.packagechain import task_of
from jobtool.routes.places import sites_of
from jobtool.staging.arrival import note_staged
from jobtool.steps.step import StepContext
from jobtool.worker.packages.way import next_leg
from jobtool.worker.tools import AttemptTools


def note_arrival(tools: AttemptTools, claimed: ClaimedJob, context: StepContext) -> None:
    """Make the job of the next leg, if there is one; record what was staged.

    Raises ``RouteError``, claim errors and the errors of writing to the catalog.
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
    if task_of(job).step in ("copy", "relay"):
        sites = sites_of(joblist)
        following = None if sites is None else next_leg(joblist, job, sites)
        if following is not None:
            context.require_held()
            joblist.add(following)  # unless an earlier attempt has
            joblist.flush()
            reach("after the next leg's job")
