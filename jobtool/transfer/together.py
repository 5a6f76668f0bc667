"""Sending many small files at a time, between stores that take less time for them so."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from msgspec.structs import replace

from jobtool.md5 import md5s_of
from jobtool.stop import Stop
from jobtool.stores.optional import KnowsMd5s, ReadsTogether, WritesTogether, supports
from jobtool.transfer.capacity import Capacity
from jobtool.transfer.decision import Action, decide, may_replace
from jobtool.transfer.digests import require_held
from jobtool.transfer.ledger import Ledger
from jobtool.transfer.plan import Item, Route
from jobtool.transfer.policies import Policies
from jobtool.transfer.serverside import service_of
from jobtool.transfer.throttle import Throttle
from jobtool.transfer.whole import Sent

#: How many bytes of files are in memory at a time, at most. Larger files are sent one by one.
MOST_BYTES = 1024 * 1024

#: After so many files in a row that stores have left, the others are probably no different.
MOST_LEFT_IN_A_ROW = 64

_FIRST_COUNT = 4
_MOST_COUNT = 64

#: A thread takes more files if it needs less than the first for those it has, fewer if it needs
#: more than the second. So it stops soon where storage is slow.
_SHORT_SECONDS, _LONG_SECONDS = 0.025, 0.1


class Pace:
    """How many files a thread takes at a time, by how long the last ones took."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.count = _FIRST_COUNT
        self._monotonic = monotonic

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Measure how long ``count`` files take, during a ``with`` block."""
        before = self._monotonic()
        yield
        seconds = self._monotonic() - before
        if seconds < _SHORT_SECONDS:
            self.count = min(2 * self.count, _MOST_COUNT)
        elif seconds > _LONG_SECONDS:
            self.count = max(self.count // 2, 1)


class Together:
    """Chooses the files that may go together. Threads may call it."""

    def __init__(self, ledger: Ledger, throttle: Throttle, policies: Policies) -> None:
        self._ledger = ledger
        self._plan = ledger.plan
        self._throttle = throttle
        self._policies = policies
        self._routes: dict[int, bool] = {}  # whether files of a route may, by its identity
        self._left: dict[int, int] = {}  # how many of them stores have left in a row

    @property
    def is_on(self) -> bool:
        """Whether any files may go together: not with a limit on speed, nor compressed."""
        return self._policies.compression == "none" and not self._throttle.is_on

    def choose(self, numbers: Iterable[int]) -> tuple[dict[int, Item], list[int]]:
        """Return the files of one route that may go together, by number, and the other numbers."""
        items: dict[int, Item] = {}
        others: list[int] = []
        route, room = None, MOST_BYTES
        for number in numbers:
            here, size = self._plan.route_of(number), self._plan.size_of(number)
            if route is None and self._is_for(here):
                route = here
            if here is route and size <= room and self._is_to_be_sent(number):
                items[number] = self._plan.item(number)
                room -= size
            else:
                others.append(number)
        return items, others

    def note(self, route: Route, sent: Sequence[Sent | None]) -> None:
        """Record what came of chosen files. Once stores have left many, no others are chosen."""
        is_any_sent = any(one is not None for one in sent)
        left = 0 if is_any_sent else self._left.get(id(route), 0) + len(sent)
        self._left[id(route)] = left
        if left >= MOST_LEFT_IN_A_ROW:
            self._routes[id(route)] = False

    def _is_for(self, route: Route) -> bool:
        """Whether files of a route may go together."""
        known = self._routes.get(id(route))
        if known is None:
            source, destination = route.source, route.destination
            known = self._routes[id(route)] = (
                supports(source, ReadsTogether)
                and supports(destination, WritesTogether)
                and not supports(source, KnowsMd5s)
                and service_of(source, destination) is None
            )
        return known and self.is_on

    def _is_to_be_sent(self, number: int) -> bool:
        """Whether nothing is to be asked, resumed or kept before a file is sent."""
        known, if_exists = self._ledger.known(number), self._policies.if_exists
        return decide(known, if_exists) is Action.SEND and may_replace(known, if_exists)


def send_together(
    route: Route, items: Sequence[Item], capacity: Capacity, *, stop: Stop
) -> list[Sent | None]:
    """Send whole files of one route. None stands for one that must be sent alone.

    Raises ``ClaimLostError``.
    """
    source, destination = route.source, route.destination
    assert supports(source, ReadsTogether), "see Together.choose"
    assert supports(destination, WritesTogether), "see Together.choose"
    sent: list[Sent | None] = [None] * len(items)
    with capacity.budget.holding(sum(item.entry.size for item in items)):
        contents = source.read_together([item.entry for item in items])
        read = {
            at: content
            for at, content in enumerate(contents)
            if content is not None and content.attributes.md5 is None
        }
        md5s = md5s_of([content.data for content in read.values()])
        files = [
            (items[at].destination_path, content.data, replace(content.attributes, md5=md5))
            for (at, content), md5 in zip(read.items(), md5s, strict=True)
        ]
        require_held(stop, items[0])
        for at, md5, proof in zip(read, md5s, destination.write_together(files), strict=True):
            if proof is not None:
                sent[at] = Sent(md5=md5, proof=proof, version=read[at].version)
    return sent
