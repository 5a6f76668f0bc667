"""Sending many small files at a time, where a store takes less time for them so.

The other store may take them one by one: what is done for all of them by one call still saves time.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from msgspec.structs import replace

from jobtool.errors import ClaimLostError, JobtoolError, StoppedError
from jobtool.liveness import Liveness
from jobtool.md5 import md5s_of
from jobtool.stop import Stop
from jobtool.stores.optional import ReadsTogether, WritesTogether, supports
from jobtool.stores.store import Attributes, Content, Proof
from jobtool.transfer.capacity import Capacity
from jobtool.transfer.decision import Action, decide, may_replace
from jobtool.transfer.digests import Paced, require_held, require_recorded
from jobtool.transfer.ledger import Ledger
from jobtool.transfer.plan import Item, Route
from jobtool.transfer.policies import Policies
from jobtool.transfer.serverside import service_of
from jobtool.transfer.throttle import Throttle
from jobtool.transfer.whole import Sent, write_data

#: How many bytes of files a thread takes at a time, at most. Larger files are sent one by one.
MOST_BYTES = 1024 * 1024

#: After so many files in a row that stores have left, the others are probably no different.
MOST_LEFT_IN_A_ROW = 64

_MOST_COUNT = 64

#: A file that goes with others may have two files open, itself and its folder. All of them together
#: may have half of those that the process may open.
_SHARE_OF_OPEN_FILES = 2 * 2

#: A thread takes more files if it needs less than the first for those it has, fewer if it needs
#: more than the second. So it stops soon where storage is slow.
_SHORT_SECONDS, _LONG_SECONDS = 0.02, 0.08


#: What came of a file: it was sent, its try has failed, or it is to be tried alone.
Tried = Sent | JobtoolError | None

T = TypeVar("T")


class Pace:
    """How many files a thread takes at a time, by how long the last ones took.

    It begins with one: what a thread has taken, no other thread can send meanwhile.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.count = 1
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

    def restart(self) -> None:
        """Record that none of the last files went with others, for example since they are large."""
        self.count = 1


def most_for(threads: int, open_files: int | None = None) -> int:
    """Return how many files each of so many threads may take at a time.

    ``open_files`` is the limit on open files, by default that of this process.
    """
    if open_files is None:
        open_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if open_files == resource.RLIM_INFINITY:
        return _MOST_COUNT
    return min(max(open_files // _SHARE_OF_OPEN_FILES // threads, 1), _MOST_COUNT)


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

    def note(self, route: Route, tried: Sequence[Tried]) -> None:
        """Record what came of chosen files. Once stores have left many, no others are chosen."""
        is_any_sent = any(isinstance(one, Sent) for one in tried)
        left = 0 if is_any_sent else self._left.get(id(route), 0) + len(tried)
        self._left[id(route)] = left
        if left >= MOST_LEFT_IN_A_ROW:
            self._routes[id(route)] = False

    def _is_for(self, route: Route) -> bool:
        """Whether files of a route may go together."""
        known = self._routes.get(id(route))
        if known is None:
            source, destination = route.source, route.destination
            is_any = supports(source, ReadsTogether) or supports(destination, WritesTogether)
            known = self._routes[id(route)] = is_any and service_of(source, destination) is None
        return known and self.is_on

    def _is_to_be_sent(self, number: int) -> bool:
        """Whether nothing is to be asked, resumed or kept before a file is sent."""
        known, if_exists = self._ledger.known(number), self._policies.if_exists
        return decide(known, if_exists) is Action.SEND and may_replace(known, if_exists)


def send_together(
    items: Sequence[Item], capacity: Capacity, *, stop: Stop, liveness: Liveness
) -> list[Tried]:
    """Send whole files of one route: many by one call where a store can, else one by one.

    An error or a stop ends it for the files after that one, which aren't tried. Raises
    ``ClaimLostError``.
    """
    tried: list[Tried] = [None] * len(items)
    with capacity.budget.holding(sum(item.entry.size for item in items)):
        read: dict[int, Content] = {}
        for at, found in enumerate(_read(items, stop, liveness)):
            if isinstance(found, Content):
                read[at] = found
            else:
                tried[at] = found
        md5s = dict(zip(read, md5s_of([content.data for content in read.values()]), strict=True))
        files = []
        for at, content in read.items():
            try:
                require_recorded(items[at], recorded=content.attributes.md5, found=md5s[at])
            except JobtoolError as error:
                tried[at] = error
            else:
                attributes = replace(content.attributes, md5=md5s[at])
                files.append((at, items[at], content.data, attributes))
        for at, proof in _write(files, capacity, stop, liveness):
            if isinstance(proof, Proof):
                tried[at] = Sent(md5=md5s[at], proof=proof, version=read[at].version)
            else:
                tried[at] = proof
    return tried


def _read(
    items: Sequence[Item], stop: Stop, liveness: Liveness
) -> Iterable[Content | JobtoolError | None]:
    source = items[0].route.source
    if supports(source, ReadsTogether):
        with liveness.working(items[0].source_url):
            return source.read_together([item.entry for item in items])

    def read(item: Item) -> Content:
        return source.read(item.entry, 0, item.entry.size)

    return _each([(item, partial(read, item)) for item in items], stop, liveness)


def _write(
    files: Sequence[tuple[int, Item, bytes | memoryview, Attributes]],
    capacity: Capacity,
    stop: Stop,
    liveness: Liveness,
) -> Iterable[tuple[int, Proof | JobtoolError | None]]:
    if not files:
        return ()
    numbers = [at for at, *_ in files]
    first = files[0][1]
    destination = first.route.destination
    if supports(destination, WritesTogether):
        require_held(stop, first)
        with liveness.working(first.source_url):
            new = [(item.destination_path, data, attributes) for _, item, data, attributes in files]
            return zip(numbers, destination.write_together(new), strict=True)

    def write(item: Item, data: bytes | memoryview, attributes: Attributes) -> Proof:
        return write_data(item, data, attributes, stop, Paced(capacity.throttle, item, stop))

    each = [(item, partial(write, item, data, attributes)) for _, item, data, attributes in files]
    return zip(numbers, _each(each, stop, liveness), strict=True)


def _each(
    calls: Iterable[tuple[Item, Callable[[], T]]], stop: Stop, liveness: Liveness
) -> Iterator[T | JobtoolError | None]:
    """Yield the results of a call for each file. After an error or a stop no other is made."""
    is_over = False
    for item, call in calls:
        if is_over or stop.is_set():
            yield None
            continue
        found: T | JobtoolError | None = None
        try:
            with liveness.working(item.source_url):
                found = call()
        except ClaimLostError:
            raise
        except StoppedError:
            is_over = True
        except JobtoolError as error:
            is_over, found = True, error
        yield found
