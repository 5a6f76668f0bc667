"""What a user asks ``jobtool receive`` for, and the settings that follow from it."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from jobtool import __version__, typed
from jobtool.errors import JoblistError, RouteError, UsageError
from jobtool.jobs.packagesettings import PackageSettings, Release, SiteStep
from jobtool.jobs.receivesettings import ReceiveSettings
from jobtool.jobs.requirements import PACKAGE
from jobtool.jobs.settings import FILENAME, Settings
from jobtool.names import quote
from jobtool.routes.plan import plan_route
from jobtool.routes.sites import Place, Site, Sites
from jobtool.stores.location import Location

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")

#: In the order in which they are done.
STEPS: tuple[SiteStep, ...] = ("unpack", "verify", "archive")


class ReceiveRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be received, and what is to be done with it; None and () where nothing is said.

    ``urls`` are the folders of packages, ``joblist_path`` is absolute. ``sites_path`` is that of
    the file of sites, absolute, and ``site`` the one at which the packages have arrived. ``steps``
    are done there. ``unpack`` and ``archive`` are places, in place of those of the site. ``to`` are
    sites that packages are carried on to. ``tables`` are those of joblist.toml for stores and
    credentials (keywords of ``Settings``).
    """

    urls: tuple[str, ...]
    joblist_path: str
    sites_path: str | None = None
    site: str | None = None
    steps: tuple[SiteStep, ...] | None = None
    unpack: str | None = None
    archive: str | None = None
    to: tuple[str, ...] = ()
    release: Release | None = None
    catalog: str | None = None
    tables: Mapping[str, Any] = msgspec.field(default_factory=dict)
    dry_run: bool = False


def settings_of(request: ReceiveRequest, sites: Sites | None) -> Settings:
    """Return the settings of the joblist that a request asks for.

    ``sites`` are those of its file. Raises ``UsageError`` if something is missing or can't be
    done, and ``RouteError`` for a site that isn't in the file or that no route leads to.
    """
    site = _site_of(request, sites)
    steps = _steps_of(request)
    if "verify" in steps and "unpack" not in steps:
        raise UsageError(
            "--then verify: expected unpack before it, since it reads back what was unpacked; "
            "found none. Add unpack, or leave verify out."
        )
    if request.release == "source":
        raise UsageError(
            "--release source: expected nothing or buffers, since the source is at the sender; "
            "found source. The sender's joblist frees it."
        )
    unpack = _place_of(request.unpack, "unpack", "processing", site, steps, request)
    archive = _place_of(request.archive, "archive", "archive", site, steps, request)
    if not steps and not request.to:
        raise UsageError("expected steps by --then, or --to SITE; found neither")
    return typed.convert(
        {
            **request.tables,
            "jobtool": __version__,
            "requires": (PACKAGE,),
            "id": uuid.uuid4().hex,
            "packages": PackageSettings(
                sites=request.sites_path,
                origin=_origin_of(request, sites, site),
                to=request.to,
                steps=steps,
                release=request.release or "nothing",
                catalog=request.catalog,
                receive=ReceiveSettings(site=request.site, unpack=unpack, archive=archive),
            ),
        },
        Settings,
    )


def require_same(request: ReceiveRequest, found: Settings) -> PackageSettings:
    """Return the settings of a joblist that is there. What a request leaves out is as it was.

    Raises ``JoblistError`` for a joblist of another kind, and if the request says something else.
    """
    path = quote(request.joblist_path)
    packages = found.packages
    if packages is None or packages.receive is None:
        raise JoblistError(
            f"expected a joblist of received packages at {path}, or nothing; found a joblist that "
            "jobtool receive didn't make. Choose another folder for the joblist."
        )
    here = packages.receive
    for option, asked, there in (
        ("--sites", request.sites_path, packages.sites),
        ("--site", request.site, here.site),
        ("--then", None if request.steps is None else _steps_of(request), packages.steps),
        ("--unpack", request.unpack, here.unpack),
        ("--archive", request.archive, here.archive),
        ("--to", request.to or None, packages.to),
        ("--release", request.release, packages.release),
        ("--catalog", request.catalog, packages.catalog),
    ):
        if asked is not None and asked != there:
            raise JoblistError(
                f"{option}: expected {_shown(there)}, as {path} was made with; found "
                f"{_shown(asked)}. Leave the option out, or choose another folder for the joblist."
            )
    tables = msgspec.to_builtins(found)
    known = {**tables, **tables["stores"]}
    given = {**request.tables, **request.tables.get("stores", {})}
    for table in given.keys() - {"stores"}:
        for key, value in given[table].items():
            if known.get(table, {}).get(key) != value:
                raise JoblistError(
                    f"{path} was made with another {key!r} in [{table}]. Change that in its "
                    f"{FILENAME}, or choose another folder for the joblist."
                )
    return packages


