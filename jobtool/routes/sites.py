"""Sites with their locations, and the routes between them, as values that have been checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import msgspec

from jobtool.errors import RouteError
from jobtool.jobs.limits import Bandwidth
from jobtool.names import quote
from jobtool.routes.amounts import Space
from jobtool.routes.hours import Hours
from jobtool.suggest import did_you_mean

#: The places that a site may have: where data is packed and arrives, where it is kept, and where
#: people work on it.
LocationKind = Literal["buffer", "archive", "processing"]
LOCATION_KINDS: tuple[LocationKind, ...] = get_args(LocationKind)

RouteType = Literal["direct", "relay", "custom"]
ROUTE_TYPES: tuple[RouteType, ...] = get_args(RouteType)


class Place(msgspec.Struct, frozen=True, order=True):
    """One location of one site, by their names."""

    site: str
    location: str

    def text(self) -> str:
        """Return ``SITE.LOCATION``."""
        return f"{self.site}.{self.location}"


class SiteLocation(msgspec.Struct, frozen=True, kw_only=True):
    """What a site's location is and allows.

    ``keep_free`` is the room that data from elsewhere must leave. ``methods`` is an order of
    methods, empty for none of its own. ``settings`` are those of its store, as in the store's table
    of joblist.toml.
    """

    place: Place
    url: str
    keep_free: Space | None = None
    methods: tuple[str, ...] = ()
    bandwidth: Bandwidth | None = None
    settings: Mapping[str, Any] = {}


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """A site: its time zone, if the file gives one, and its locations by kind."""

    name: str
    time_zone: str | None = None
    locations: Mapping[str, SiteLocation] = {}


class CatalogPlace(msgspec.Struct, frozen=True, kw_only=True):
    """Where the catalog is. ``settings`` are those of its store, as for a location."""

    url: str
    settings: Mapping[str, Any] = {}


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """When a route may be used; None and False ask for nothing.

    ``space_left`` must be free, and with ``reachable`` the store must answer, at each location that
    the route brings data to.
    """

    hours: Hours | None = None
    space_left: Space | None = None
    reachable: bool = False

    @property
    def are_none(self) -> bool:
        """Whether nothing is asked for."""
        return self.hours is None and self.space_left is None and not self.reachable


class RouteRule(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of ``[[routes]]``.

    ``number`` is its place in the file, from 1. ``via`` is the buffer of a relay's site, else None.
    """

    number: int
    name: str
    type: RouteType
    origin: Place
    target: Place
    via: Place | None = None
    methods: tuple[str, ...] = ()
    bandwidth: Bandwidth | None = None
    priority: int = 0
    conditions: Conditions = Conditions()

    @property
    def order(self) -> tuple[bool, int, int]:
        """The key that sorts routes: custom ones, then by priority, then as in the file."""
        return (self.type != "custom", -self.priority, self.number)

    @property
    def landings(self) -> tuple[Place, ...]:
        """The locations that the route brings data to, in order."""
        return (self.target,) if self.via is None else (self.via, self.target)


class Sites(msgspec.Struct, frozen=True, kw_only=True):
    """A whole ``sites.toml``. ``path`` is where it was read, for messages."""

    path: str
    sites: Mapping[str, Site]
    routes: tuple[RouteRule, ...] = ()
    time_zone: str | None = None
    catalog: CatalogPlace | None = None

    def site(self, name: str, *, where: str) -> Site:
        """Return a site; ``where`` says what names it. Raises ``RouteError``."""
        found = self.sites.get(name)
        if found is None:
            raise RouteError(
                f"{where}: expected one of the sites {', '.join(self.sites)}; found "
                f"{quote(name)}.{did_you_mean(name, self.sites)}"
            )
        return found

    def location(self, place: Place, *, where: str) -> SiteLocation:
        """Return a location; ``where`` says what names it. Raises ``RouteError``."""
        site = self.site(place.site, where=where)
        found = site.locations.get(place.location)
        if found is None:
            add = (
                f" Or add the table [sites.{site.name}.{place.location}]."
                if place.location in LOCATION_KINDS
                else did_you_mean(place.location, site.locations)
            )
            raise RouteError(
                f"{where}: expected a location of {site.name}, which has "
                f"{', '.join(site.locations)}; found {quote(place.location)}.{add}"
            )
        return found

    def zone_of(self, site: str) -> str | None:
        """Return the name of the time zone of a site: its own, else the file's, else None."""
        return self.sites[site].time_zone or self.time_zone
