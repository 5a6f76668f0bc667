"""The stores of a worker, opened by its options, with the settings of its joblist's sites."""

from __future__ import annotations

from jobtool.jobs.joblist import JobList
from jobtool.routes.places import require_site, settings_by_url, sites_of
from jobtool.stores.registry import StoreRegistry
from jobtool.transfer.stores_of import stores_of
from jobtool.worker.options import ResolvedOptions


def worker_stores(joblist: JobList, options: ResolvedOptions) -> StoreRegistry:
    """Return the stores of a worker on a joblist.

    Raises ``JoblistError`` if joblist.toml names a command that isn't trusted, ``RouteError`` for
    a file of sites that can't be used or lacks the worker's site, ``UsageError`` for an invalid
    table.
    """
    stores = stores_of(
        joblist,
        connections=2 * max(options.threads, options.small_files or 0),
        links=options.policies.links,
        read_back=options.policies.verify == "read-back",
        keep=options.policies.preserve,
    )
    sites = sites_of(joblist)
    if sites is not None:
        require_site(sites, options.site)
        stores.use_places(settings_by_url(sites))
    return stores
