"""``explain_route``: which way data goes between two sites, and why."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from jobtool.errors import RouteError

if TYPE_CHECKING:
    from jobtool.routes.found import Route
    from jobtool.routes.sites import Sites


def explain_route(
    sites: str | os.PathLike[str],
    origin: str,
    target: str,
    *,
    at: datetime | None = None,
    size_bytes: int | None = None,
    probe: bool = False,
) -> Route:
    """Return the way from one site to another by a file of sites and routes. Moves nothing.

    Args:
        sites: The file, ``sites.toml``.
        origin: A site, or one of its locations as ``SITE.LOCATION``.
        target: The same, for where the data shall be.
        at: When the transfer begins; now by default. Without an offset, it is by the time zone that
            the file gives for the first site.
        size_bytes: How much is moved. With ``probe`` it must fit into the locations on the way.
        probe: Ask stores whether they answer, and this machine's filesystems how much room they
            have. Without it, such conditions are taken to hold.

    Returns:
        The way, with each route that was considered and why it was taken or passed over. It has no
        legs if the conditions of no route hold at that time.

    Raises:
        RouteError: The file is malformed, there is no such site, or no route between the two,
            or the time can't be used.

    Examples:
        >>> [leg.target.url for leg in jobtool.explain_route("sites.toml", "chile", "cologne").legs]
        ['s3://relay/buffer', '/data/buffer']
    """
    from jobtool.routes.plan import plan_route
    from jobtool.routes.probe import StoreProbe
    from jobtool.routes.sitesfile import load_sites

    found = load_sites(os.fspath(sites))
    return plan_route(
        found,
        origin,
        target,
        at=datetime.now(UTC) if at is None else _with_zone(at, found, origin),
        size_bytes=size_bytes,
        probe=StoreProbe(found) if probe else None,
    )


def _with_zone(at: datetime, sites: Sites, origin: str) -> datetime:
    from jobtool.routes.hours import time_zone

    if at.tzinfo is not None:
        return at
    site = sites.site(origin.partition(".")[0], where="from").name
    name = sites.zone_of(site)
    if name is None:
        raise RouteError(
            f"expected a time with an offset, as in {at.isoformat()}+01:00, since the file gives "
            f"no time_zone for {site}; found {at.isoformat()}"
        )
    return at.replace(tzinfo=time_zone(name))
