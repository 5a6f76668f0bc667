"""The catalog, the file of sites and the stores of a call."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from jobtool.catalog.catalog import Catalog
from jobtool.catalog.folder import CatalogFolder
from jobtool.errors import RouteError, UsageError
from jobtool.names import quote
from jobtool.routes.catalogplace import SITES_VARIABLE, find_catalog
from jobtool.routes.places import settings_by_url
from jobtool.routes.sites import Place, SiteLocation, Sites
from jobtool.routes.sitesfile import load_sites
from jobtool.staging.accessfolder import AccessFolder
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.storetype import Role


class StagingPlaces:
    """Opens the catalog and the access records beside it. Contacts nothing yet.

    ``catalog`` and ``sites`` are as typed, None for those of the ``environment``. ``tables`` are
    settings of stores. ``role`` is ``"destination"`` to write. Raises ``UsageError`` if one is
    missing, and ``RouteError``.
    """

    def __init__(
        self,
        catalog: str | None,
        sites: str | None,
        tables: Mapping[str, Mapping[str, Any]],
        role: Role,
        *,
        environment: Mapping[str, str],
        clock: Callable[[], datetime],
    ) -> None:
        named = sites or environment.get(SITES_VARIABLE) or None
        place = find_catalog(catalog, sites, environment)
        self._sites = None if named is None else load_sites(os.path.abspath(named))
        places = {} if self._sites is None else dict(settings_by_url(self._sites))
        if place.settings:
            places[place.url] = place.settings
        self.stores = StoreRegistry(tables, places=places, shown="--set")
        folder = CatalogFolder(place.url, self.stores, role=role)
        self.catalog = Catalog(folder)
        self.access = AccessFolder(folder, self.stores, role=role, clock=clock)

    @property
    def sites(self) -> Sites:
        """The file of sites. Raises ``UsageError`` if none is named."""
        if self._sites is None:
            raise UsageError(
                f"expected a file of sites; found none. Name it by --sites, or by {SITES_VARIABLE} "
                "in the environment."
            )
        return self._sites

    def location(self, site: str | None, to: str) -> SiteLocation:
        """Return the location ``to`` of a site, or ``SITE.LOCATION``; of the only site if None.

        Raises ``UsageError`` and ``RouteError``.
        """
        sites = self.sites
        name, dot, location = to.rpartition(".")
        if dot and site is not None and site != name:
            raise RouteError(
                f"--to {quote(to)}: expected a location of {quote(site)}, which is the site; found "
                f"one of {quote(name)}. Leave one out."
            )
        if not dot:
            name = site or (next(iter(sites.sites)) if len(sites.sites) == 1 else "")
        if not name:
            raise UsageError(
                f"expected a site; found none. Name one of {', '.join(sites.sites)} by --site, or "
                "by JOBTOOL_SITE in the environment."
            )
        return sites.location(Place(name, location), where="--to")
