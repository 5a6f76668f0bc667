"""Relays that lead into each other: routes that can't all be followed."""

from __future__ import annotations

from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter

from jobtool.routes.sites import Place, RouteRule


def loop_of(rules: Sequence[RouteRule]) -> str | None:
    """Return a sentence that names relays which make a loop; None if there is none.

    A relay has two parts, to its site and on from there, which other relays may take by further
    sites. Relays without conditions make a loop if each is needed for a part of the next. Those
    with conditions make none here, since they may hold at different times; a way is never planned
    through a site twice (``jobtool.routes.plan``).
    """
    relays = [rule for rule in rules if rule.via is not None and rule.conditions.are_none]
    by_ends: dict[tuple[Place, Place], list[RouteRule]] = {}
    for rule in relays:
        by_ends.setdefault((rule.origin, rule.target), []).append(rule)
    sorter: TopologicalSorter[int] = TopologicalSorter()
    for rule in relays:
        assert rule.via is not None
        parts = ((rule.origin, rule.via), (rule.via, rule.target))
        needed = [other.number for part in parts for other in by_ends.get(part, [])]
        sorter.add(rule.number, *needed)
    try:
        sorter.prepare()
    except CycleError as error:
        by_number = {rule.number: rule for rule in relays}
        found = [by_number[number] for number in dict.fromkeys(error.args[1])]
        shown = "; ".join(_shown(rule) for rule in sorted(found, key=lambda rule: rule.number))
        return (
            f"a loop: these relays take each other's ways: {shown}. Remove one, or give them "
            "conditions that don't hold together."
        )
    return None


def _shown(rule: RouteRule) -> str:
    via = "" if rule.via is None else f" via {rule.via.site}"
    return f"{rule.name!r}, {rule.origin.site} to {rule.target.text()}{via}"
