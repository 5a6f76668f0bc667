"""Taking up a job again: a pure function of what its records say and what the destination holds."""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field

from jobtool.errors import CredentialsError, FileError
from jobtool.jobs.records import (
    DigestRecord,
    IntentRecord,
    ListingRecord,
    PartRecord,
    Receipt,
    Record,
    UploadRecord,
)
from jobtool.stores.optional import Multipart, Temporaries
from jobtool.stores.store import Attributes, Part, Upload
from jobtool.transfer.existing import Existing
from jobtool.transfer.knowndigests import KnownDigests, folded
from jobtool.transfer.plan import Item, Plan

#: The records that name a file, or several.
FileRecord = Receipt | IntentRecord | UploadRecord | ListingRecord | DigestRecord


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

    def abort(self, item: Item) -> None:
        """Drop it at the store, if that knows uploads. Raises the errors of stores."""
        if isinstance(item.route.destination, Multipart):
            item.route.destination.abort(self.upload(item))


@dataclass(frozen=True, slots=True)
class Resumption:
    """Where a job stands.

    ``done`` flags the files that are proven, ``ours`` those whose destination the job has written;
    ``unfinished`` are the files in parts that were begun, ``intended`` those about to be begun, and
    when (nanoseconds since 1970), of whose upload no record tells; ``digests`` is what was read of
    files that aren't proven.
    """

    done: bytearray
    ours: bytearray
    unfinished: dict[int, Unfinished]
    intended: dict[int, int]
    digests: dict[int, KnownDigests] = field(default_factory=dict)

    @classmethod
    def fresh(cls, count: int) -> Resumption:
        """Return where a job of ``count`` files stands of which nothing is recorded."""
        return cls(bytearray(count), bytearray(count), {}, {})

    def grow(self) -> None:
        """Take note of another file, of which nothing is recorded."""
        self.done.append(0)
        self.ours.append(0)

    def confirm(self, plan: Plan, existing: Existing) -> None:
        """Take back what is proven of files that the destination doesn't hold any more."""
        for number in range(len(plan)):
            if self.done[number] and not existing.may_be(number, plan.size_of(number)):
                self.done[number] = 0


def is_below(path: str, folders: Container[str]) -> bool:
    """Tell whether one of the folders is above ``path``."""
    parts = path.split("/")
    return any("/".join(parts[:depth]) in folders for depth in range(1, len(parts)))


def _ignore(record: FileRecord) -> None:
    pass


def fold(
    state: Resumption,
    plan: Plan,
    records: Iterable[Record],
    on_unknown: Callable[[FileRecord], None] = _ignore,
) -> None:
    """Fold records into where a job stands, as if the destination still held what they prove.

    - A receipt counts if its two digests are the same and the source has the same size and time;
      else the file is sent again. ``Resumption.confirm`` then asks the destination.
    - Of a file's uploads the last counts, if its source is the same and no receipt followed.
    - A part counts for the upload it names.

    ``on_unknown`` is called with each record of a file that the plan doesn't hold, and with each
    listing.
    """
    by_token = {upload.token: upload for upload in list(state.unfinished.values())}
    for record in records:
        if isinstance(record, PartRecord):
            if record.token in by_token:
                by_token[record.token].parts[record.number] = part_of(record)
            continue
        if isinstance(record, ListingRecord):
            on_unknown(record)
            continue
        number = plan.find(record)
        if number is None:
            on_unknown(record)
            continue
        if isinstance(record, DigestRecord):  # which says nothing of the destination
            if plan.proves(record, number):
                state.digests[number] = folded(state.digests.get(number), record)
            continue
        if isinstance(record, IntentRecord):
            state.ours[number] |= record.has_file
            state.intended[number] = record.at_ns
            continue
        state.intended.pop(number, None)
        if isinstance(record, Receipt):
            state.ours[number] = 1
        if not plan.proves(record, number):
            continue
        if isinstance(record, Receipt):
            if record.hashsum_src != record.hashsum_dst:
                continue  # nothing of ours says so
            state.unfinished.pop(number, None)
            state.digests.pop(number, None)
            state.done[number] = 1
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
        destination = item.route.destination
        if not isinstance(destination, Multipart):
            continue
        if isinstance(destination, Temporaries):
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
