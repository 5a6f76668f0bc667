"""Taking up a job again: a pure function of what its records say and what the destination holds."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field

from jobtool.errors import CredentialsError, FileError
from jobtool.jobs.records import (
    DigestRecord,
    IntentRecord,
    PartRecord,
    Receipt,
    Record,
    UploadRecord,
)
from jobtool.stores.store import Attributes, Entry, Part, Upload
from jobtool.transfer.knowndigests import KnownDigests, folded
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
    """What the destination of a plan holds already: the size of each file of the plan, or -1.

    ``sizes`` are those where somebody has looked before.

    ``is_known`` is False where the credentials don't allow to look; then nothing is said to exist,
    and nothing to be missing.
    """

    def __init__(self, plan: Plan, sizes: Iterable[int] | None = None) -> None:
        self._sizes = array("q", [_MISSING]) * len(plan)
        self.is_known = True
        if sizes is not None:
            self._sizes = array("q", sizes)
            return
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
                except FileError as error:
                    if error.retryable:
                        raise
                    continue  # missing, or a name that can't be there: writing will tell
                self._sizes[number] = found.size
            return
        destination = plan.lanes[0].destination
        if destination.kind("") != "folder":
            return
        for entry in destination.list():  # without what is behind links: writing will tell
            if not isinstance(entry, Entry):
                continue
            known = plan.find_path(0, entry.path)
            if known is not None:
                self._sizes[known] = entry.size

    def size_of(self, number: int) -> int:
        """Return the size of what is in the place of a file of the plan, -1 for nothing."""
        return self._sizes[number]

    def has(self, number: int) -> bool:
        """Tell whether there is a file in the place of one of the plan."""
        return self._sizes[number] != _MISSING

    def may_be(self, number: int, size: int) -> bool:
        """Tell whether the destination may hold a file of this size; False if it surely doesn't."""
        return not self.is_known or self._sizes[number] == size


@dataclass(frozen=True, slots=True)
class Resumption:
    """Where a job stands.

    ``done`` flags the files that are proven, ``ours`` those whose destination some record names;
    ``unfinished`` are the files in parts that were begun, ``intended`` those about to be begun, and
    when (nanoseconds since 1970), of whose upload no record tells; ``digests`` is what was read of
    files that aren't proven.
    """

    done: bytearray
    ours: bytearray
    unfinished: dict[int, Unfinished]
    intended: dict[int, int]
    digests: dict[int, KnownDigests] = field(default_factory=dict)


def is_below(path: str, folders: Container[str]) -> bool:
    """Tell whether one of the folders is above ``path``."""
    parts = path.split("/")
    return any("/".join(parts[:depth]) in folders for depth in range(1, len(parts)))


def resume(plan: Plan, records: Iterable[Record], existing: Existing) -> Resumption:
    """Fold a job's records into where it stands.

    - A receipt counts if its two digests are the same, the source has the same size and time and
      the destination a file of that size; else the file is sent again.
    - Of a file's uploads the last counts, if its source is the same and no receipt followed.
    - A part counts for the upload it names.
    """
    count = len(plan)
    state = Resumption(bytearray(count), bytearray(count), {}, {})
    fold(state, plan, records, existing)
    return state


def fold(
    state: Resumption, plan: Plan, records: Iterable[Record], existing: Existing | None = None
) -> None:
    """Fold more records into where a job stands; see ``resume``.

    Without ``existing`` the records are of this very attempt: what they prove is there.
    """
    by_token = {upload.token: upload for upload in list(state.unfinished.values())}
    for record in records:
        if isinstance(record, PartRecord):
            if record.token in by_token:
                by_token[record.token].parts[record.number] = part_of(record)
            continue
        number = plan.find(record)
        if number is None:
            continue
        if isinstance(record, DigestRecord):  # which says nothing of the destination
            if plan.proves(record, number):
                state.digests[number] = folded(state.digests.get(number), record)
            continue
        state.ours[number] = 1
        if isinstance(record, IntentRecord):
            state.intended[number] = record.at_ns
            continue
        state.intended.pop(number, None)
        if not plan.proves(record, number):
            continue
        if isinstance(record, Receipt):
            if record.hashsum_src != record.hashsum_dst:
                continue  # nothing of ours says so
            state.unfinished.pop(number, None)
            state.digests.pop(number, None)
            state.done[number] = existing is None or existing.may_be(number, record.size)
        else:
            upload = Unfinished(record.token, record.part_size, record.md5)
            state.unfinished[number] = by_token[record.token] = upload


def open_uploads(records: Iterable[Record]) -> dict[str, str]:
    """Return the uploads that were begun and that no receipt followed: token to destination."""
    begun: dict[str, str] = {}
    tokens: dict[str, list[str]] = {}
    for record in records:
        if isinstance(record, UploadRecord):
            begun[record.token] = record.dst_path
            tokens.setdefault(record.dst_path, []).append(record.token)
        elif isinstance(record, Receipt):
            for token in tokens.pop(record.dst_path, ())[-1:]:
                begun.pop(token, None)
    return begun


def remove_leftovers(
    plan: Plan,
    resumption: Resumption,
    *,
    is_stopping: Callable[[], bool],
    numbers: Iterable[int] | None = None,
) -> int:
    """Remove what killed attempts at this job left unfinished and no record names; return how many.

    Looks only where a file isn't proven yet, or where ``numbers`` say, and at a store that can't
    tell whose an upload is only where one was intended, for what was begun since then.
    """
    if numbers is None:
        numbers = (number for number in range(len(plan)) if not resumption.done[number])
    known = {upload.token for upload in resumption.unfinished.values()}
    looked: set[tuple[int, str]] = set()
    removed = 0
    for number in numbers:
        if is_stopping():
            break
        item = plan.item(number)
        destination = item.lane.destination
        if destination.capabilities.leaves_temporaries:
            place = (id(destination), os.path.dirname(item.destination_path))
            if place in looked:
                continue
            looked.add(place)
        elif number not in resumption.intended:
            continue
        try:
            since_ns = resumption.intended.get(number, 0)
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


def part_of(record: PartRecord) -> Part:
    """Return the part that a record is about."""
    return Part(
        number=record.number,
        offset=record.offset,
        size=record.size,
        md5=record.md5,
        etag=record.etag,
    )


def part_record(token: str, part: Part) -> PartRecord:
    """Return the record of a part that was sent for an upload."""
    return PartRecord(
        token=token,
        number=part.number,
        offset=part.offset,
        size=part.size,
        md5=part.md5,
        etag=part.etag,
    )
