"""Completing a job of a package once it is claimed: where from, where to, by which methods."""

from __future__ import annotations

from datetime import UTC

from msgspec.structs import replace

from jobtool.failpoints import reach
from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.jobs.job import Job
from jobtool.jobs.packagechain import landing_of, task_of
from jobtool.methods.plugins import load_methods, named_methods
from jobtool.names import quote
from jobtool.packages.manifest import tar_name
from jobtool.packages.memberfile import read_members
from jobtool.packages.memberkind import members_url
from jobtool.packages.tarlayout import TarLayout
from jobtool.routes.found import RouteLeg
from jobtool.routes.places import settings_by_url, sites_of
from jobtool.stores.location import join
from jobtool.worker.filesstep import PrematureError
from jobtool.worker.options import shares_with
from jobtool.worker.packages.way import plan_leg
from jobtool.worker.tools import AttemptTools


def prepared(claimed: ClaimedJob, tools: AttemptTools) -> AttemptTools:
    """Complete the claimed job; return the tools for it.

    Raises ``PrematureError`` if another job must be done before after all, ``NoWayYetError``,
    ``RouteError``, ``JobFileError``, ``PackageError`` and the errors of the joblist.
    """
    joblist, task = tools.joblist, task_of(claimed.job)
    sites = sites_of(joblist)
    if sites is not None:
        tools.stores.use_places(settings_by_url(sites))
    if task.step in ("copy", "relay") and task.to is not None and sites is not None:
        has_begun = next(joblist.records_of(claimed.job_id), None) is not None
        planned = plan_leg(
            joblist,
            claimed,
            sites,
            size=_size_of(claimed, tools),
            has_begun=has_begun,
            now=tools.options.now().astimezone(UTC),
        )
        leg = planned.leg
        if planned.owner is not None:
            _come_after(claimed, planned.owner, planned.way)
        new = replace(
            claimed.job,
            source=claimed.job.source if task.packs else leg.origin.url,
            destination=leg.target.url,
            package=replace(task, way=planned.way, route=leg.route, brought_by=planned.owner),
        )
        if new != claimed.job:
            claimed.amend(new, "planned", way=" > ".join(planned.way), route=leg.route)
            reach("after the way is planned")
        return _by_leg(tools, leg)
    if claimed.job.source is None and task.step in ("unpack", "archive"):
        landing = landing_of(joblist, task.package, task.to)
        if landing is None:
            raise PrematureError(f"package {quote(task.package)} hasn't arrived")
        url = landing.url
        if task.step == "unpack":
            url = members_url(join(url, tar_name(task.package)))
        claimed.amend(replace(claimed.job, source=url), "found", source=url)
    return tools


def _come_after(claimed: ClaimedJob, owner: str, way: tuple[str, ...]) -> None:
    """Let the job come after another one that brings the package to the same place.

    Once that is done, there is nothing left to move. Raises ``PrematureError`` before.
    """
    task = task_of(claimed.job)
    if owner in task.after:
        return  # the gate has let this job through, so that one is done
    new: Job = replace(claimed.job, package=replace(task, after=(*task.after, owner)))
    claimed.amend(new, "comes-after", other=owner)
    raise PrematureError(f"job {quote(owner)} brings the package to {way[1]}, too")


def _size_of(claimed: ClaimedJob, tools: AttemptTools) -> int:
    """Return the size of a package's tar, in bytes."""
    package = task_of(claimed.job).package
    return TarLayout(read_members(tools.joblist.members_path_of(package))).total_size


def _by_leg(tools: AttemptTools, leg: RouteLeg) -> AttemptTools:
    """Return the tools with the methods that a leg asks for; without any, with the joblist's."""
    if not leg.methods:
        return tools
    names = named_methods(leg.methods)
    options = replace(
        tools.options,
        methods=names,
        is_auto="auto" in leg.methods,
        share=tools.options.share and shares_with(names),
    )
    return replace(tools, options=options, methods=load_methods(names, tools.joblist.settings))
