"""A user's request for a joblist of packages, completed from the existing joblist and checked."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from jobtool import __version__, typed
from jobtool.bundling.checks import check_settings
from jobtool.bundling.joblines import origin_of
from jobtool.errors import JoblistError, UsageError
from jobtool.jobs.filtersettings import FilterSettings
from jobtool.jobs.jobfolder import job_ids_in
from jobtool.jobs.joblist import JobList
from jobtool.jobs.packagesettings import PackageSettings
from jobtool.jobs.requirements import PACKAGE
from jobtool.jobs.settings import FILENAME, Settings
from jobtool.layouts.existing import canonical, existing_settings
from jobtool.layouts.layout import PACKAGES
from jobtool.layouts.template import safe
from jobtool.names import quote
from jobtool.routes.places import settings_by_url
from jobtool.routes.sites import Sites
from jobtool.stores.location import Location
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.sides import table_to_write
from jobtool.suggest import misfit
from jobtool.transfer.stores_of import stores_by

#: The option of the command for each key of [packages].
OPTIONS: Mapping[str, str] = {
    "sites": "--sites",
    "origin": "--from",
    "to": "--to",
    "pack": "--pack",
    "steps": "--then",
    "release": "--release",
    "keep_days": "--keep-days",
    "catalog": "--catalog",
    "item": "--items",
    "name": "--name",
    "package_bytes": "--package-size",
    "group_by": "--group-by",
    "order": "--order",
    "max_wait_seconds": "--max-wait",
}


class PackagesRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A joblist of packages to make, or to add to.

    ``source``, ``joblist_path`` and ``destination`` are absolute paths or URLs. ``options`` are
    keys of the table ``[packages]``; those that aren't given, or are None, are those of the
    existing joblist. So are ``filters``, the table of that name. With ``close`` no item waits. The
    other arguments are those of ``layouts.request.Request``.
    """

    source: str
    joblist_path: str
    destination: str | None = None
    options: Mapping[str, Any] = msgspec.field(default_factory=dict)
    close: bool = False
    filters: FilterSettings | None = None
    stores: Mapping[str, Mapping[str, object]] = msgspec.field(default_factory=dict)
    credentials: Mapping[str, object] = msgspec.field(default_factory=dict)
    filesystems: Mapping[str, Any] = msgspec.field(default_factory=dict)
    trust: bool = False
    dry_run: bool = False


class Resolution(msgspec.Struct, frozen=True, kw_only=True):
    """All that making packages needs. ``existing`` is None without a joblist of packages."""

    request: PackagesRequest
    existing: Settings | None
    settings: Settings
    packages: PackageSettings
    sites: Sites | None
    stores: StoreRegistry


def resolve(request: PackagesRequest) -> Resolution:
    """Complete and check a request. Nothing is written, and no store is contacted.

    Raises ``JoblistError`` if it contradicts the existing joblist, ``RouteError`` for sites that
    aren't there or have no way between them, and ``UsageError``.
    """
    request = replace(
        request,
        source=Location.parse(request.source).url,
        destination=request.destination and Location.parse(request.destination).url,
    )
    found = existing_settings(request.joblist_path, trust=request.trust)
    before = canonical(found or Settings())
    is_ours = before.packages is not None and before.packages.receive is None
    existing = before if is_ours and before.source is not None else None
    if existing is None:
        _require_free(request.joblist_path, before)
    packages = _packages(request, before)
    tables = {**before.store_tables}
    for scheme, table in request.stores.items():
        tables[scheme] = {**tables.get(scheme, {}), **table}
    settings = replace(
        before,
        jobtool=__version__,
        requires=tuple(dict.fromkeys((*before.requires, PACKAGE))),
        id=before.id or uuid.uuid4().hex,
        source=request.source,
        destination=request.destination or before.destination,
        s3=tables.pop("s3"),
        stores=tables,
        source_fs=table_to_write(before.source_fs, request.filesystems.get("source")),
        target_fs=table_to_write(before.target_fs, request.filesystems.get("destination")),
        credentials={**before.credentials, **request.credentials},
        packages=packages,
        filters=before.filters if request.filters is None else request.filters,
    )
    if settings.filters.files_from is not None:
        raise UsageError(
            f"{FILENAME}, [filters]: expected no 'files_from' for the layout 'packages'. --items "
            "says which items there are, and rules select their files"
        )
    if existing is not None:
        _require_same(request, existing, settings)
    sites = check_settings(_joblist(request, settings))
    if sites is not None and packages.pack == "buffer":  # ways begin where packages lie
        packages = replace(packages, origin=origin_of(packages, sites).text())
        settings = replace(settings, packages=packages)
    return Resolution(
        request=request,
        existing=existing,
        settings=settings,
        packages=packages,
        sites=sites,
        stores=stores_by(
            settings,
            filesystems=request.filesystems,
            places=None if sites is None else settings_by_url(sites),
        ),
    )


