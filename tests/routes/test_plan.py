"""Which way is taken, and why: against a second reading of the documented order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from jobtool.errors import RouteError
from jobtool.routes.conditions import Probed
from jobtool.routes.found import Route, Verdict
from jobtool.routes.hours import Hours
from jobtool.routes.loops import loop_of
from jobtool.routes.plan import plan_route
from jobtool.routes.sites import Conditions, Place, RouteRule, Site, SiteLocation, Sites
from tests.routes.files import NOON, read

DIRECT = 'type = "direct"\nfrom = "a"\nto = "c"'
RELAY = 'type = "relay"\nfrom = "a"\nto = "c"\nvia = "b"'


def plan(*routes: str, origin: str = "a", target: str = "c", **rest: object) -> Route:
    return plan_route(read(*routes), origin, target, **{"at": NOON, **rest})  # type: ignore[arg-type]


def way(route: Route) -> list[str]:
    return [place.text() for place in route.places]


def verdicts(route: Route) -> list[tuple[str, str]]:
    return [(each.route, str(each.verdict)) for each in route.considered]


def test_direct_skips_the_buffer_and_a_relay_passes_its_site() -> None:
    assert way(plan(DIRECT)) == ["a.buffer", "c.processing"]
    assert way(plan(RELAY)) == ["a.buffer", "b.buffer", "c.buffer"]


def test_custom_routes_stand_first_then_priority_then_the_file() -> None:
    custom = 'type = "custom"\nfrom = "a.archive"\nto = "c.archive"\npriority = -5'
    high = RELAY + "\npriority = 2"
    found = plan(DIRECT, RELAY, high, custom)
    assert way(found) == ["a.archive", "c.archive"]
    assert verdicts(found) == [
        ("route-4", "taken"),
        ("route-3", "comes-later"),
        ("route-1", "comes-later"),
        ("route-2", "comes-later"),
    ]
    later = plan(DIRECT, RELAY, high)
    assert "lower priority than route-3 (0 < 2)" in later.considered[1].why
    same = plan(DIRECT, RELAY)
    assert "same priority as route-1, which stands before it in the file" in same.considered[1].why


def test_several_relays_make_a_chain_that_passes_no_site_twice() -> None:
    onward = 'type = "relay"\nfrom = "b"\nto = "c"\nvia = "d"'
    back = 'type = "relay"\nfrom = "a"\nto = "b"\nvia = "c"\nconditions = {reachable = true}'
    found = plan(RELAY, onward, back)
    assert way(found) == ["a.buffer", "b.buffer", "d.buffer", "c.buffer"]
    assert [leg.route for leg in found.legs] == ["route-1", "route-2", "route-2"]
    assert ("route-3", "loop") in verdicts(found)


def test_a_part_of_a_relay_takes_a_route_of_its_own_if_that_may_be_used() -> None:
    own = 'type = "custom"\nfrom = "b.buffer"\nto = "c.buffer"\nmethods = ["rsync"]'
    relay = RELAY + '\nmethods = ["bbcp"]'
    assert [leg.methods for leg in plan(relay, own).legs] == [("bbcp",), ("rsync",)]
    by_night = own + '\nconditions = {hours = "22:00-06:00"}'
    assert [leg.methods for leg in plan(relay, by_night).legs] == [("bbcp",), ("bbcp",)]


def test_methods_are_the_routes_else_the_locations() -> None:
    sites = '[sites.a.buffer]\nurl="/a"\nmethods=["scp"]\n[sites.b.buffer]\nurl="/b"\n'
    route = 'type = "custom"\nfrom = "a.buffer"\nto = "b.buffer"'
    (leg,) = plan_route(read(route, sites=sites), "a", "b", at=NOON).legs
    assert leg.methods == ("scp",)
    both = sites + 'methods = ["rsync"]\n'
    (leg,) = plan_route(read(route, sites=both), "a", "b", at=NOON).legs
    assert leg.methods == ("rsync",)
    (leg,) = plan_route(read(route + '\nmethods=["bbcp"]', sites=both), "a", "b", at=NOON).legs
    assert leg.methods == ("bbcp",)


def test_bandwidth_keeps_all_limits() -> None:
    sites = (
        '[sites.a.buffer]\nurl="/a"\nbandwidth="22:00-06:00 1GB/s, else 100MB/s"\n'
        '[sites.b.buffer]\nurl="/b"\nbandwidth="300MB/s"\n'
    )
    route = 'type="custom"\nfrom="a.buffer"\nto="b.buffer"\nbandwidth="12:00-13:00 1MB/s"'
    (leg,) = plan_route(read(route, sites=sites), "a", "b", at=NOON).legs
    assert leg.bandwidth is not None
    rates = [leg.bandwidth.at(datetime(2026, 1, 1, hour).time()) for hour in (5, 6, 12, 13, 22)]
    assert rates == [300e6, 100e6, 1e6, 100e6, 300e6]


def test_a_route_outside_its_hours_says_from_when_it_may_be_used() -> None:
    found = plan(DIRECT + '\nconditions = {hours = "22:00-06:00", time_zone = "Asia/Kathmandu"}')
    assert not found.is_usable
    assert found.usable_from == datetime(2026, 11, 27, 16, 15, tzinfo=UTC)
    why = found.considered[0].why
    assert "it is 17:45 there; usable from 2026-11-27 22:00 +0545" in why
    assert plan(
        DIRECT + '\nconditions = {hours = "22:00-06:00"}', at=found.usable_from + timedelta(hours=6)
    ).is_usable


def probe_of(**places: Probed):
    asked: list[str] = []

    def probe(location: SiteLocation) -> Probed:
        asked.append(location.place.text())
        return places.get(location.place.text().replace(".", "_"), Probed())

    return probe, asked


def test_room_is_needed_wherever_a_route_brings_data() -> None:
    probe, asked = probe_of(
        b_buffer=Probed(is_reachable=True, free_bytes=10 * 10**12, total_bytes=100 * 10**12)
    )
    asks = RELAY + '\nconditions = {space_left = "10TB"}'
    assert plan(asks, probe=probe).is_usable
    assert asked == ["b.buffer", "c.buffer"]
    tight = plan(asks.replace("10TB", "10.1TB"), probe=probe)
    assert tight.considered[0].verdict is Verdict.UNMET
    assert "b.buffer has 9.1 TiB free" in tight.considered[0].why
    assert tight.usable_from is None
    assert plan(asks.replace("10TB", "10%"), probe=probe).is_usable
    assert not plan(asks.replace("10TB", "11%"), probe=probe).is_usable
    assert plan(asks, probe=probe, size_bytes=10 * 10**12).is_usable
    assert not plan(asks, probe=probe, size_bytes=10 * 10**12 + 1).is_usable


def test_a_location_keeps_room_free() -> None:
    probe, _ = probe_of(b_buffer=Probed(is_reachable=True, free_bytes=100, total_bytes=1000))
    sites = '[sites.a.buffer]\nurl="/a"\n[sites.b.buffer]\nurl="/b"\nkeep_free = "5%"\n'
    found = read('type="custom"\nfrom="a.buffer"\nto="b.buffer"', sites=sites)
    for size, fits in ((0, True), (50, True), (51, False)):
        route = plan_route(found, "a", "b", at=NOON, size_bytes=size, probe=probe)
        assert route.is_usable is fits
    assert plan_route(found, "a", "b", at=NOON, size_bytes=51).is_usable


def test_what_is_not_known_is_taken_to_hold_and_said() -> None:
    asks = RELAY + '\nconditions = {space_left = "10TB", reachable = true}'
    for probe in (None, probe_of()[0]):
        found = plan(asks, probe=probe)
        assert found.is_usable
        assert found.considered[0].assumed == (
            "b.buffer is reachable",
            "b.buffer has space_left = 10TB",
            "c.buffer is reachable",
            "c.buffer has space_left = 10TB",
        )


def test_a_store_that_does_not_answer_matters_where_it_is_asked_for() -> None:
    probe, _ = probe_of(c_processing=Probed(is_reachable=False, why="no route to host"))
    found = plan(DIRECT + "\nconditions = {reachable = true}", RELAY, probe=probe)
    assert way(found) == ["a.buffer", "b.buffer", "c.buffer"]
    assert "c.processing isn't: no route to host" in found.considered[0].why
    assert way(plan(DIRECT, RELAY, probe=probe)) == ["a.buffer", "c.processing"]


@pytest.mark.parametrize(
    ("origin", "target", "expected"),
    [
        ("a", "x", ("to", "a, b, c, d", "found x")),
        ("a.attic", "c", ("from", "a, which has buffer, archive", "attic")),
        ("a", "a", ("expected two places", "a.buffer")),
        ("a.buffer", "a", ("expected two places",)),
        ("a", "c.archive", ("no route goes from a to c.archive", "route-1 (a.buffer to c.proc")),
        ("a", "d", ("no route goes from a to d", 'from = "a.buffer", to = "d.buffer"')),
        ("a", "b", ("There are routes to c", 'type = "relay"', 'via = "c"')),
        ("", "c", ("from", "found")),
        ("a\nb", "c", ('found "a\\nb"',)),
        ("a.buffer.x", "c", ("buffer.x",)),
    ],
)
def test_where_there_is_no_way_it_is_said_what_is_needed(
    origin: str, target: str, expected: tuple[str, ...]
) -> None:
    onward = 'type = "custom"\nfrom = "c.buffer"\nto = "b.buffer"'
    with pytest.raises(RouteError) as caught:
        plan(DIRECT, onward, origin=origin, target=target)
    for text in expected:
        assert text in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("at", [datetime(2026, 1, 1), datetime.min.replace(tzinfo=UTC)])
def test_a_time_without_a_zone_and_one_out_of_range_are_refused(at: datetime) -> None:
    with pytest.raises(RouteError, match="expected a time with a time zone, from 1970"):
        plan(DIRECT, at=at)


def test_a_chain_of_many_relays() -> None:
    count = 400
    names = [f"s{number}" for number in range(count)]
    sites = "".join(f'[sites.{name}.buffer]\nurl = "/{name}"\n' for name in names)
    routes = [
        f'type = "relay"\nfrom = "{first}"\nto = "{names[-1]}"\nvia = "{via}"'
        for first, via in pairwise(names[:-1])
    ]
    found = plan_route(read(*routes, sites=sites), names[0], names[-1], at=NOON)
    assert [place.site for place in found.places] == names


# Random files, judged by a second reading of the documented order.

NAMES = ("a", "b", "c", "d", "e")
KINDS = ("buffer", "archive", "processing")
ALL = {
    name: Site(
        name=name,
        locations={
            kind: SiteLocation(place=Place(name, kind), url=f"/{name}/{kind}") for kind in KINDS
        },
    )
    for name in NAMES
}
_NEVER = Conditions(hours=Hours.parse("13:00-14:00", "UTC"))
_NOW = Conditions(hours=Hours.parse("11:00-13:00", "UTC"))


@st.composite
def rules(draw: st.DrawFn, number: int, conditions: st.SearchStrategy[Conditions]) -> RouteRule:
    kind = draw(st.sampled_from(("direct", "relay", "custom")))
    first, last, middle = draw(st.permutations(NAMES))[:3]
    origin, target = "buffer", draw(st.sampled_from(KINDS))
    if kind == "custom":
        origin = draw(st.sampled_from(KINDS))
    return RouteRule(
        number=number,
        name=f"route-{number}",
        type=kind,
        origin=Place(first, origin),
        target=Place(last, target),
        via=Place(middle, "buffer") if kind == "relay" else None,
        priority=draw(st.integers(-1, 1)),
        conditions=draw(conditions),
    )


@st.composite
def files(draw: st.DrawFn) -> Sites:
    conditions = st.sampled_from((Conditions(), _NOW, _NEVER))
    count = draw(st.integers(1, 25))
    found = tuple(draw(rules(number, conditions)) for number in range(1, count + 1))
    return Sites(path="sites.toml", sites=ALL, routes=found)


def expected_way(sites: Sites, first: str, last: str) -> list[Place]:
    """The way by the documented order, read by recursion."""
    order = sorted(
        sites.routes, key=lambda rule: (rule.type != "custom", -rule.priority, rule.number)
    )
    usable = [rule for rule in order if rule.conditions is not _NEVER]

    def between(origin: Place, target: Place, passed: set[str]) -> list[Place]:
        for rule in usable:
            if (rule.origin, rule.target) == (origin, target) and (
                rule.via is None or rule.via.site not in passed
            ):
                return follow(rule, passed)
        passed |= {origin.site, target.site}
        return [origin, target]

    def follow(rule: RouteRule, passed: set[str]) -> list[Place]:
        if rule.via is None:
            return [rule.origin, rule.target]
        passed.add(rule.via.site)
        before = between(rule.origin, rule.via, passed)
        return before + between(rule.via, rule.target, passed)[1:]

    for rule in usable:
        if (rule.origin.site, rule.target.site) == (first, last):
            return follow(rule, {first, last})
    return []


def has_route(sites: Sites, first: str, last: str) -> bool:
    return any((rule.origin.site, rule.target.site) == (first, last) for rule in sites.routes)


ENDS = st.permutations(NAMES).map(lambda names: tuple(names[:2]))


@given(files(), ENDS)
def test_the_first_by_the_documented_order_is_taken(sites: Sites, ends: tuple[str, str]) -> None:
    assume(has_route(sites, *ends))
    found = plan_route(sites, *ends, at=NOON)
    assert list(found.places) == expected_way(sites, *ends)
    passed = [place.site for place in found.places]
    assert len(set(passed)) == len(passed)
    if passed:
        assert (passed[0], passed[-1]) == ends
    assert all(before.target == after.origin for before, after in pairwise(found.legs))
    assert plan_route(sites, *ends, at=NOON) == found
    assert {each.why for each in found.considered if not each.why} == set()


@given(files(), ENDS, st.data())
def test_a_route_that_cannot_be_used_changes_nothing(
    sites: Sites, ends: tuple[str, str], data: st.DataObject
) -> None:
    assume(has_route(sites, *ends))
    place = data.draw(st.integers(0, len(sites.routes)))
    unusable = data.draw(rules(0, st.just(_NEVER)))
    more = [*sites.routes[:place], replace(unusable, name="new"), *sites.routes[place:]]
    numbered = tuple(replace(rule, number=number) for number, rule in enumerate(more, 1))
    before = plan_route(sites, *ends, at=NOON)
    after = plan_route(replace(sites, routes=numbered), *ends, at=NOON)
    assert after.legs == before.legs


@given(files())
def test_relays_make_a_loop_exactly_if_one_needs_itself(sites: Sites) -> None:
    relays = [rule for rule in sites.routes if rule.via and rule.conditions.are_none]

    def needs(rule: RouteRule) -> set[int]:
        parts = ((rule.origin, rule.via), (rule.via, rule.target))
        return {other.number for other in relays if (other.origin, other.target) in parts}

    reached = {rule.number: needs(rule) for rule in relays}
    for _ in relays:
        reached = {
            number: found.union(*(reached[other] for other in found))
            for number, found in reached.items()
        }
    is_loop = any(number in found for number, found in reached.items())
    assert (loop_of(sites.routes) is not None) is is_loop
