"""What the access records say is true now: who needs what, and what has been staged."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TypeVar

import msgspec

from jobtool.names import quote
from jobtool.staging.accessrecord import (
    AccessRecord,
    Arrived,
    Ended,
    Freed,
    Freeing,
    Requested,
    RequestedItem,
)


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """One request's need of an item. ``id`` is that of the request."""

    id: str
    who: str
    host: str
    at: datetime
    until: datetime
    what: RequestedItem


T = TypeVar("T", Access, Arrived, Freeing)


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """An item at a place: its open accesses, and what has arrived and isn't freed.

    ``freeing`` are deletions that were begun and haven't ended: one that goes on, or one that was
    killed.
    """

    item: str
    url: str
    accesses: tuple[Access, ...] = ()
    arrivals: tuple[Arrived, ...] = ()
    freeing: tuple[Freeing, ...] = ()

    @property
    def is_staged(self) -> bool:
        """Whether files have arrived, and none of them is being deleted."""
        return bool(self.arrivals) and not self.freeing

    @property
    def until(self) -> datetime | None:
        """Until when it is needed; None if nobody needs it."""
        return max((access.until for access in self.accesses), default=None)

    def has(self, members: tuple[str, ...]) -> bool:
        """Return True if all files that these patterns select have arrived."""
        if not self.is_staged:
            return False
        return any(
            not each.members or (members and set(members) <= set(each.members))
            for each in self.arrivals
        )


def holdings_of(records: Iterable[AccessRecord]) -> dict[tuple[str, str], Holding]:
    """Return what the records say, by item and place, sorted. A pure function of their set."""
    records = list(records)
    ended = {
        (one, record.item, record.url)
        for record in records
        if isinstance(record, Ended)
        for one in record.accesses
    }
    freeing = {record.id: record for record in records if isinstance(record, Freeing)}
    closed: set[str] = set()
    gone: set[str] = set()
    for record in records:
        if isinstance(record, Freed) and record.freeing in freeing:
            closed.add(record.freeing)
            begun = freeing[record.freeing]
            if not record.called_off:
                gone.update(begun.arrivals)
                ended.update((one, begun.item, begun.url) for one in begun.accesses)
    accesses: dict[tuple[str, str], dict[str, Access]] = {}
    arrivals: dict[tuple[str, str], dict[str, Arrived]] = {}
    open_ones: dict[tuple[str, str], dict[str, Freeing]] = {}
    for record in records:
        if isinstance(record, Requested):
            for what in record.items:
                if (record.id, what.item, what.url) not in ended:
                    accesses.setdefault((what.item, what.url), {})[record.id] = Access(
                        id=record.id,
                        who=record.who,
                        host=record.host,
                        at=record.at,
                        until=record.until,
                        what=what,
                    )
        elif isinstance(record, Arrived) and record.id not in gone:
            known = arrivals.setdefault((record.item, record.url), {})
            if record.id not in known or record.at < known[record.id].at:
                known[record.id] = record
        elif isinstance(record, Freeing) and record.id not in closed:
            open_ones.setdefault((record.item, record.url), {})[record.id] = record
    keys = sorted({*accesses, *arrivals, *open_ones}, key=lambda key: tuple(map(quote, key)))
    return {
        key: Holding(
            item=key[0],
            url=key[1],
            accesses=_by_time(accesses.get(key, {})),
            arrivals=_by_time(arrivals.get(key, {})),
            freeing=_by_time(open_ones.get(key, {})),
        )
        for key in keys
    }


def _by_time(found: dict[str, T]) -> tuple[T, ...]:
    return tuple(sorted(found.values(), key=lambda each: (each.at, each.id)))