def _joblist(request: PackagesRequest, settings: Settings) -> JobList:
    """Return the joblist as it will be, trusted as the user says if there is one already."""
    if not os.path.exists(os.path.join(request.joblist_path, FILENAME)):
        return JobList(request.joblist_path, settings)
    joblist = JobList.open(request.joblist_path, trust=request.trust)
    joblist.settings = settings
    return joblist


def _require_free(path: str, before: Settings) -> None:
    """Raise ``JoblistError`` for a joblist of another kind."""
    has_jobs = os.path.isdir(path) and bool(job_ids_in(path))
    is_received = before.packages is not None and before.packages.receive is not None
    is_used = before.source is not None or bool(before.layout) or has_jobs
    if before.export is not None or is_received or is_used:
        kind = "of an export" if before.export is not None else "of another layout"
        kind = "of received packages" if is_received else kind
        raise JoblistError(
            f"{quote(path)} is a joblist {kind}: packages need one of their own. Use another "
            "--output-path."
        )


def _packages(request: PackagesRequest, before: Settings) -> PackageSettings:
    """Return the settings of packages: those given, else those of the joblist, else the defaults.

    Without ``pack`` packages are kept in the origin's buffer if they go to several sites.
    """
    options = {key: value for key, value in request.options.items() if value is not None}
    table = {} if before.packages is None else msgspec.to_builtins(before.packages)
    merged = {**table, **options}
    to = merged.get("to") or ()
    merged.setdefault("pack", "buffer" if len(to) > 1 else "stream")
    if merged.get("name") is None:
        merged["name"] = default_name(request.joblist_path)
    try:
        return typed.convert(merged, PackageSettings)
    except msgspec.ValidationError as error:
        raise UsageError(misfit(error, PackageSettings, where="[packages]")) from None


def default_name(joblist_path: str) -> str:
    """Return what packages' names begin with: the joblist's name, with ``_`` for odd characters."""
    name = safe(os.path.basename(joblist_path.rstrip("/"))).lstrip(".-~")
    return name.encode()[:60].decode(errors="ignore") or PACKAGES


def _require_same(request: PackagesRequest, before: Settings, now: Settings) -> None:
    path = quote(request.joblist_path)
    for what, old, new in (
        ("input path", before.source, now.source),
        ("destination", before.destination, now.destination),
    ):
        if old != new:
            raise JoblistError(
                f"{path} was made with another {what}: expected {old!r}; found {new!r}. Use "
                "another --output-path, or take that one."
            )
    if before.filters != now.filters:
        raise JoblistError(
            f"{path} was made with other filters. Leave them out: an item keeps the files that it "
            "was packed with. Use another --output-path for others."
        )
    assert before.packages is not None
    assert now.packages is not None
    for key, option in OPTIONS.items():
        old, new = getattr(before.packages, key), getattr(now.packages, key)
        if key == "origin" and old and new and "." not in new:
            old = old.partition(".")[0]
        if key in request.options and request.options[key] is not None and old != new:
            raise JoblistError(
                f"{path} was made with another {option}: expected {_shown(old)}; found "
                f"{_shown(new)}. Leave "
                f"the option out, or change {key!r} in [packages] of its {FILENAME}."
            )


def _shown(value: object) -> str:
    """Return a setting as a person types it."""
    if isinstance(value, tuple):
        return ",".join(map(quote, value)) or "nothing"
    return "nothing" if value is None else quote(str(value))
