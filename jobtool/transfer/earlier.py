"""What earlier attempts at a job found in its source, held against what is there now.

A source may be purged between two attempts. A file that was listed once, isn't proven and is gone
must not be forgotten: without it the job would succeed with fewer files.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator

from jobtool.errors import NotFoundError, SourceError
from jobtool.jobs.journal import Journal
from jobtool.jobs.records import ListingRecord, Receipt
from jobtool.names import quote
from jobtool.stores.store import Entry
from jobtool.transfer.plan import Plan, Route, path_in
from jobtool.transfer.resume import FileRecord, Resumption

#: How many bytes of names a record of a listing holds, before they are compressed.
_RECORD_BYTES = 96 * 1024

_SEPARATOR = b"\0"

#: No record of a listing holds more; one that was forged to is passed over.
_MOST_BYTES = 2 * _RECORD_BYTES


def listing_records(plan: Plan, numbers: Iterable[int]) -> Iterator[ListingRecord]:
    """Yield the records that name some files of a tree."""
    route = plan.routes[0]
    names: list[bytes] = []
    size = 0
    for number in numbers:
        name = os.fsencode(plan.item(number).entry.path)
        names.append(name)
        size += len(name) + 1
        if size >= _RECORD_BYTES:
            yield _record(route.source.url, route.destination.url, names)
            names, size = [], 0
    if names:
        yield _record(route.source.url, route.destination.url, names)


def _record(source: str, destination: str, names: list[bytes]) -> ListingRecord:
    packed = zlib.compress(_SEPARATOR.join(names), level=1)
    return ListingRecord(src_path=source, dst_path=destination, names=packed)


class ListingLog:
    """Writes down in ``journal`` what is listed of a tree, each name once.

    ``recorded`` flags what earlier attempts wrote down.
    """

    def __init__(self, plan: Plan, journal: Journal, recorded: bytearray | None = None) -> None:
        self._plan = plan
        self._journal = journal
        self._recorded = recorded or bytearray()
        self._next = 0

    def write(self, done: bytearray) -> None:
        """Append the names of the files that are new and not ``done``."""
        if not self._plan.is_tree:
            return
        end = len(done)  # which grows while files are listed
        new, self._next = range(self._next, end), end
        recorded = self._recorded
        numbers = (
            number
            for number in new
            if not done[number] and not (number < len(recorded) and recorded[number])
        )
        for record in listing_records(self._plan, numbers):
            self._journal.append(record)


class Earlier:
    """The files that records name and the plan doesn't hold: ``note`` takes the records.

    ``recorded`` flags the files of the plan that a listing names.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._failed = {
            (failure.path, failure.destination): failure.error for failure in plan.failures
        }
        self._proven: dict[tuple[str, str], Receipt] = {}
        self._listed: dict[tuple[str, str], None] = {}
        self.recorded = bytearray(len(plan))

    def note(self, record: FileRecord) -> None:
        """Take note of a record of a file that the plan doesn't hold, or of a listing."""
        if isinstance(record, ListingRecord):
            self._note_listing(record)
        elif self._is_of_the_job(record.src_path, record.dst_path):
            pair = (record.src_path, record.dst_path)
            if isinstance(record, Receipt) and record.hashsum_src == record.hashsum_dst:
                self._proven[pair] = record  # the last counts
            self._listed[pair] = None

    def _note_listing(self, record: ListingRecord) -> None:
        route = self._plan.routes[0]
        if (record.src_path, record.dst_path) != (route.source.url, route.destination.url):
            return  # the job has another source or destination since
        decompressor = zlib.decompressobj()
        try:
            names = decompressor.decompress(record.names, _MOST_BYTES).split(_SEPARATOR)
        except zlib.error:
            return
        for name in names if decompressor.eof else ():
            path = os.fsdecode(name)
            number = self._plan.find_path(0, path)
            if number is not None:
                self.recorded[number] = 1
            elif path:
                self._listed[route.source.url_of(path), route.destination.url_of(path)] = None

    def _is_of_the_job(self, source: str, destination: str) -> bool:
        if not self._plan.is_tree:
            return (source, destination) in self._failed
        route = self._plan.routes[0]
        path = path_in(route.source, source)
        return bool(path) and path == path_in(route.destination, destination)

    def settle(self, state: Resumption, *, accept_gone: bool) -> None:
        """Add the files that are gone to the plan.

        Those that are proven are done, if the destination still holds them; the others are
        failures. With ``accept_gone`` a tree's are left out instead.
        """
        if not self._plan.is_tree:
            self._settle_named(state)
        elif self._listed and not accept_gone:
            self._settle_tree(state)

    def _settle_tree(self, state: Resumption) -> None:
        route = self._plan.routes[0]
        # Below a folder that can't be listed a file may be there all the same.
        is_sure = not self._plan.failures
        for pair in self._listed:
            receipt = self._proven.get(pair)
            if receipt is not None:
                self._add(route, receipt, state)
            elif is_sure:
                self._plan.fail(pair[0], _gone(pair[0]))

    def _settle_named(self, state: Resumption) -> None:
        """Put what is proven in place of the failures to find it."""
        arrived: set[tuple[str, str | None]] = set()
        for pair, receipt in self._proven.items():
            if not isinstance(self._failed[pair], NotFoundError):
                continue
            for route in list(self._plan.routes):
                if path_in(route.source, receipt.src_path) and path_in(
                    route.destination, receipt.dst_path
                ):
                    self._plan.start_route(route)
                    self._add(route, receipt, state)
                    arrived.add(pair)
                    break
        self._plan.failures = [
            failure
            for failure in self._plan.failures
            if (failure.path, failure.destination) not in arrived
        ]

    def _add(self, route: Route, receipt: Receipt, state: Resumption) -> None:
        source = path_in(route.source, receipt.src_path) or ""
        destination = path_in(route.destination, receipt.dst_path) or ""
        self._plan.add(Entry(source, receipt.size, receipt.mtime_ns), destination)
        self.recorded.append(1)
        state.grow()
        state.done[-1] = state.ours[-1] = 1


def _gone(path: str) -> SourceError:
    return SourceError(
        f"{quote(path)} was there at an earlier attempt, did not arrive, and is gone. Put it back; "
        "or, if it was renamed or removed on purpose, go on without it: --if-gone ignore"
    )
