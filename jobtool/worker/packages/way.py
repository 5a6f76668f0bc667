"""The way of a package: planned when a job that moves it is claimed, one leg a job.

Each job plans the rest of the way anew, by the routes and conditions of now, and moves the package
over the first leg of it. So a change of the routes changes what is still to be moved, and nothing
that has been. As soon as a byte was sent the job stays with its leg.

Two jobs may want to bring a package to the same place, for two sites behind one relay. The first to
write the leg's file moves it, the other comes after that job.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

import msgspec
from msgspec.structs import replace

from jobtool.errors import InfrastructureError, JobFileError, NotYetError, RouteError
from jobtool.failpoints import reach
from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.jobs.job import Job
from jobtool.jobs.joblist import JobList
from jobtool.jobs.packagechain import legs_of, relay_name, task_of
from jobtool.jobs.packagetask import PackageTask, job_name
from jobtool.jobs.requirements import PACKAGE
from jobtool.names import quote
from jobtool.routes.conditions import Probe, Probed
from jobtool.routes.found import Route, RouteLeg
from jobtool.routes.onward import plan_onward
from jobtool.routes.places import sites_of
from jobtool.routes.plan import leg_of, plan_route
from jobtool.routes.probe import StoreProbe
from jobtool.routes.sites import SiteLocation, Sites
from jobtool.stores.location import is_local
from jobtool.worker.packages.legs import Legs

#: A package that no route may take now is looked at again after this time, unless an hour is known
#: at which one opens. A worker without other work doesn't stay for that long.
LOOK_AGAIN_SECONDS = 600.0

#: The pauses before a file of sites that can't be read is read again: an editor may be writing it.
_READ_AGAIN_SECONDS = (0.2, 0.8, 2.0)


class PlannedLeg(msgspec.Struct, frozen=True, kw_only=True):
    """The leg that a job does. ``owner`` is another job that does it already, else None."""

    leg: RouteLeg
    way: tuple[str, ...]
    owner: str | None = None


class NoWayYetError(NotYetError):
    """The conditions of no route to a site hold now."""


class NotArrivedError(NotYetError):
    """A package isn't where a job needs it. No worker claims the job again at once for that."""

    @classmethod
    def of(cls, package: str) -> NotArrivedError:
        """Return the error for a package."""
        why = f"package {quote(package)} hasn't arrived"
        return cls(why, seconds=LOOK_AGAIN_SECONDS, files=0)


class SitesUnreadableError(InfrastructureError):
    """The file of sites and routes can't be used now. That is no job's fault."""


def sites_now(joblist: JobList) -> Sites | None:
    """Return the sites of a joblist, as their file has them now; None without.

    Someone may be writing the file, so it is read some times. Raises ``SitesUnreadableError``.
    """
    for pause_seconds in _READ_AGAIN_SECONDS:
        try:
            return sites_of(joblist)
        except RouteError:
            time.sleep(pause_seconds)
    try:
        return sites_of(joblist)
    except RouteError as error:
        raise SitesUnreadableError(str(error)) from None


def plan_leg(
    joblist: JobList,
    claimed: ClaimedJob,
    sites: Sites,
    *,
    size: int,
    has_begun: bool,
    now: datetime | None = None,
) -> PlannedLeg:
    """Return the leg of a claimed job that moves a package of ``size`` bytes.

    With ``has_begun`` the job stays with the leg that it has, whatever the size. Raises
    ``NoWayYetError`` if the conditions of no route hold, ``RouteError``, ``JobFileError``,
    ``JoblistUnavailableError``, and the errors of claims.
    """
    job, task = claimed.job, task_of(claimed.job)
    packages = joblist.settings.packages
    if packages is None or packages.origin is None or task.to is None:
        raise JobFileError("expected an origin in [packages] of joblist.toml, and a site to go to")
    legs = Legs(joblist)
    if job.attempts > 1:
        legs.tidy(task.package)
    origin = task.way[0] if task.step == "relay" and task.way else packages.origin
    if has_begun and len(task.way) > 1:
        leg = _leg_between(sites, task)
        legs.reserve(task.package, task.way[1])
        return PlannedLeg(leg=leg, way=task.way)
    at = now or datetime.now(UTC)
    probe = _Reserving(StoreProbe(sites), legs, job.name)
    route, way = _way_from(origin, task, sites, at=at, size=size, probe=probe)
    if not route.is_usable:
        raise _no_way(route, at)
    passed = _passed(joblist, task)
    again = next((place for place in way[1:] if place.partition(".")[0] in passed), None)
    if again is not None:
        raise NoWayYetError(
            f"the routes lead from {origin} to {task.to} by {again}, where the package has been "
            f"already. Change them in {quote(sites.path)}",
            seconds=LOOK_AGAIN_SECONDS,
            files=0,
        )
    claimed.claim.require_held()  # another worker may have taken the job's leg since
    if len(task.way) > 1 and task.way[1] != way[1]:
        legs.leave(task.package, task.way[1], job.name)
    owner = legs.take(task.package, way[1], job.name, size)
    reach("after a leg is taken")
    return PlannedLeg(leg=route.legs[0], way=way, owner=None if owner == job.name else owner)


