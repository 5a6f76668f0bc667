"""Which way data goes from one place to another: a pure function of the file, the time, the room.

The routes that go from the one place to the other are considered in this order: ``custom`` before
the others, then the highest ``priority`` first, then as in the file. The first whose conditions
hold is taken. A relay's way has two parts, to its site's buffer and on from there. For each part
the routes between its two locations are considered in the same way, but for those that come back to
a site that is on the way already. If none can be taken, the part goes straight, by the relay's own
methods. So a way that is found never passes a site twice, and a route that can't be used changes
no way.

Nothing is kept: what has been moved lies where it lies, whatever becomes of the routes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec

from jobtool.errors import RouteError
from jobtool.names import quote
from jobtool.routes.conditions import Judge, Probe
from jobtool.routes.found import ConsideredRoute, Route, RouteLeg, Verdict
from jobtool.routes.missing import no_way
from jobtool.routes.sites import Place, RouteRule, Sites
from jobtool.routes.sitesfile import place_of
from jobtool.routes.timetables import least

#: Times outside these can't be turned into every time zone.
_FIRST, _LAST = datetime(1970, 1, 2, tzinfo=UTC), datetime(9999, 12, 1, tzinfo=UTC)


class End(msgspec.Struct, frozen=True):
    """One end of a way: a site, and its location if that is asked for."""

    site: str
    location: str | None = None

    def takes(self, place: Place) -> bool:
        """Return True if a route may begin or end there."""
        return place.site == self.site and self.location in (None, place.location)

    def text(self) -> str:
        """Return ``SITE`` or ``SITE.LOCATION``."""
        return self.site if self.location is None else f"{self.site}.{self.location}"


class _Part(msgspec.Struct, frozen=True):
    """A part of the way, and the relay that it is of; None for the whole way."""

    origin: End
    target: End
    relay: RouteRule | None = None


def plan_route(
    sites: Sites,
    origin: str,
    target: str,
    *,
    at: datetime,
    size_bytes: int | None = None,
    probe: Probe | None = None,
) -> Route:
    """Return the way from one place to another, with the routes that were considered.

    Args:
        sites: Sites and routes.
        origin: A site, or one of its locations as ``SITE.LOCATION``.
        target: The same, for where the data shall be.
        at: When the transfer begins; it must have a time zone.
        size_bytes: How much is moved. It must fit into the locations on the way.
        probe: Looks at locations. Without it, conditions about room and reachable stores are taken
            to hold.

    Returns:
        The way. Its ``legs`` are empty if the conditions of no route hold at that time.

    Raises:
        RouteError: There is no such place, or no route between the two; the time can't be used.
    """
    if at.tzinfo is None or not _FIRST <= at <= _LAST:
        raise RouteError(
            f"expected a time with a time zone, from {_FIRST.date()} to {_LAST.date()}; found "
            f"{at.isoformat()}"
        )
    ends = _end(origin, sites, "from"), _end(target, sites, "to")
    if ends[0].site == ends[1].site and (
        None in (ends[0].location, ends[1].location) or ends[0] == ends[1]
    ):
        raise RouteError(
            f"expected two places; found {origin} and {target}. Within a site name two of its "
            f"locations, such as {origin.partition('.')[0]}.buffer."
        )
    planner = _Planner(sites, Judge(sites, at, size_bytes, probe))
    legs = planner.plan(*ends)
    opens = [each.usable_from for each in planner.considered if each.usable_from is not None]
    return Route(
        origin=origin,
        target=target,
        at=at,
        size_bytes=size_bytes,
        legs=legs,
        considered=tuple(planner.considered),
        usable_from=min(opens, default=None) if not legs else None,
    )


def _end(text: str, sites: Sites, where: str) -> End:
    if "." in text:
        place = place_of(text, sites, where=where)
        return End(place.site, place.location)
    return End(sites.site(text, where=where).name)


class _Planner:
    """Plans one way; ``considered`` grows in the order of the way."""

    def __init__(self, sites: Sites, judge: Judge) -> None:
        self._sites = sites
        self._judge = judge
        self._rules = sorted(sites.routes, key=lambda rule: rule.order)
        self._passed: set[str] = set()
        self.considered: list[ConsideredRoute] = []

    def plan(self, origin: End, target: End) -> tuple[RouteLeg, ...]:
        """Return the legs, none if no route may be used; raises ``RouteError`` if there is none."""
        if not any(self._between(origin, target)):
            raise RouteError(no_way(self._sites, origin.text(), target.text()))
        self._passed = {origin.site, target.site}
        legs: list[RouteLeg] = []
        parts = deque([_Part(origin, target)])
        while parts:
            part = parts.popleft()
            rule = self._choose(part)
            if rule is None:
                if part.relay is None:
                    return ()
                legs.append(
                    leg_of(self._sites, part.relay, _place(part.origin), _place(part.target))
                )
            elif rule.via is None:
                legs.append(leg_of(self._sites, rule, rule.origin, rule.target))
            else:
                self._passed.add(rule.via.site)
                via = _end_at(rule.via)
                parts.extendleft(
                    (
                        _Part(via, _end_at(rule.target), rule),
                        _Part(_end_at(rule.origin), via, rule),
                    )
                )
        return tuple(legs)

    def _between(self, origin: End, target: End) -> Iterator[RouteRule]:
        for rule in self._rules:
            if origin.takes(rule.origin) and target.takes(rule.target):
                yield rule

    def _choose(self, part: _Part) -> RouteRule | None:
        """Return the first route that may be used for a part; record why the others aren't."""
        taken: RouteRule | None = None
        for rule in self._between(part.origin, part.target):
            if taken is not None:
                self._record(part, rule, Verdict.LOWER, _why_later(rule, taken))
                continue
            if rule.via is not None and rule.via.site in self._passed:
                why = f"it would come back to {rule.via.site}, which is on the way already"
                self._record(part, rule, Verdict.LOOP, why)
                continue
            judged = self._judge.judge(rule)
            if judged.unmet:
                self.considered.append(
                    self._of(part, rule, Verdict.UNMET, "; ".join(judged.unmet), judged.usable_from)
                )
                continue
            taken = rule
            self._record(part, rule, Verdict.TAKEN, _why_taken(rule), judged.assumed)
        return taken

    def _record(
        self,
        part: _Part,
        rule: RouteRule,
        verdict: Verdict,
        why: str,
        assumed: tuple[str, ...] = (),
    ) -> None:
        self.considered.append(self._of(part, rule, verdict, why, assumed=assumed))

    def _of(
        self,
        part: _Part,
        rule: RouteRule,
        verdict: Verdict,
        why: str,
        usable_from: datetime | None = None,
        assumed: tuple[str, ...] = (),
    ) -> ConsideredRoute:
        return ConsideredRoute(
            route=rule.name,
            type=rule.type,
            priority=rule.priority,
            origin=part.origin.text(),
            target=part.target.text(),
            verdict=verdict,
            why=why,
            usable_from=usable_from,
            assumed=assumed,
        )


