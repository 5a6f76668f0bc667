"""The way on from a relay's site, for data that a relay has brought there.

A relay's second part needs no route of its own. Once the data lies at the relay's site the way is
planned anew from there; where no route goes on from there, this part of the relay does.
"""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from jobtool.routes.conditions import Judge, Probe
from jobtool.routes.found import ConsideredRoute, Route, RouteLeg, Verdict
from jobtool.routes.sites import Sites
from jobtool.routes.timetables import least


def plan_onward(
    sites: Sites,
    here: str,
    following: str,
    *,
    at: datetime,
    size_bytes: int | None = None,
    probe: Probe | None = None,
) -> Route | None:
    """Return the second part of a relay, from its site's buffer to where it leads.

    ``here`` and ``following`` are the places, as ``SITE.LOCATION``; the other arguments are those
    of ``plan_route``. The relay's conditions count, but for the location that the data has passed.
    Returns None if no relay goes that way; a route without legs if the conditions of none hold.
    """
    judge = Judge(sites, at, size_bytes, probe)
    considered: list[ConsideredRoute] = []
    legs: tuple[RouteLeg, ...] = ()
    for relay in sorted(sites.routes, key=lambda rule: rule.order):
        if relay.via is None or (relay.via.text(), relay.target.text()) != (here, following):
            continue
        judged = judge.judge(replace(relay, origin=relay.via, via=None))
        considered.append(
            ConsideredRoute(
                route=relay.name,
                type=relay.type,
                priority=relay.priority,
                origin=here,
                target=following,
                verdict=Verdict.UNMET if judged.unmet else Verdict.TAKEN,
                why="; ".join(judged.unmet) or "the second part of the relay",
                usable_from=judged.usable_from,
                assumed=judged.assumed,
            )
        )
        if not judged.unmet:
            first = sites.sites[relay.via.site].locations[relay.via.location]
            last = sites.sites[relay.target.site].locations[relay.target.location]
            leg = RouteLeg(
                origin=first,
                target=last,
                route=relay.name,
                methods=relay.methods or last.methods or first.methods,
                bandwidth=least((relay.bandwidth, first.bandwidth, last.bandwidth)),
            )
            legs = (leg,)
            break
    if not considered:
        return None
    opens = [each.usable_from for each in considered if each.usable_from is not None]
    return Route(
        origin=here,
        target=following,
        at=at,
        size_bytes=size_bytes,
        legs=legs,
        considered=tuple(considered),
        usable_from=min(opens, default=None) if not legs else None,
    )
