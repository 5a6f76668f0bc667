"""What earlier attempts at a job found in its source, held against what is there now.

A source may be purged between two attempts. A file that was listed once, isn't proven and is gone
must not be forgotten: without it the job would succeed with fewer files.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator

from jobtool.errors import NotFoundError, SourceError
from jobtool.jobs.records import ListingRecord, Receipt
from jobtool.names import quote
from jobtool.stores.store import Entry
from jobtool.transfer.plan import Lane, Plan, path_in
from jobtool.transfer.resume import FileRecord, Resumption

#: How many bytes of names a record of a listing holds, before they are compressed.
_RECORD_BYTES = 96 * 1024

_SEPARATOR = b"\0"

#: No record of a listing holds more; one that was forged to is passed over.
_MOST_BYTES = 2 * _RECORD_BYTES


def listing_records(plan: Plan, done: bytearray) -> Iterator[ListingRecord]:
    """Yield the records of the files of a tree that aren't proven yet."""
    if not plan.is_tree:
        return
    lane = plan.lanes[0]
    names: list[bytes] = []
    size = 0
    for number in range(len(plan)):
        if done[number]:
            continue
        name = os.fsencode(plan.item(number).entry.path)
        names.append(name)
        size += len(name) + 1
        if size >= _RECORD_BYTES:
            yield _record(lane.source.url, lane.destination.url, names)
            names, size = [], 0
    if names:
        yield _record(lane.source.url, lane.destination.url, names)


def _record(source: str, destination: str, names: list[bytes]) -> ListingRecord:
    packed = zlib.compress(_SEPARATOR.join(names), level=1)
    return ListingRecord(src_path=source, dst_path=destination, names=packed)


class Earlier:
    """The files that records name and the plan doesn't hold: ``note`` takes the records."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._failed = {failure.path: failure for failure in plan.failures}
        self._proven: dict[str, Receipt] = {}
        self._listed: dict[str, None] = {}
        self.has_listing = False

    def note(self, record: FileRecord) -> None:
        """Take note of a record of a file that the plan doesn't hold, or of a listing."""
        if isinstance(record, ListingRecord):
            self._note_listing(record)
        elif self._is_of_the_job(record.src_path, record.dst_path):
            if isinstance(record, Receipt) and record.hashsum_src == record.hashsum_dst:
                self._proven[record.src_path] = record  # the last counts
            self._listed[record.src_path] = None

    def _note_listing(self, record: ListingRecord) -> None:
        lane = self._plan.lanes[0]
        if (record.src_path, record.dst_path) != (lane.source.url, lane.destination.url):
            return  # the job has another source or destination since
        self.has_listing = True
        decompressor = zlib.decompressobj()
        try:
            names = decompressor.decompress(record.names, _MOST_BYTES).split(_SEPARATOR)
        except zlib.error:
            return
        for name in names if decompressor.eof else ():
            path = os.fsdecode(name)
            if path and self._plan.find_path(0, path) is None:
                self._listed[lane.source.url_of(path)] = None

    def _is_of_the_job(self, source: str, destination: str) -> bool:
        if not self._plan.is_tree:
            return source in self._failed
        lane = self._plan.lanes[0]
        return bool(path_in(lane.source, source)) and bool(path_in(lane.destination, destination))

    def settle(self, state: Resumption, *, accept_gone: bool) -> None:
        """Add the files that are gone to the plan.

        Those that are proven are done, if the destination still holds them; the others are
        failures, unless ``accept_gone``.
        """
        if accept_gone or not self._listed:
            return
        if self._plan.is_tree:
            self._settle_tree(state)
        else:
            self._settle_named(state)

    def _settle_tree(self, state: Resumption) -> None:
        lane = self._plan.lanes[0]
        # Below a folder that can't be listed a file may be there all the same.
        is_sure = not self._plan.failures
        for path in self._listed:
            receipt = self._proven.get(path)
            if receipt is not None:
                self._add(lane, receipt, state)
            elif is_sure:
                self._plan.fail(path, _gone(path))

    def _settle_named(self, state: Resumption) -> None:
        """Put what is proven in place of the failures to find it."""
        arrived: set[str] = set()
        for path, receipt in self._proven.items():
            if not isinstance(self._failed[path].error, NotFoundError):
                continue
            for lane in list(self._plan.lanes):
                if path_in(lane.source, receipt.src_path) and path_in(
                    lane.destination, receipt.dst_path
                ):
                    self._plan.start_lane(lane)
                    self._add(lane, receipt, state)
                    arrived.add(path)
                    break
        self._plan.failures = [
            failure for failure in self._plan.failures if failure.path not in arrived
        ]

    def _add(self, lane: Lane, receipt: Receipt, state: Resumption) -> None:
        source = path_in(lane.source, receipt.src_path) or ""
        destination = path_in(lane.destination, receipt.dst_path) or ""
        self._plan.add(Entry(source, receipt.size, receipt.mtime_ns), destination)
        state.grow()
        state.done[-1] = state.ours[-1] = 1


def _gone(path: str) -> SourceError:
    return SourceError(
        f"{quote(path)} was there at an earlier attempt, did not arrive, and is gone. Put it back, "
        "or go on without what is gone: --if-gone ignore"
    )
