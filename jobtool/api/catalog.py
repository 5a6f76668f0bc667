"""The catalog: where the copies of items are, and keeping it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from jobtool.api.places import Place, text_of

if TYPE_CHECKING:
    from jobtool.catalog.catalog import Catalog
    from jobtool.catalog.compaction import Compacted
    from jobtool.catalog.copy import Copy
    from jobtool.catalog.folder import CatalogFolder
    from jobtool.catalog.writer import CatalogWriter
    from jobtool.jobs.joblist import JobList
    from jobtool.stores.storetype import Role

#: The settings of stores by their schemes, as in joblist.toml.
Tables = Mapping[str, Mapping[str, Any]]


def open_catalog(
    catalog: Place | None = None,
    *,
    sites: Place | None = None,
    stores: Tables | None = None,
) -> Catalog:
    """Open a catalog for reading. Nothing is contacted yet.

    Args:
        catalog: Its path or URL. By default the key ``catalog`` of ``sites``, else the variable
            ``JOBTOOL_CATALOG``, else that key of the file that ``JOBTOOL_SITES`` names.
        sites: A file of sites, ``sites.toml``.
        stores: Settings such as ``{"s3": {"endpoint_url": …}}``, which precede those of ``sites``.

    Raises:
        UsageError: There is no catalog to open, or its URL has no store.
        RouteError: The file of sites can't be used.

    Examples:
        >>> [copy.url for copy in jobtool.open_catalog("catalog").copies("plate1")]
        ['s3://archive/plates-0001.tar']
    """
    from jobtool.catalog.catalog import Catalog

    return Catalog(_folder(catalog, sites, stores, "source"))


def require_site(site: str, *, sites: Place | None = None) -> None:
    """Raise ``RouteError`` for a site that the file of sites lacks, if one is given or known."""
    from jobtool.routes.catalogplace import SITES_VARIABLE
    from jobtool.routes.sitesfile import load_sites

    path = os.environ.get(SITES_VARIABLE) if sites is None else text_of(sites)
    if path:
        load_sites(path).site(site, where="--site")


def catalog_writer(
    writer: str,
    catalog: Place | None = None,
    *,
    sites: Place | None = None,
    stores: Tables | None = None,
) -> CatalogWriter:
    """Return a writer of records for a catalog. Nothing is contacted before its first ``flush``.

    ``writer`` names who records, such as ``"host7.1234"``. See ``open_catalog`` for the others and
    for the errors. A place where nothing can be written raises ``UsageError``.
    """
    from jobtool.catalog.writer import CatalogWriter

    return CatalogWriter(_folder(catalog, sites, stores, "destination"), writer)


def compact_catalog(
    catalog: Place | None = None,
    *,
    sites: Place | None = None,
    stores: Tables | None = None,
) -> Compacted:
    """Replace the files of a catalog by one, while others write and read.

    See ``open_catalog`` for the arguments. Raises ``CatalogError`` for a file that isn't one of a
    catalog, before anything is changed, and the errors of reading and writing.
    """
    from jobtool.catalog.compaction import compact

    return compact(_folder(catalog, sites, stores, "destination"))


def copies_of_joblists(*joblists: Place | JobList) -> Iterator[Copy]:
    """Yield the copies that joblists with packages have made or freed, by their receipts.

    Pass them to ``rebuild_catalog`` to make the catalog anew. Raises ``JoblistError`` for a folder
    that isn't a joblist, ``JobFileError`` and ``PackageError`` for files in it that can't be read.
    """
    from jobtool.api.places import opened
    from jobtool.worker.packages.copies import copies_of_joblist

    for joblist in joblists:
        yield from copies_of_joblist(opened(joblist))


def rebuild_catalog(
    copies: Iterable[Copy],
    catalog: Place | None = None,
    *,
    sites: Place | None = None,
    stores: Tables | None = None,
) -> int:
    """Write a catalog of copies to a place without one; return the number of its records.

    Copies may come in any order, and several times: the newest evidence of each counts. A catalog
    of the same copies is left as it is. See ``open_catalog`` for the arguments. Raises
    ``CatalogError`` for a catalog of others, and the errors of writing.
    """
    from jobtool.catalog.rebuild import rebuild

    return rebuild(copies, _folder(catalog, sites, stores, "destination"))


def _folder(
    catalog: Place | None, sites: Place | None, stores: Tables | None, role: Role
) -> CatalogFolder:
    from jobtool.catalog.folder import CatalogFolder
    from jobtool.routes.catalogplace import find_catalog
    from jobtool.stores.location import scheme_of
    from jobtool.stores.registry import StoreRegistry

    found = find_catalog(
        None if catalog is None else text_of(catalog),
        None if sites is None else text_of(sites),
        os.environ,
    )
    tables = {**(stores or {})}
    if found.settings:
        scheme = scheme_of(found.url)
        tables[scheme] = {**found.settings, **tables.get(scheme, {})}
    return CatalogFolder(
        found.url, StoreRegistry(tables, shown="settings of the catalog"), role=role
    )