def leg_of(sites: Sites, rule: RouteRule | None, origin: Place, target: Place) -> RouteLeg:
    """Return the leg between two locations, with what a route asks for; None for no route.

    Raises ``RouteError`` if there is no such location.
    """
    first = sites.location(origin, where="the way of a package")
    last = sites.location(target, where="the way of a package")
    own = (None, ()) if rule is None else (rule.bandwidth, rule.methods)
    limits = {origin.text(): first.bandwidth, target.text(): last.bandwidth}
    if rule is not None:
        limits[f"route {rule.name}"] = rule.bandwidth
    return RouteLeg(
        origin=first,
        target=last,
        route="" if rule is None else rule.name,
        methods=own[1] or last.methods or first.methods,
        bandwidth=least((own[0], first.bandwidth, last.bandwidth)),
        limits={name: limit for name, limit in limits.items() if limit is not None},
    )


def _place(end: End) -> Place:
    assert end.location is not None, "the parts of a relay have locations"
    return Place(end.site, end.location)


def _end_at(place: Place) -> End:
    return End(place.site, place.location)


def _why_taken(rule: RouteRule) -> str:
    return "the first whose conditions hold" if not rule.conditions.are_none else "no conditions"


def _why_later(rule: RouteRule, taken: RouteRule) -> str:
    if rule.type != taken.type and taken.type == "custom":
        return f"custom routes stand first: {quote(taken.name)}"
    if rule.priority != taken.priority:
        return f"lower priority than {quote(taken.name)} ({rule.priority} < {taken.priority})"
    return f"same priority as {quote(taken.name)}, which stands before it in the file"
