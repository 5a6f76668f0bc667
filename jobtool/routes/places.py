"""The settings of sites' stores, by URL, for the stores of a joblist."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from jobtool.errors import RouteError
from jobtool.jobs.joblist import JobList
from jobtool.jobs.trust import why_untrusted
from jobtool.names import quote
from jobtool.routes.sites import Sites
from jobtool.routes.sitesfile import load_sites


def sites_of(joblist: JobList) -> Sites | None:
    """Return the sites of a joblist with packages, as their file has them now; None without.

    Raises ``RouteError``, also for a file that others may write and that names an ssh_config: such
    a file may name commands. It is used if the user trusts the joblist anyway.
    """
    packages = joblist.settings.packages
    if packages is None or packages.sites is None:
        return None
    sites = load_sites(os.path.join(joblist.path, packages.sites))
    names_commands = any("config" in table for table in settings_by_url(sites).values())
    untrusted = (
        why_untrusted(sites.path) if names_commands and not joblist.is_trusted_anyway else None
    )
    if untrusted is not None:
        raise RouteError(
            f"{quote(sites.path)}: its settings name an ssh_config, which may name commands. "
            f"{untrusted}. Make the file writable by you alone, or leave the setting out."
        )
    return sites


def settings_by_url(sites: Sites) -> Mapping[str, Mapping[str, Any]]:
    """Return the settings of the stores of all locations that have some, by their URL.

    Those of the catalog are among them.
    """
    catalog = sites.catalog
    found = {} if catalog is None or not catalog.settings else {catalog.url: catalog.settings}
    locations = (one for site in sites.sites.values() for one in site.locations.values())
    return found | {one.url: one.settings for one in locations if one.settings}


def require_site(sites: Sites, name: str | None) -> None:
    """Raise ``RouteError`` unless a worker can be at a site: that is one of the sites, or None."""
    if name is not None:
        sites.site(name, where="--site")
