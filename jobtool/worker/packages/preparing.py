"""Completing a job of a package once it is claimed: where from, where to, by which methods."""

from __future__ import annotations

import os
from datetime import UTC

from msgspec.structs import replace

from jobtool.failpoints import reach
from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.jobs.job import Job, JobStatus
from jobtool.jobs.joblist import JobList
from jobtool.jobs.packagechain import landing_of, task_of
from jobtool.methods.plugins import AUTO, load_methods, named_methods
from jobtool.names import filename_of, quote
from jobtool.packages.manifest import tar_name
from jobtool.packages.manifestfile import read_manifest
from jobtool.packages.memberfile import read_members
from jobtool.packages.membersurl import members_url
from jobtool.packages.tarlayout import TarLayout
from jobtool.routes.found import RouteLeg
from jobtool.routes.places import settings_by_url
from jobtool.transfer.credentialscopes import credential_scopes_of
from jobtool.transfer.retry import Retry
from jobtool.worker.filesstep import PrematureError
from jobtool.worker.options import shares_with
from jobtool.worker.packages.copies import kept_manifest
from jobtool.worker.packages.way import NotArrivedError, plan_leg, sites_now
from jobtool.worker.tools import AttemptTools


def prepared(claimed: ClaimedJob, tools: AttemptTools) -> AttemptTools:
    """Complete the claimed job; return the tools for it.

    Raises ``PrematureError`` if another job must be done before after all, ``NoWayYetError``,
    ``NotArrivedError``, ``RouteError``, ``JobFileError``, ``PackageError``,
    ``SitesUnreadableError`` and the errors of the joblist.
    """
    joblist, task = tools.joblist, task_of(claimed.job)
    sites = sites_now(joblist)
    if sites is not None:
        tools.stores.use_places(settings_by_url(sites))
    if task.step in ("copy", "relay") and task.to is not None and sites is not None:
        has_begun = next(joblist.records_of(claimed.job_id), None) is not None
        planned = plan_leg(
            joblist,
            claimed,
            sites,
            size=0 if has_begun else _size_of(claimed, tools),
            has_begun=has_begun,
            now=tools.options.now().astimezone(UTC),
        )
        leg = planned.leg
        if planned.owner is not None:
            _come_after(claimed, joblist, planned.owner, planned.way)
        new = replace(
            claimed.job,
            source=claimed.job.source if task.packs else leg.origin.url,
            destination=leg.target.url,
            package=replace(task, way=planned.way, route=leg.route, brought_by=planned.owner),
        )
        if new != claimed.job:
            claimed.amend(new, "planned", way=" > ".join(planned.way), route=leg.route)
            reach("after the way is planned")
        return _by_leg(tools, leg, packs=task.packs)
    if claimed.job.source is None and task.step in ("unpack", "archive"):
        landing = landing_of(joblist, task.package, task.to)
        if landing is None:
            raise NotArrivedError.of(task.package)
        url = landing.url
        if task.step == "unpack":
            url = members_url(url, tar_name(task.package))
        claimed.amend(replace(claimed.job, source=url), "found", source=url)
    return tools


def _come_after(claimed: ClaimedJob, joblist: JobList, owner: str, way: tuple[str, ...]) -> None:
    """Let the job come after another one that brings the package to the same place.

    Once that is done, there is nothing left to move. Raises ``PrematureError`` before.
    """
    if joblist.status_of(filename_of(owner)) is JobStatus.SUCCESS:
        return
    task = task_of(claimed.job)
    after = task.after if owner in task.after else (*task.after, owner)
    new: Job = replace(claimed.job, package=replace(task, after=after, way=way))
    if new != claimed.job:
        claimed.amend(new, "comes-after", other=owner)
    raise PrematureError(f"job {quote(owner)} brings the package to {way[1]}, too")


def _size_of(claimed: ClaimedJob, tools: AttemptTools) -> int:
    """Return the size of a package's tar, in bytes.

    Once it was packed its manifest says so, else the list of its members. A joblist of packages
    that were received has no such lists.
    """
    job, package = claimed.job, task_of(claimed.job).package
    if not task_of(job).packs and (kept := kept_manifest(tools.joblist, package)) is not None:
        return kept.tar.size
    members = tools.joblist.members_path_of(package)
    if job.source is None or task_of(job).packs or os.path.exists(members):
        return TarLayout(read_members(members)).total_size
    tools.stores.reach_job(credential_scopes_of(job))
    source = tools.stores.open(job.source, "source")
    return read_manifest(source, package, Retry(patience_seconds=0)).tar.size


def _by_leg(tools: AttemptTools, leg: RouteLeg, *, packs: bool) -> AttemptTools:
    """Return the tools with the methods that a leg asks for; without any, with the joblist's.

    Helpers know neither these methods nor the leg's limits. A tar that is composed while it is sent
    is no file that a program could move, so jobtool's own methods do.
    """
    tools.use_routes(leg.limits)
    options = tools.options
    if leg.limits:
        options = replace(options, share=False)
    if not leg.methods or packs:
        return replace(tools, options=options)
    names = named_methods(leg.methods)
    options = replace(
        options,
        methods=names,
        is_auto=AUTO in leg.methods,
        share=options.share and shares_with(names),
    )
    return replace(tools, options=options, methods=load_methods(names, tools.joblist.settings))
