"""What is done with each package that has arrived: the jobs, from the joblist's settings."""

from __future__ import annotations

from collections.abc import Iterator

from jobtool.jobs.job import Job
from jobtool.jobs.packagesettings import PackageSettings
from jobtool.jobs.packagetask import PackageStep, PackageTask, job_name
from jobtool.jobs.receivesettings import ReceiveSettings
from jobtool.jobs.requirements import PACKAGE
from jobtool.packages.manifest import tar_name
from jobtool.packages.membersurl import members_url


def jobs_of(package: str, url: str, settings: PackageSettings) -> Iterator[Job]:
    """Yield the jobs of a package whose files lie in the folder ``url``.

    At its own site the package is unpacked, verified and archived, each step after the one before.
    For each site of ``to``, the first job of its way carries it on. What is released comes last.
    """
    here = settings.receive or ReceiveSettings()
    last: list[str] = []
    for step in settings.steps:
        name = job_name(package, step, here.site)
        yield _job(
            package,
            step,
            name,
            site=here.site,
            to=here.site,
            after=last[-1:],
            source=_source_of(package, url, step),
            destination={"unpack": here.unpack, "archive": here.archive}.get(step),
        )
        last.append(name)
    ends = last[-1:]
    for to in settings.to:
        name = job_name(package, "copy", to)
        yield _job(package, "copy", name, site=here.site, to=to, source=url)
        ends.append(name)
    if settings.release != "nothing":
        yield _job(
            package,
            "release",
            job_name(package, "release", here.site),
            site=here.site,
            to=here.site,
            after=ends,
            source=url,
        )


def _source_of(package: str, url: str, step: str) -> str | None:
    if step == "unpack":
        return members_url(url, tar_name(package))
    return url if step == "archive" else None


def _job(
    package: str,
    step: PackageStep,
    name: str,
    *,
    site: str | None,
    to: str | None,
    after: list[str] | None = None,
    source: str | None = None,
    destination: str | None = None,
) -> Job:
    return Job(
        name=name,
        source=source,
        destination=destination,
        requires=(PACKAGE,),
        package=PackageTask(
            package=package,
            step=step,
            to=to,
            at=() if site is None else (site,),
            after=tuple(after or ()),
        ),
    )
