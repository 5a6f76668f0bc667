"""Planning: making the plan of a job."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from jobtool.errors import FileError, NotFoundError, SourceError
from jobtool.jobs.job import Job
from jobtool.names import quote
from jobtool.stores.location import Location, is_local, join, parent_of
from jobtool.stores.optional import FolderAttributes, Specials, supports
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.store import Entry, Special, Store, entry_of, kind_of
from jobtool.transfer.look import look_at
from jobtool.transfer.plan import Failure, Plan, Route
from jobtool.transfer.resolve import resolve, resolve_destination
from jobtool.transfer.retry import Retry
from jobtool.transfer.selecting import is_left_out
from jobtool.transfer.treelisting import TreeListing

if TYPE_CHECKING:
    from jobtool.filters.selection import Selection


def open_plan(
    job: Job,
    stores: StoreRegistry,
    *,
    owner: str = "",
    retry: Retry | None = None,
    select: Callable[[str], Selection | None] | None = None,
) -> tuple[Plan, TreeListing | None]:
    """Return the plan of a job and, for a tree, its ``TreeListing``, which wasn't run yet.

    ``job.destination`` must be set unless all its files are absolute. Files that the job names are
    looked at with ``retry``, several at a time. Those that are missing or can't be read become
    ``failures`` of the plan. ``select`` returns what of a tree at a URL is left out. Files that the
    job names are never left out.

    Raises ``NotFoundError`` if the source is missing, ``FileError`` for a path that would leave its
    root or a destination named twice, ``UsageError`` for an unsupported source or destination,
    ``StoppedError``, ``InfrastructureError``.
    """
    for url in (job.source, job.destination):
        if url is not None:
            Location.parse(url)
    retry = retry or Retry.never()
    if job.files:
        return _plan_files(job, stores, owner, retry), None
    return retry.call(lambda: _open_tree(job, stores, owner, retry, select or _all))


def _open_tree(
    job: Job,
    stores: StoreRegistry,
    owner: str,
    retry: Retry,
    select: Callable[[str], Selection | None],
) -> tuple[Plan, TreeListing | None]:
    if job.source is None or job.destination is None:
        raise FileError(f"job {quote(job.name)}: expected a source and a destination")
    source = stores.open(job.source, "source")
    kind = kind_of(source, "")
    if kind == "file" or (kind == "missing" and _is_one_file(job.source, stores)):
        source_folder, source_name = parent_of(job.source)
        destination_folder, destination_name = parent_of(job.destination)
        source = stores.open(source_folder, "source")
        destination = stores.open(destination_folder, "destination", owner=owner)
        plan = Plan(select(source_folder))
        plan.start_route(Route(source, destination))
        entry = entry_of(source, source_name)
        if is_left_out(plan.selection, entry):
            plan.excluded += 1
        else:
            plan.add(entry, destination_name)
        return plan, None
    if kind == "missing":
        raise NotFoundError(
            f"expected a folder or file at {quote(job.source)}; found nothing. "
            "Was the source moved or removed?"
        )
    target = job.destination
    plan = Plan(select(job.source))
    route = Route(source, stores.open(target, "destination", owner=owner, mirrors=source))
    plan.start_route(route)
    plan.is_tree = True

    def finish(plan: Plan) -> None:
        names = None if plan.selection is None else plan.selection.names
        if names is not None and names.is_named:
            _fail_named(plan, job.source or "", stores, has_more=bool(len(names)))
        is_kept = supports(source, FolderAttributes) and supports(
            route.destination, FolderAttributes
        )  # the folder's attributes are kept, which makes it
        is_empty = not (len(plan) or plan.has_specials or plan.failures)
        if is_empty and not is_kept and holds_empty_folders(route.destination):
            # The folder itself has to be made.
            folder, name = parent_of(target)
            if name:  # a root is there, or can't be made
                plan.start_route(Route(source, stores.open(folder, "destination", owner=owner)))
                plan.add_special(Special(name, "empty-folder"))

    return plan, TreeListing(plan, route, finish, retry)


def _fail_named(plan: Plan, url: str, stores: StoreRegistry, *, has_more: bool) -> None:
    """Make a failure of a job's folder that ``--files-from`` names as if it were a file.

    ``find`` names each folder of named files, which is no failure, but an object beside a prefix
    of its name would not be sent. Neither is an empty folder, which is made.
    """
    if has_more and not is_local(url) and _is_one_file(url, stores):
        found = "an object beside a prefix of its name, which can't be a separate job"
    elif not has_more and plan.excluded:
        found = "a folder that isn't empty. Name the files in it, or use --include"
    else:
        return
    error = f"expected a file at {quote(url)}, which --files-from names; found {found}."
    plan.fail(url, SourceError(error))


def _all(source: str) -> None:
    """Leave out nothing."""


def holds_empty_folders(store: Store) -> bool:
    """Return True for a store with folders, in which no file has the path of a folder."""
    return supports(store, Specials) and "empty-folder" in store.specials


def _is_one_file(url: str, stores: StoreRegistry) -> bool:
    folder, name = parent_of(url)
    return name != "" and kind_of(stores.open(folder, "source"), name) == "file"


def _plan_files(job: Job, stores: StoreRegistry, owner: str, retry: Retry) -> Plan:
    plan = Plan()
    pairs: dict[tuple[str, str], list[tuple[str, str]]] = {}
    taken: set[str] = set()  # whole locations: a file may be named from two roots
    for pair in job.files:
        source_root, source = resolve(pair.source, job.source)
        destination_root, destination = resolve_destination(pair.destination, job)
        target = join(destination_root, destination)
        if target in taken:
            raise FileError(f"{quote(pair.destination)} is the destination of two files of the job")
        taken.add(target)
        pairs.setdefault((source_root, destination_root), []).append((source, destination))
    for (source_root, destination_root), names in pairs.items():
        route = Route(
            stores.open(source_root, "source"),
            stores.open(destination_root, "destination", owner=owner),
        )
        plan.start_route(route)
        for (source, destination), found in zip(
            names, look_at(route.source, (source for source, _ in names), retry), strict=True
        ):
            if isinstance(found, Entry):
                plan.add(found, destination)
            else:
                # All are kept: the job file bounds their number.
                failure = Failure(
                    path=route.source.url_of(source),
                    error=found,
                    destination=route.destination.url_of(destination),
                )
                plan.failures.append(failure)
    return plan
