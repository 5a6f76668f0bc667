"""Taking up a job again: a pure function of what its records say and what the destination holds."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from jobtool.errors import CredentialsError, FileError, NotFoundError
from jobtool.jobs.receipts import PartRecord, Receipt, Record, UploadRecord
from jobtool.stores.store import Attributes, Part, Special, Upload
from jobtool.transfer.plan import Item, Plan

_MISSING = -1


@dataclass(slots=True)
class Unfinished:
    """A file in parts that was begun: the upload, its part size, the parts sent so far.

    ``md5`` is the whole file's, where the upload's attributes already name it.
    """

    token: str
    part_size: int
    md5: str | None = None
    parts: dict[int, Part] = field(default_factory=dict)

    def upload(self, item: Item) -> Upload:
        """Return the store's view of it."""
        attributes = Attributes(mtime_ns=item.entry.mtime_ns, md5=self.md5)
        return Upload(path=item.destination_path, token=self.token, attributes=attributes)


class Existing:
    """What the destination of a plan holds already: the size of each file of the plan.

    ``is_known`` is False where the credentials don't allow to look; then nothing is said to exist,
    and nothing to be missing.
    """

    def __init__(self, plan: Plan) -> None:
        self._sizes = array("q", [_MISSING]) * len(plan)
        self.is_known = True
        try:
            self._look(plan)
        except CredentialsError:  # whoever may only write will find out when writing
            self._sizes = array("q", [_MISSING]) * len(plan)
            self.is_known = False

    def _look(self, plan: Plan) -> None:
        if not plan.is_tree:
            for number in range(len(plan)):
                item = plan.item(number)
                try:
                    found = item.lane.destination.head(item.destination_path)
                except NotFoundError:
                    continue
                self._sizes[number] = found.size
            return
        destination = plan.lanes[0].destination
        if destination.kind("") != "folder":
            return
        for entry in destination.list():
            known = None if isinstance(entry, Special) else plan.find_path(0, entry.path)
            if known is not None and not isinstance(entry, Special):
                self._sizes[known] = entry.size

    def has(self, number: int) -> bool:
        """Tell whether there is a file in the place of one of the plan."""
        return self._sizes[number] != _MISSING

    def may_be(self, number: int, size: int) -> bool:
        """Tell whether the destination may hold a file of this size; False if it surely doesn't."""
        return not self.is_known or self._sizes[number] == size


@dataclass(frozen=True, slots=True)
class Resumption:
    """Where a job stands: which files are proven, and which in parts were begun."""

    done: bytearray
    unfinished: dict[int, Unfinished]


def resume(plan: Plan, records: Iterable[Record], existing: Existing) -> Resumption:
    """Fold a job's records into where it stands.

    - A receipt counts if the source has the same size and time and the destination a file of that
      size; else the file is sent again.
    - Of a file's uploads the last counts, if its source is the same and no receipt followed.
    - A part counts for the upload it names.
    """
    done = bytearray(len(plan))
    unfinished: dict[int, Unfinished] = {}
    by_token: dict[str, Unfinished] = {}
    for record in records:
        if isinstance(record, PartRecord):
            upload = by_token.get(record.token)
            if upload is not None:
                upload.parts[record.number] = Part(
                    number=record.number,
                    offset=record.offset,
                    size=record.size,
                    md5=record.md5,
                    etag=record.etag,
                )
            continue
        number = plan.find(record)
        if number is None or not plan.proves(record, number):
            continue
        if isinstance(record, Receipt):
            unfinished.pop(number, None)
            done[number] = existing.may_be(number, record.size)
        elif isinstance(record, UploadRecord):
            upload = Unfinished(record.token, record.part_size, record.md5)
            unfinished[number] = by_token[record.token] = upload
    return Resumption(done, unfinished)


def remove_leftovers(
    plan: Plan,
    resumption: Resumption,
    *,
    since_ns: int,
    large_bytes: int,
    is_stopping: Callable[[], bool],
) -> int:
    """Remove what killed attempts at this job left unfinished and no record names; return how many.

    Looks only where a file isn't proven yet; ``since_ns`` is when the job was first claimed, in
    nanoseconds since 1970: what is older isn't ours.
    """
    known = {upload.token for upload in resumption.unfinished.values()}
    looked: set[tuple[int, str]] = set()
    removed = 0
    for number in range(len(plan)):
        if resumption.done[number] or is_stopping():
            continue
        item = plan.item(number)
        destination = item.lane.destination
        place = item.destination_path
        if destination.capabilities.leaves_temporaries:
            place = os.path.dirname(place)
        elif item.entry.size < large_bytes:
            continue
        key = (id(destination), place)
        if key in looked:
            continue
        looked.add(key)
        try:
            leftovers = destination.leftovers(item.destination_path, since_ns)
        except (CredentialsError, FileError) as error:
            if error.retryable:
                raise
            continue  # who may only write, or at a server that can't tell, leaves them
        for upload in leftovers:
            if upload.token not in known:
                destination.abort(upload)
                removed += 1
    return removed
