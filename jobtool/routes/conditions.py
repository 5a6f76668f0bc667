"""Whether the conditions of a route hold, and if not, why and from when."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import msgspec

from jobtool.routes.amounts import Space
from jobtool.routes.sites import Place, RouteRule, SiteLocation, Sites
from jobtool.units import size_text


class Probed(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a location; None for what isn't.

    ``why`` says why it isn't reachable, or why that isn't known. ``free_bytes`` and
    ``total_bytes`` are of its filesystem.
    """

    is_reachable: bool | None = None
    why: str = ""
    free_bytes: int | None = None
    total_bytes: int | None = None


#: Looks at a location. It is called at most once for each while a way is planned.
Probe = Callable[[SiteLocation], Probed]

_UNKNOWN = Probed()


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """What a route's conditions come to at a time; it may be used if ``unmet`` is empty."""

    unmet: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    usable_from: datetime | None = None


class Judge:
    """Judges the conditions of routes at one time, for data of one size."""

    def __init__(
        self, sites: Sites, at: datetime, size_bytes: int | None, probe: Probe | None
    ) -> None:
        self._sites = sites
        self._at = at
        self._size_bytes = size_bytes or 0
        self._probe = probe
        self._seen: dict[Place, Probed] = {}

    def judge(self, rule: RouteRule) -> Judged:
        """Return what the conditions of a route come to. Nothing is probed at a wrong time."""
        hours = rule.conditions.hours
        if hours is not None and not hours.hold(self._at):
            local = hours.local(self._at)
            opens = hours.next(self._at)
            when = "" if opens is None else f"; usable from {opens:%Y-%m-%d %H:%M %z}"
            return Judged(
                unmet=(f"hours {hours.text()}: it is {local:%H:%M} there{when}",),
                usable_from=opens,
            )
        unmet: list[str] = []
        assumed: list[str] = []
        for place in rule.landings:
            self._judge_place(rule, place, unmet, assumed)
        return Judged(unmet=tuple(unmet), assumed=tuple(assumed))

    def _judge_place(
        self, rule: RouteRule, place: Place, unmet: list[str], assumed: list[str]
    ) -> None:
        location = self._sites.sites[place.site].locations[place.location]
        asked = rule.conditions
        found = self._look(location)
        if asked.reachable:
            if found.is_reachable is False:
                unmet.append(f"reachable: {place.text()} isn't: {found.why}")
            elif found.is_reachable is None:
                reason = f" ({found.why})" if found.why else ""
                assumed.append(f"{place.text()} is reachable{reason}")
        for name, space, taken in (
            ("space_left", asked.space_left, 0),
            ("keep_free", self._kept_free(location), self._size_bytes),
        ):
            if space is None:
                continue
            wanted = space.of(found.total_bytes)
            if wanted is None or found.free_bytes is None:
                assumed.append(f"{place.text()} has {name} = {space.text()}")
            elif found.free_bytes - taken < wanted:
                less = f", {size_text(taken)} are to come" if taken else ""
                missing = wanted + taken - found.free_bytes
                unmet.append(
                    f"{name} {space.text()}: {place.text()} has {size_text(found.free_bytes)} "
                    f"free{less}; usable once {size_text(missing)} more are free"
                )

    def _kept_free(self, location: SiteLocation) -> Space | None:
        """Return the room that data must leave. Where nothing is said, the data itself must fit."""
        if self._probe is None:
            return None
        knows_room = self._look(location).free_bytes is not None
        return location.keep_free or (Space(size_bytes=0) if knows_room else None)

    def _look(self, location: SiteLocation) -> Probed:
        if self._probe is None:
            return _UNKNOWN
        if location.place not in self._seen:
            self._seen[location.place] = self._probe(location)
        return self._seen[location.place]
