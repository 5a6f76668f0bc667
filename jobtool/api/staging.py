"""Staging archived items on demand, and freeing the space again."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from jobtool.api.places import Place, local_path, text_of
from jobtool.errors import StagingError, UsageError
from jobtool.events import Emit, ignore
from jobtool.names import quote
from jobtool.stop import Stop
from jobtool.suggest import did_you_mean

if TYPE_CHECKING:
    from jobtool.routes.sites import SiteLocation
    from jobtool.staging.holdings import Holding
    from jobtool.staging.outcome import Unstaged
    from jobtool.staging.places import StagingPlaces
    from jobtool.staging.results import StagedItem, Staging
    from jobtool.stores.storetype import Role
    from jobtool.worker.events import JobProgress

#: The settings of stores by their schemes, as in joblist.toml.
Tables = Mapping[str, Mapping[str, Any]]

#: How long items are needed unless the caller says otherwise.
DEFAULT_DAYS = 30

_LONGEST_DAYS = 3650
_WAIT_SECONDS = 60.0


def stage_items(
    items: Sequence[str],
    *,
    to: str = "processing",
    site: str | None = None,
    sites: Place | None = None,
    catalog: Place | None = None,
    stores: Tables | None = None,
    days: float = DEFAULT_DAYS,
    members: Sequence[str] = (),
    joblist: Place | None = None,
    skip_missing: bool = False,
    run: bool = True,
    wait: bool = False,
    on_plan: Callable[[Staging], None] | None = None,
    on_event: Emit = ignore,
    on_progress: Callable[[JobProgress], None] = ignore,
    stop: Stop | None = None,
) -> Staging:
    """Bring items from the archive, or wherever the catalog has them, to a site's location.

    Each is copied from its best copy: open files at the site, else a package at the site, else one
    elsewhere. Only the members that are needed are read. An access record says who needs the items
    until when. Repeating a request uses the jobs of before.

    Args:
        items: Names as the catalog has them.
        to: The location, such as ``processing``, or ``SITE.LOCATION``.
        site: The site; by default the variable ``JOBTOOL_SITE``, or the only site.
        sites: The file of sites; by default the variable ``JOBTOOL_SITES``.
        catalog: The catalog; see ``open_catalog``.
        stores: Settings such as ``{"s3": {"endpoint_url": …}}``. Objects in an archive class of S3
            are restored for 3 days unless ``restore_days`` says otherwise.
        days: For how many days they are needed.
        members: Patterns of the files that are needed, relative to each item; all by default.
        joblist: The folder of the joblist; by default one of this user's for the location, in
            ``$XDG_STATE_HOME/jobtool/stage``.
        skip_missing: Leave out items that can't be staged. By default nothing is done then.
        run: Do the jobs now, by one worker.
        wait: Stay until files that are being restored can be read, and copy them.
        on_plan: Called once with the request, before anything is copied.
        on_event: Called with each event of the worker.
        on_progress: Called several times a second with the progress of the running job.
        stop: Once it is set, the files in progress are finished and the job is handed back.

    Raises:
        StagingError: Items can't be staged; it names all of them.
        NotYetError: Members are chosen by pattern, and the index must be restored first.
        UsageError: There is no catalog, no file of sites, no such location.
        CatalogError: A file of the catalog can't be read.

    Examples:
        >>> jobtool.stage_items(["2026-02-01/scan_07"], site="cologne", days=7).exit_code
        0
    """
    from jobtool.api.statefolder import state_folder
    from jobtool.staging.accessfolder import this_person
    from jobtool.staging.joblists import stage_joblist, with_restores
    from jobtool.staging.request import Request
    from jobtool.staging.results import Staging, looked_at

    if not items or "" in items:
        raise UsageError("expected the names of items; found none, or an empty one")
    if not 0 < days <= _LONGEST_DAYS:
        raise UsageError(f"days: expected a number above 0, at most {_LONGEST_DAYS}; found {days}")
    tables = with_restores(stores or {})
    world = _places(catalog, sites, tables, "destination")
    if site is None and "." not in to:
        site = os.environ.get("JOBTOOL_SITE") or None
    location, access = world.location(site, to), world.access
    until = access.now() + timedelta(days=days)
    request = Request(items, location, person=this_person(), until=until, members=members)
    plan = request.plan(world.catalog, access, world.stores, skip_missing=skip_missing)
    if joblist is None:
        facts = (world.catalog.url, location.url)
        path = state_folder("stage", location.place.text(), facts, option="-o")
    else:
        path = local_path(joblist)
    job_ids: list[str] = []
    opened = None
    if not all(each.is_there for each in plan.items):
        opened = stage_joblist(
            path, sites=world.sites.path, catalog=world.catalog.url, stores=tables
        )
    request.record(plan, access)
    if opened is not None:
        job_ids = request.add_jobs(plan, opened)
    first = Staging(
        items=plan.items,
        skipped=plan.skipped,
        until=until,
        joblist=None if opened is None else path,
        statuses={},
        waits_until=None,
        exit_code=0,
    )
    first = looked_at(first, job_ids, now=_now())
    if on_plan is not None:
        on_plan(first)
    if opened is None or not run:
        return first
    return _run(first, job_ids, location, wait, on_event, on_progress, stop or Stop())


def list_staged(
    items: Sequence[str] = (),
    *,
    sites: Place | None = None,
    catalog: Place | None = None,
    stores: Tables | None = None,
) -> list[StagedItem]:
    """Return what is staged or requested where, by whom and until when, sorted by item.

    ``items`` are the only ones wanted. See ``stage_items`` for the others and for the errors.
    """
    from jobtool.staging.holdings import holdings_of
    from jobtool.staging.results import lines_of

    wanted = {item.rstrip("/") for item in items}
    records = _places(catalog, sites, stores or {}, "source").access.records()
    return [
        line
        for holding in holdings_of(records).values()
        if not wanted or holding.item in wanted
        for line in lines_of(holding)
    ]


def unstage_items(
    items: Sequence[str] = (),
    *,
    expired: bool = False,
    dry_run: bool = False,
    deep: bool = False,
    sites: Place | None = None,
    catalog: Place | None = None,
    stores: Tables | None = None,
    clock: Callable[[], datetime] | None = None,
    on_item: Callable[[Unstaged], None] | None = None,
    stop: Stop | None = None,
) -> list[Unstaged]:
    """Free the space of staged items; return what became of each.

    Only files that were staged are deleted, if they are unchanged since and another copy holds
    them, which is looked at first. Files that were changed stay, and so does whatever else is in
    the folder. An item that somebody else needs stays until then.

    Args:
        items: Items that the caller needs no more.
        expired: In place of them, all that nobody needs any more.
        dry_run: Look, and say what would be deleted; change nothing.
        deep: Read the members of the other copy back.
        sites: The file of sites; by default the variable ``JOBTOOL_SITES``.
        catalog: The catalog; see ``open_catalog``.
        stores: Settings of stores.
        clock: Returns the time, with a time zone; by default this machine's.
        on_item: Called with each item's outcome.
        stop: Once it is set, it ends between two files. The next call goes on.

    Raises:
        StagingError: An item isn't staged, or the clock can't be right.
        StoppedError: It was asked to stop.
        CatalogError: A file of the catalog can't be read.
        InfrastructureError: A store can't be used.
    """
    from jobtool.staging.accessfolder import this_person
    from jobtool.staging.clockcheck import require_likely
    from jobtool.staging.holdings import holdings_of
    from jobtool.staging.unstaging import Unstaging

    if expired == bool(items):
        raise UsageError("expected either items or expired; found both or neither")
    world = _places(catalog, sites, stores or {}, "destination", clock)
    access = world.access
    records = access.records()
    now = access.now()
    require_likely(now, records, None, where=access.url)
    holdings = list(holdings_of(records).values())
    freeing = Unstaging(
        world.catalog,
        access,
        world.stores,
        world.sites,
        person=this_person(),
        deep=deep,
        stop=stop,
    )
    found: list[Unstaged] = []
    for holding in holdings if expired else _wanted(holdings, items):
        done: Unstaged | None
        if expired:
            done = freeing.expired(holding, now=now, dry_run=dry_run)
        else:
            done = freeing.items(holding, now=now, dry_run=dry_run)
        if done is not None:
            found.append(done)
            if on_item is not None:
                on_item(done)
    return found


def _places(
    catalog: Place | None,
    sites: Place | None,
    tables: Tables,
    role: Role,
    clock: Callable[[], datetime] | None = None,
) -> StagingPlaces:
    from jobtool.staging.places import StagingPlaces

    return StagingPlaces(
        None if catalog is None else text_of(catalog),
        None if sites is None else text_of(sites),
        tables,
        role,
        environment=os.environ,
        clock=clock or _now,
    )


def _now() -> datetime:
    return datetime.now(UTC)


def _run(
    staging: Staging,
    job_ids: Sequence[str],
    location: SiteLocation,
    wait: bool,
    on_event: Emit,
    on_progress: Callable[[JobProgress], None],
    stop: Stop,
) -> Staging:
    from jobtool.api.transfer import transfer_jobs
    from jobtool.staging.results import looked_at

    assert staging.joblist is not None
    while True:
        transfer_jobs(
            staging.joblist,
            site=location.place.site,
            on_event=on_event,
            on_progress=on_progress,
            stop=stop,
        )
        staging = looked_at(staging, job_ids, now=_now())
        if not wait or staging.exit_code != 5 or staging.waits_until is None:
            return staging
        while (left := (staging.waits_until - _now()).total_seconds()) > 0:
            if stop.is_set():
                return staging
            stop.wait(min(left, _WAIT_SECONDS))


def _wanted(holdings: Sequence[Holding], items: Sequence[str]) -> list[Holding]:
    wanted = dict.fromkeys(item.rstrip("/") for item in items)
    known = {holding.item for holding in holdings}
    lacking = [item for item in wanted if item not in known]
    if lacking:
        shown = " ".join(f"{quote(item)}.{did_you_mean(item, known)}" for item in lacking[:20])
        raise StagingError(
            f"expected items that are staged; {len(lacking)} aren't, and nothing was changed: "
            f"{shown} jobtool stage --list names those that are staged."
        )
    return [holding for holding in holdings if holding.item in wanted]
