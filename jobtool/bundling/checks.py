"""What is checked before a joblist of packages is made: names, sites, places that are apart."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime

from jobtool.bundling.joblines import LOCATION_OF, frees_destinations, frees_origin, origin_of
from jobtool.bundling.walk import DEFAULT_PATTERN
from jobtool.errors import RouteError, UsageError
from jobtool.jobs.joblist import JobList
from jobtool.jobs.packagesettings import PackageSettings
from jobtool.jobs.settings import Settings
from jobtool.layouts.pattern import Pattern
from jobtool.names import filename_of, is_text, quote
from jobtool.routes.places import sites_of
from jobtool.routes.plan import plan_route
from jobtool.routes.sites import Sites
from jobtool.stores.location import inside, is_local, scheme_of
from jobtool.units import size_text

#: The longest name, so that names of jobs, with group, step and sites, aren't cut.
MAX_NAME_BYTES = 60

#: The most bytes that an object of S3 can have: 10,000 parts of 5 GiB.
#: Source: AWS, "Amazon S3 multipart upload limits".
_S3_OBJECT_BYTES = 10_000 * 5 * 2**30

_SITE_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def check_settings(joblist: JobList) -> Sites | None:
    """Raise ``UsageError`` for settings that can't be meant; return the sites, if any are used.

    ``joblist`` needn't exist. Raises ``LayoutError`` for a pattern that isn't one, and
    ``RouteError``.
    """
    settings, joblist_path = joblist.settings, joblist.path
    packages = settings.packages
    assert packages is not None
    assert settings.source is not None
    _check_name(packages.name or "")
    pattern = Pattern(packages.item or DEFAULT_PATTERN)
    for field in packages.group_by:
        if field not in pattern.fields:
            raise UsageError(
                f"--group-by {field}: expected fields of --items {pattern.text}, which has "
                f"{', '.join(pattern.fields) or 'none'}"
            )
    if packages.release != "source" and packages.keep_days != PackageSettings().keep_days:
        raise UsageError("--keep-days is about files of the source: expected --release source")
    sites = sites_of(joblist)
    if sites is None:
        _check_alone(settings, packages)
        assert settings.destination is not None
        places = [settings.destination]
    else:
        if settings.destination is not None:
            raise UsageError(
                "expected a destination (-d) or --sites, which has the places; found both"
            )
        _check_sites(packages, sites)
        places = list(_places(packages, sites))
    for place in places:
        if inside(settings.source, place) is not None:
            raise UsageError(
                f"{quote(place)}, where packages or their items go, lies inside the input path "
                f"{quote(settings.source)}: they would become items. Choose another place."
            )
        if is_local(place) and inside(os.path.realpath(joblist_path), place) is not None:
            raise UsageError(
                f"{quote(place)}, where packages or their items go, lies inside the joblist "
                f"{quote(joblist_path)}. Choose another place."
            )
        if scheme_of(place) == "s3" and packages.package_bytes > _S3_OBJECT_BYTES:
            raise UsageError(
                f"--package-size: expected at most {size_text(_S3_OBJECT_BYTES)}, the most that an "
                f"object of S3 can have; found {size_text(packages.package_bytes)}"
            )
    return sites


def _check_name(name: str) -> None:
    is_fit = is_text(name) and filename_of(name) == name and not re.search(r"\s", name)
    if not name or not is_fit or len(name.encode()) > MAX_NAME_BYTES:
        raise UsageError(
            f"--name: expected a name for packages of at most {MAX_NAME_BYTES} bytes, of letters, "
            f"digits, _, - and dots, that begins with a letter or digit; found {quote(name[:200])}"
        )


def _check_alone(settings: Settings, packages: PackageSettings) -> None:
    """Check packages that go to one destination without sites."""
    for option, is_given in (
        ("--from", packages.origin is not None),
        ("--to", bool(packages.to)),
        ("--then", bool(packages.steps)),
        ("--release", packages.release != "nothing"),
        ("--pack buffer", packages.pack == "buffer"),
    ):
        if is_given:
            raise UsageError(f"{option} is about sites: expected --sites FILE as well; found none")
    if settings.destination is None:
        raise UsageError(
            "expected where packages go: --destination URL, or --sites FILE with --from and --to"
        )


def _check_sites(packages: PackageSettings, sites: Sites) -> None:
    if packages.origin is None or not packages.to:
        raise UsageError(
            "--sites: expected --from SITE, where packages begin, and --to SITE for each site that "
            "they go to"
        )
    origin = origin_of(packages, sites)
    sites.location(origin, where="--from")
    for number, name in enumerate(packages.to):
        site = sites.site(name, where="--to")
        if name in packages.to[:number]:
            raise UsageError(f"--to {name}: expected each site once; found a second")
        if name == origin.site:
            raise UsageError(f"--to {name}: expected another site than that of --from")
        for step, kind in LOCATION_OF.items():
            if step in packages.steps and kind not in site.locations:
                raise RouteError(
                    f"--then {step}: expected a location {kind!r} of {name}, which has "
                    f"{', '.join(site.locations)}. Add the table [sites.{name}.{kind}]."
                )
        plan_route(sites, packages.origin, name, at=datetime.now(UTC))
    for name in (origin.site, *packages.to):
        if not _SITE_NAME.fullmatch(name):
            raise RouteError(
                f"{quote(name)}: expected a site's name of at most 64 characters for packages"
            )
    if packages.release != "nothing" and not (
        frees_destinations(packages) or frees_origin(packages)
    ):
        raise UsageError(
            "--release buffers: expected packages that lie in a buffer besides their last place; "
            "found none. Add --pack buffer, or --then unpack or archive, or leave it out."
        )


def _places(packages: PackageSettings, sites: Sites) -> Iterator[str]:
    """Yield the places that packages and their items may be written to."""
    origin = origin_of(packages, sites)
    if packages.pack == "buffer":
        yield sites.location(origin, where="--from").url
    for name in packages.to:
        for location in sites.sites[name].locations.values():
            yield location.url