def _way_from(
    origin: str, task: PackageTask, sites: Sites, *, at: datetime, size: int, probe: Probe
) -> tuple[Route, tuple[str, ...]]:
    """Return the route to take now, and the places of the whole way; raises ``RouteError``.

    A package that a relay has brought to its site goes on by the routes from there. If there are
    none that may be used it goes on as the relay leads.
    """
    assert task.to is not None
    route: Route | None = None
    refusal: RouteError | None = None
    try:
        route = plan_route(sites, origin, task.to, at=at, size_bytes=size, probe=probe)
    except RouteError as error:
        refusal = error
    if (route is None or not route.is_usable) and task.step == "relay" and len(task.way) > 1:
        onward = plan_onward(sites, origin, task.way[1], at=at, size_bytes=size, probe=probe)
        if onward is not None and (route is None or onward.is_usable):
            return onward, task.way
    if route is None:
        assert refusal is not None
        raise refusal
    return route, tuple(place.text() for place in route.places)


def next_leg(job: Job, sites: Sites) -> Job | None:
    """Return the job of the leg after this one; None if the package has arrived.

    Raises ``RouteError`` if a place of the rest of the way is gone from the file of sites.
    """
    task = task_of(job)
    if len(task.way) <= 2 or task.to is None:
        return None
    number = int(job.name.rpartition(".")[2]) + 1 if task.step == "relay" else 2
    here, there = (_location_of(place, sites) for place in task.way[1:3])
    return Job(
        name=relay_name(task.package, task.to, number),
        source=here.url,
        requires=(PACKAGE,),
        fields=job.fields,
        package=PackageTask(
            package=task.package,
            step="relay",
            to=task.to,
            at=sites_able(here, there),
            after=(job.name,),
            way=task.way[1:],
        ),
    )


def release_of_hub(joblist: JobList, job: Job) -> Job | None:
    """Return the job that frees the package at the end of a leg; None if that isn't asked for.

    Generation makes the jobs that free what lies at the origin and at the destinations.
    """
    task, packages = task_of(job), joblist.settings.packages
    if packages is None or packages.release == "nothing" or len(task.way) <= 2:
        return None
    site = task.way[1].partition(".")[0]
    if site in packages.to:
        return None
    last = packages.steps[-1] if packages.steps else "copy"
    ends = tuple(job_name(task.package, last, to) for to in packages.to)
    return Job(
        name=job_name(task.package, "release", site),
        requires=(PACKAGE,),
        fields=job.fields,
        package=PackageTask(package=task.package, step="release", to=site, at=(site,), after=ends),
    )


def sites_able(origin: SiteLocation, target: SiteLocation) -> tuple[str, ...]:
    """Return the sites whose workers reach both ends of a leg: a path is only seen at its site."""
    if is_local(origin.url):
        return (origin.place.site,)
    if is_local(target.url):
        return (target.place.site,)
    return tuple(dict.fromkeys((origin.place.site, target.place.site)))


def _leg_between(sites: Sites, task: PackageTask) -> RouteLeg:
    """Return the leg that a job has begun, with what its route asks for now, if there still is."""
    origin, target = (_location_of(place, sites).place for place in task.way[:2])
    rule = next((rule for rule in sites.routes if rule.name == task.route), None)
    return leg_of(sites, rule, origin, target)


def _location_of(place: str, sites: Sites) -> SiteLocation:
    """Return the location of a place that a package's way passes; raises ``RouteError``."""
    site, _, location = place.partition(".")
    found = sites.sites.get(site)
    if found is None or location not in found.locations:
        raise RouteError(
            f"{quote(sites.path)}: expected the location {place}, which the package's way passes; "
            "found none. Put it back."
        )
    return found.locations[location]


def _passed(joblist: JobList, task: PackageTask) -> set[str]:
    """Return the sites that a package has left on its way to a site."""
    if task.step != "relay":
        return set()
    legs = legs_of(joblist, task.package, task.to)
    return {leg.package.way[0].partition(".")[0] for leg in legs[:-1] if leg.package is not None}


def _no_way(route: Route, now: datetime) -> NoWayYetError:
    seconds = LOOK_AGAIN_SECONDS
    if route.usable_from is not None:
        seconds = max((route.usable_from - now).total_seconds(), 1.0)
    reasons = "; ".join(f"{each.route}: {each.why}" for each in route.considered)
    return NoWayYetError(
        f"no route from {route.origin} to {route.target} may be used now ({reasons})",
        seconds=seconds,
        files=0,
    )


class _Reserving:
    """Looks at locations, and counts what other jobs are bringing there as taken."""

    def __init__(self, probe: StoreProbe, legs: Legs, job: str) -> None:
        self._probe = probe
        self._legs = legs
        self._job = job

    def __call__(self, location: SiteLocation) -> Probed:
        found = self._probe(location)
        if found.free_bytes is None:
            return found
        reserved = self._legs.reserved_bytes(location.place.text(), self._job)
        return replace(found, free_bytes=found.free_bytes - reserved)
