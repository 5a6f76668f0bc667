"""The plan of a batch: some files of a job, as its holder has listed them."""

from __future__ import annotations

from collections.abc import Iterable

from jobtool.errors import FileError
from jobtool.jobs.job import Job
from jobtool.names import quote
from jobtool.stores.location import parent_of
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.store import Entry, Store, check_path
from jobtool.transfer.plan import Plan, Route, path_in
from jobtool.transfer.resolve import resolve, resolve_destination


def plan_of_files(
    job: Job, entries: Iterable[tuple[str, str, int, int]], stores: StoreRegistry, owner: str
) -> Plan:
    """Return a plan of some files of a job, in the order given. The files aren't looked at.

    Each entry has the file's source and destination (absolute paths or URLs), its size in bytes and
    its modification time in nanoseconds since 1970. Raises ``FileError`` for a file that isn't one
    of the job's.
    """
    plan = Plan()
    if not job.files and job.source is not None and job.destination is not None:
        source_store = stores.open(job.source, "source")
        route = Route(
            source_store,
            stores.open(job.destination, "destination", owner=owner, mirrors=source_store),
        )
        entries = [*entries]
        if entries and path_in(route.source, entries[0][0]):
            plan.start_route(route)
            for source_url, destination_url, size, mtime_ns in entries:
                source = path_in(route.source, source_url)
                destination = path_in(route.destination, destination_url)
                if not source or not destination:
                    raise _not_of(job, source_url, destination_url)
                plan.add(Entry(check_path(source), size, mtime_ns), check_path(destination))
            return plan
    named = _named_files(job, stores)
    routes: dict[tuple[str, str], Route] = {}
    last: Route | None = None
    for source_url, destination_url, size, mtime_ns in entries:
        if (source_url, destination_url) not in named:
            raise _not_of(job, source_url, destination_url)
        roots, source, destination = named[source_url, destination_url]
        if roots not in routes:
            routes[roots] = Route(
                stores.open(roots[0], "source"),
                stores.open(roots[1], "destination", owner=owner),
            )
        if routes[roots] is not last:
            last = routes[roots]
            plan.start_route(last)
        plan.add(Entry(source, size, mtime_ns), destination)
    return plan


_Roots = tuple[str, str]


def _named_files(job: Job, stores: StoreRegistry) -> dict[tuple[str, str], tuple[_Roots, str, str]]:
    """Return the files that a job names, by their URLs, with stores' roots and paths in them."""
    pairs = [
        (*resolve(pair.source, job.source), *resolve_destination(pair.destination, job))
        for pair in job.files
    ]
    if not job.files:
        pairs = [(*parent_of(job.source or ""), *parent_of(job.destination or ""))]
    found = {}
    urls: dict[str, Store] = {}
    for source_root, source, destination_root, destination in pairs:
        for root in (source_root, destination_root):
            if root not in urls:
                urls[root] = stores.open(root, "source")
        key = (urls[source_root].url_of(source), urls[destination_root].url_of(destination))
        found[key] = ((source_root, destination_root), source, destination)
    return found


def _not_of(job: Job, source_url: str, destination_url: str) -> FileError:
    return FileError(
        f"{quote(source_url)} -> {quote(destination_url)} isn't a file of job {quote(job.name)}"
    )
