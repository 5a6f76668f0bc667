"""Which catalog is meant: that of an option, of a file of sites, or of the environment."""

from __future__ import annotations

from collections.abc import Mapping

from jobtool.errors import UsageError
from jobtool.names import quote
from jobtool.routes.sites import CatalogPlace
from jobtool.routes.sitesfile import load_sites
from jobtool.stores.location import Location

#: Variables of the environment: a catalog, and a file of sites.
CATALOG_VARIABLE = "JOBTOOL_CATALOG"
SITES_VARIABLE = "JOBTOOL_SITES"


def find_catalog(
    catalog: str | None, sites: str | None, environment: Mapping[str, str]
) -> CatalogPlace:
    """Return where the catalog is.

    The first of these that is there: ``catalog``, a path or URL; the key ``catalog`` of the file
    ``sites``; the variable ``JOBTOOL_CATALOG``; that key of the file that ``JOBTOOL_SITES`` names.
    Empty variables count as not there. Raises ``UsageError`` if there is none, and ``RouteError``
    for a file of sites that can't be used.
    """
    if catalog is not None:
        return CatalogPlace(url=Location.resolve(catalog).url)
    if sites is not None and (found := load_sites(sites).catalog) is not None:
        return found
    if named := environment.get(CATALOG_VARIABLE):
        return CatalogPlace(url=Location.resolve(named).url)
    if sites is None:
        sites = environment.get(SITES_VARIABLE) or None
        if sites is not None and (found := load_sites(sites).catalog) is not None:
            return found
    lacking = "" if sites is None else f" {quote(sites)} has no key catalog."
    raise UsageError(
        f"expected a catalog; found none.{lacking} Name its path or URL by --catalog, by "
        f"{CATALOG_VARIABLE} in the environment, or by the key catalog of a file of sites (--sites "
        f"or {SITES_VARIABLE})."
    )