def require_origin(urls: tuple[str, ...], packages: PackageSettings, sites: Sites | None) -> None:
    """Raise ``UsageError`` unless packages that are carried on lie at the origin of their ways."""
    if not packages.to or sites is None or packages.origin is None:
        return
    for url in urls:
        site, _, location = packages.origin.partition(".")
        origin = sites.location(Place(site, location), where="origin in [packages]")
        if Location.resolve(origin.url).url != url:
            raise UsageError(
                f"{quote(url)}: expected packages at {quote(origin.url)}, the location "
                f"{packages.origin} from which they are carried on. Make a joblist of its own for "
                "each location."
            )


def _site_of(request: ReceiveRequest, sites: Sites | None) -> Site | None:
    if request.site is not None and not _NAME.fullmatch(request.site):
        raise UsageError(
            f"--site: expected a name of letters, digits, '-' and '_'; found {quote(request.site)}"
        )
    if sites is None:
        if request.to:
            raise UsageError("--to: expected --sites FILE, which has the routes; found none")
        return None
    if request.site is None:
        raise UsageError(
            "--sites: expected --site NAME as well, the site at which the packages have arrived; "
            f"found none. The sites are {', '.join(sites.sites)}"
        )
    return sites.site(request.site, where="--site")


def _steps_of(request: ReceiveRequest) -> tuple[SiteStep, ...]:
    if request.steps is not None:
        return tuple(step for step in STEPS if step in request.steps)
    return () if request.to else ("unpack",)


def _place_of(
    given: str | None,
    option: SiteStep,
    kind: str,
    site: Site | None,
    steps: tuple[SiteStep, ...],
    request: ReceiveRequest,
) -> str | None:
    """Return the place that a step brings files to; None if it isn't among the steps."""
    if option not in steps:
        if given is not None:
            raise UsageError(f"--{option}: expected {option} among the steps of --then; found none")
        return None
    if given is not None:
        return given
    location = None if site is None else site.locations.get(kind)
    if location is not None:
        return Location.resolve(location.url).url
    if site is None:
        raise UsageError(f"--then {option}: expected --{option} URL, the place for it; found none")
    raise RouteError(
        f"--then {option}: expected a location {kind} of {site.name} in "
        f"{quote(request.sites_path or '')}; found none. Add [sites.{site.name}.{kind}], or name "
        f"another place by --{option}"
    )


def _origin_of(request: ReceiveRequest, sites: Sites | None, site: Site | None) -> str | None:
    """Return the location at which packages lie that are carried on, as ``SITE.LOCATION``."""
    if not request.to or sites is None or site is None:
        return None
    for location in site.locations.values():
        if Location.resolve(location.url).url == request.urls[0]:
            origin = location.place.text()
            break
    else:
        shown = ", ".join(quote(each.url) for each in site.locations.values())
        raise UsageError(
            f"{quote(request.urls[0])}: expected a location of {site.name}, from which routes lead "
            f"on; found another place. Its locations are {shown}"
        )
    for to in request.to:
        sites.site(to, where="--to")
        if to == site.name:
            raise UsageError(f"--to {to}: expected another site than --site; found the same")
        plan_route(sites, origin, to, at=datetime.now(UTC))  # is there one at all?
    return origin


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return quote(",".join(map(str, value))) if value else "nothing"
    return "nothing" if value is None else quote(str(value))
