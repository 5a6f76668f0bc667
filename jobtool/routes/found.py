"""What planning a way gives: its legs, and why each route was taken or passed over."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

import msgspec

from jobtool.jobs.limits import Bandwidth
from jobtool.routes.documents import ConsideredDocument, LegDocument, WayDocument
from jobtool.routes.sites import Place, RouteType, SiteLocation


class Verdict(StrEnum):
    """What became of a route."""

    TAKEN = "taken"
    UNMET = "condition-unmet"
    LOWER = "comes-later"
    LOOP = "loop"


class RouteLeg(msgspec.Struct, frozen=True, kw_only=True):
    """One transfer, from a location to another.

    ``methods`` is an order of methods, empty for the joblist's. ``bandwidth`` keeps the limits of
    the route and of both locations, None for no limit; ``limits`` has each of them by its name.
    ``route`` is the name of the route it is of.
    """

    origin: SiteLocation
    target: SiteLocation
    route: str
    methods: tuple[str, ...] = ()
    bandwidth: Bandwidth | None = None
    limits: Mapping[str, Bandwidth] = {}

    def json(self) -> LegDocument:
        """Return the fields for JSON."""
        return {
            "from": self.origin.place.text(),
            "to": self.target.place.text(),
            "source": self.origin.url,
            "destination": self.target.url,
            "route": self.route,
            "methods": list(self.methods),
            "bandwidth": None if self.bandwidth is None else self.bandwidth.text(),
        }


class ConsideredRoute(msgspec.Struct, frozen=True, kw_only=True):
    """A route that goes between two places of the way, and why it was taken or passed over.

    ``origin`` and ``target`` are what was looked for: sites or ``SITE.LOCATION``. ``usable_from``
    is when it could be used, if only the time of the day is against it, by the route's time zone.
    ``assumed`` are conditions that hold as far as is known, since nothing was looked at.
    """

    route: str
    type: RouteType
    priority: int
    origin: str
    target: str
    verdict: Verdict
    why: str
    usable_from: datetime | None = None
    assumed: tuple[str, ...] = ()

    def json(self) -> ConsideredDocument:
        """Return the fields for JSON."""
        return {
            "route": self.route,
            "type": self.type,
            "priority": self.priority,
            "from": self.origin,
            "to": self.target,
            "verdict": str(self.verdict),
            "why": self.why,
            "usable_from": None if self.usable_from is None else self.usable_from.isoformat(),
            "assumed": list(self.assumed),
        }


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """The way between two places at a time, with the routes that were considered, in their order.

    ``origin`` and ``target`` are what was asked for. ``legs`` is empty if no route may be used at
    that time. Then ``usable_from`` is when the first may be, by the time of the day; None if only
    something else stands against them, such as room.
    """

    origin: str
    target: str
    at: datetime
    size_bytes: int | None = None
    legs: tuple[RouteLeg, ...] = ()
    considered: tuple[ConsideredRoute, ...] = ()
    usable_from: datetime | None = None

    @property
    def is_usable(self) -> bool:
        """Whether there is a way at that time."""
        return bool(self.legs)

    @property
    def places(self) -> tuple[Place, ...]:
        """The locations on the way, from the first to the last."""
        starts = tuple(leg.origin.place for leg in self.legs[:1])
        return starts + tuple(leg.target.place for leg in self.legs)

    def json(self) -> WayDocument:
        """Return the fields for JSON."""
        return {
            "from": self.origin,
            "to": self.target,
            "at": self.at.isoformat(),
            "size_bytes": self.size_bytes,
            "is_usable": self.is_usable,
            "usable_from": None if self.usable_from is None else self.usable_from.isoformat(),
            "legs": [leg.json() for leg in self.legs],
            "considered": [each.json() for each in self.considered],
        }
