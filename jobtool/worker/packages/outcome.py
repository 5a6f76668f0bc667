"""What follows once a package's files have arrived: the next leg's job, the catalog."""

from __future__ import annotations

from jobtool.failpoints import reach
from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.jobs.packagechain import task_of
from jobtool.routes.places import sites_of
from jobtool.steps.step import StepContext
from jobtool.worker.packages.way import next_leg
from jobtool.worker.tools import AttemptTools


def note_arrival(tools: AttemptTools, claimed: ClaimedJob, context: StepContext) -> None:
    """Make the job of the next leg, if there is one. Raises ``RouteError``, claim errors."""
    joblist, job = tools.joblist, claimed.job
    if task_of(job).step in ("copy", "relay"):
        sites = sites_of(joblist)
        following = None if sites is None else next_leg(joblist, job, sites)
        if following is not None:
            context.require_held()
            joblist.add(following)  # unless an earlier attempt has
            joblist.flush()
            reach("after the next leg's job")
