"""The jobs of a package: one for each of its steps."""

from __future__ import annotations

from collections.abc import Iterator

from jobtool.jobs.job import Job
from jobtool.jobs.packagesettings import PackageSettings
from jobtool.jobs.packagetask import PackageStep, PackageTask, job_name
from jobtool.jobs.requirements import PACKAGE
from jobtool.jobs.settings import Settings
from jobtool.routes.sites import Place, Sites

#: The location of a site that a step writes to.
LOCATION_OF = {"unpack": "processing", "archive": "archive"}


def origin_of(settings: PackageSettings, sites: Sites) -> Place:
    """Return the place where packages begin: the buffer of the site, unless one is named.

    A site without a buffer has its first location.
    """
    assert settings.origin is not None
    name, _, location = settings.origin.partition(".")
    locations = sites.site(name, where="from").locations
    default = "buffer" if "buffer" in locations else next(iter(locations))
    return Place(name, location or default)


def frees_destinations(settings: PackageSettings) -> bool:
    """Return True if packages in the destinations' buffers are freed: others copies stay there."""
    has_copy = "unpack" in settings.steps or "archive" in settings.steps
    return settings.release != "nothing" and has_copy


def frees_origin(settings: PackageSettings) -> bool:
    """Return True if something is freed where packages begin: the buffer, or the source too."""
    return settings.release == "source" or (
        settings.release == "buffers" and settings.pack == "buffer"
    )


def places_of_tars(settings: PackageSettings, sites: Sites) -> Iterator[str]:
    """Yield the URLs of the buffers and archives that packages go to."""
    if settings.pack == "buffer":
        yield sites.location(origin_of(settings, sites), where="from").url
    kinds = ("buffer", "archive") if "archive" in settings.steps else ("buffer",)
    for name in settings.to:
        for kind in kinds:
            if kind in sites.sites[name].locations:
                yield sites.sites[name].locations[kind].url


def jobs_of(package: str, settings: Settings, sites: Sites | None) -> Iterator[Job]:
    """Yield the jobs of a package, each after those that must be a success before it."""
    packages = settings.packages
    assert packages is not None
    if sites is None:
        yield _job(
            package, "copy", source=settings.source, destination=settings.destination, packs=True
        )
        return
    origin = origin_of(packages, sites)
    here = (origin.site,)
    buffer = sites.location(origin, where="from").url
    is_packed = packages.pack == "buffer"
    if is_packed:
        yield _job(
            package,
            "pack",
            source=settings.source,
            destination=buffer,
            packs=True,
            at=here,
            way=(origin.text(),),
        )
    ends: list[str] = []
    for site in packages.to:
        copy = _job(
            package,
            "copy",
            to=site,
            at=here,
            after=(job_name(package, "pack"),) if is_packed else (),
            packs=not is_packed,
            source=buffer if is_packed else settings.source,
        )
        yield copy
        last = copy.name
        for step in packages.steps:
            kind = LOCATION_OF.get(step)
            url = None if kind is None else sites.sites[site].locations[kind].url
            job = _job(package, step, to=site, at=(site,), after=(last,), destination=url)
            yield job
            last = job.name
        ends.append(last)
    if frees_destinations(packages):
        for site, end in zip(packages.to, ends, strict=True):
            yield _job(package, "release", to=site, at=(site,), after=(end,))
    if frees_origin(packages):
        source = settings.source if packages.release == "source" else buffer
        yield _job(package, "release", to=origin.site, at=here, after=tuple(ends), source=source)


def _job(
    package: str,
    step: PackageStep,
    *,
    source: str | None = None,
    destination: str | None = None,
    to: str | None = None,
    at: tuple[str, ...] = (),
    after: tuple[str, ...] = (),
    packs: bool = False,
    way: tuple[str, ...] = (),
) -> Job:
    return Job(
        name=job_name(package, step, to),
        source=source,
        destination=destination,
        requires=(PACKAGE,),
        package=PackageTask(
            package=package, step=step, to=to, at=at, after=after, packs=packs, way=way
        ),
    )
