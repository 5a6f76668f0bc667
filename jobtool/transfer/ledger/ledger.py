"""The ledger: what is known about each file of a job. It is the only writer of its journal."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Iterable, Iterator

from jobtool.jobs.forms import Compression
from jobtool.jobs.journal import Journal
from jobtool.jobs.records import (
    DigestRecord,
    IntentRecord,
    ListingRecord,
    PartRecord,
    Receipt,
    Record,
    UploadRecord,
)
from jobtool.stores.store import Entry
from jobtool.transfer.decision import Held, Known
from jobtool.transfer.ledger.destination import (
    MISSING,
    UNKNOWN,
    size_at_destination,
    sizes_at_destination,
)
from jobtool.transfer.ledger.digests import KnownDigests, folded
from jobtool.transfer.ledger.forms import OtherForms
from jobtool.transfer.ledger.listings import listing_records
from jobtool.transfer.ledger.methodlog import MethodLog
from jobtool.transfer.ledger.uploadlog import FileUploads
from jobtool.transfer.ledger.uploads import UploadUnderWay
from jobtool.transfer.plan import Item, Plan
from jobtool.transfer.retry import Retry

#: The records that name a file, or several.
FileRecord = Receipt | IntentRecord | UploadRecord | ListingRecord | DigestRecord


def _ignore(record: FileRecord) -> None:
    pass


class Ledger:
    """What is known about each file of a plan, from its records and its destination.

    A million files take about 16 bytes each. Threads may call it. ``jobtool.transfer.decision``
    says what to do with a file, from what ``known`` returns. ``methods`` records the files that
    were given to methods other than ``stream``, ``forms`` those that are compressed or unpacked by
    the setting ``compression``. ``attempt`` is the number of the attempt, from 1. Only the ledger
    appends to ``journal`` meanwhile. Its records are on disk after the next ``flush``.
    """

    def __init__(
        self,
        plan: Plan,
        journal: Journal,
        *,
        attempt: int = 1,
        compression: Compression = "none",
    ) -> None:
        self.plan = plan
        self.attempt = attempt
        self.has_begun_uploads = False  # since this object was made
        self._journal = journal
        self._lock = threading.RLock()
        self._proven = bytearray()
        self._ours = bytearray()
        self._named = bytearray()  # by a listing in the journal
        self._sizes = array("q")  # at the destination
        self._attempts = array("i")  # of the last receipt
        self._uploads: dict[int, UploadUnderWay] = {}
        self._intended: dict[int, int] = {}
        self._digests: dict[int, KnownDigests] = {}
        self._tried: set[int] = set()
        self._failed: set[int] = set()
        self.methods = MethodLog(plan, append=self._append, flush=self.flush)
        self.forms = OtherForms(plan, compression)
        self._unnamed_from = 0
        self._files_proven = self._bytes_proven = 0
        self.grow()

    # What it learns from the plan, the records and the destination.

    def grow(self) -> None:
        """Make room for files that were added to the plan. Nothing is known about them."""
        count = len(self.plan) - len(self._proven)
        self._sizes.extend(array("q", [MISSING]) * count)
        self._attempts.extend(array("i", [0]) * count)
        for flags in (self._ours, self._named, self._proven):
            flags.extend(bytes(count))
        self.methods.grow(count)

    def fold(
        self, records: Iterable[Record], on_unknown: Callable[[FileRecord], None] = _ignore
    ) -> None:
        """Add records, as if the destination still held the files that they prove.

        - A receipt counts if it ``is_proof`` and the source has the same size and time, and none is
          of a later attempt, since the destination holds what that one is about. Else the file is
          sent again. ``compare`` then asks the destination.
        - The last upload of a file counts if its source is the same and no receipt followed.
        - A part counts for the upload that it names.

        ``on_unknown`` is called with each record of a file that the plan doesn't hold, and with
        each listing.
        """
        with self._lock:
            by_token = {one.record.token: one for one in list(self._uploads.values())}
            for record in records:
                if isinstance(record, PartRecord):
                    upload = by_token.get(record.token)
                    if upload is not None:
                        upload.parts[record.number] = record
                    continue
                if isinstance(record, ListingRecord) or (number := self.plan.find(record)) is None:
                    on_unknown(record)
                    continue
                self._fold_one(number, record)
                upload = self._uploads.get(number)
                if isinstance(record, UploadRecord) and upload is not None:
                    by_token[upload.record.token] = upload

    def _fold_one(
        self, number: int, record: Receipt | IntentRecord | UploadRecord | DigestRecord
    ) -> None:
        if isinstance(record, DigestRecord):  # which isn't about the destination
            if self.plan.proves(record, number):
                self._digests[number] = folded(self._digests.get(number), record)
            return
        if isinstance(record, IntentRecord):
            self._ours[number] |= record.has_file
            if not record.has_file:  # else it says whose the file is, and no upload was begun
                self._intended[number] = record.at_ns
                self.forms.note_intent(number, record)
            self.methods.fold(number, record.method)
            return
        self._intended.pop(number, None)
        self.methods.fold(number, None)
        if isinstance(record, Receipt):
            self._ours[number] = 1
            self.forms.note_receipt(number, record)
            if record.attempt < self._attempts[number]:
                return
            if record.attempt > self._attempts[number]:
                self._attempts[number] = record.attempt
                self._mark(number, is_proven=False)
        if not self.plan.proves(record, number):
            return
        if isinstance(record, UploadRecord):
            self._uploads[number] = UploadUnderWay(record)
        elif record.is_proof:
            self._uploads.pop(number, None)
            self._digests.pop(number, None)
            self._mark(number, is_proven=True)

    def add_proven(self, receipt: Receipt, source_path: str, destination_path: str) -> None:
        """Add the proven file of a receipt, whose source is gone, to the plan."""
        with self._lock:
            entry = Entry(source_path, receipt.size, receipt.mtime_ns)
            self.plan.add(entry, destination_path)
            self.grow()
            self._ours[-1] = self._named[-1] = 1
            self._attempts[-1] = receipt.attempt
            self.forms.note_receipt(len(self.plan) - 1, receipt)
            self._mark(len(self.plan) - 1, is_proven=True)

    def note_named(self, number: int) -> None:
        """Record that a listing in the journal names a file, so none names it again."""
        self._named[number] = 1

    def note_destination(self, sizes: Iterable[int], ours: Iterable[bool]) -> None:
        """Set what the holder found at the destination: files' sizes, and which are the job's."""
        self._sizes = array("q", sizes)
        self._ours = bytearray(ours)

    def compare(self, retry: Retry) -> None:
        """List the destination. Files that it doesn't hold don't count as proven any more.

        Raises the errors of stores, and ``StoppedError``.
        """
        self.forms.find_collisions(retry)
        self._sizes = sizes_at_destination(self.plan, retry, self.forms)
        for number in range(len(self.plan)):
            if self._proven[number] and not self._is_still_there(number):
                self._mark(number, is_proven=False)

    def look(self, numbers: Iterable[int], retry: Retry) -> None:
        """Look at the destination for some named files, which the plan has got since ``compare``.

        Raises the errors of stores, and ``StoppedError``.
        """
        for number in numbers:
            self._sizes[number] = size_at_destination(self.plan.item(number), retry)

    def _is_still_there(self, number: int) -> bool:
        if self.forms.in_force(number) is None:
            return self._held_as_planned(number) in (Held.SAME_SIZE, Held.UNKNOWN)
        return self._sizes[number] == UNKNOWN or self.forms.is_as_received(number)

    def _mark(self, number: int, *, is_proven: bool) -> None:
        if bool(self._proven[number]) != is_proven:
            sign = 1 if is_proven else -1
            self._proven[number] = is_proven
            self._files_proven += sign
            self._bytes_proven += sign * self.plan.size_of(number)

    # What it knows.

    def known(self, number: int) -> Known:
        """Return what is known about a file."""
        return Known(
            is_proven=bool(self._proven[number]),
            has_failed=number in self._failed,
            held=self._held(number),
            is_ours=bool(self._ours[number]) or self.methods.was_given(number),
            is_tried=number in self._tried,
            is_taken_up=self.attempt > 1,
            is_claimed=self.methods.is_claimed(number),
            has_upload=number in self._uploads,
        )

    def _held(self, number: int) -> Held:
        if self.forms.is_wanted_there(number):
            return Held.SAME_SIZE  # perhaps: sizes don't show it, digests do
        return self._held_as_planned(number)

    def _held_as_planned(self, number: int) -> Held:
        size = self._sizes[number]
        if self.methods.is_different(number):
            return Held.OTHER_SIZE
        if size == MISSING:
            return Held.NOTHING
        if size == UNKNOWN:
            return Held.UNKNOWN
        return Held.SAME_SIZE if size == self.plan.size_of(number) else Held.OTHER_SIZE

    def undone(self, numbers: Iterable[int] | None = None) -> Iterator[int]:
        """Yield the files of ``numbers``, or of all, that are neither proven nor failed."""
        for number in range(len(self._proven)) if numbers is None else numbers:
            if not self._proven[number] and number not in self._failed:
                yield number

    def is_proven(self, number: int) -> bool:
        """Return True if a file has a receipt that counts."""
        return bool(self._proven[number])

    def size_at_destination(self, number: int) -> int:
        """Return a file's size in bytes at the destination, or ``MISSING`` or ``UNKNOWN``."""
        return self._sizes[number]

    def upload_of(self, number: int) -> UploadUnderWay | None:
        """Return the upload of a file that can be resumed; None if there is none."""
        return self._uploads.get(number)

    def intended_ns(self, number: int) -> int | None:
        """Return the time of an intent whose upload has no record; None if there is none.

        The time is in nanoseconds since 1970.
        """
        return self._intended.get(number)

    def tokens(self) -> set[str]:
        """Return the tokens of all uploads that can be resumed."""
        return {upload.record.token for upload in list(self._uploads.values())}

    @property
    def files_proven(self) -> int:
        """How many files are proven."""
        return self._files_proven

    @property
    def bytes_proven(self) -> int:
        """The size of all files that are proven, in bytes."""
        return self._bytes_proven

    @property
    def any_proven(self) -> Item | None:
        """A file that has arrived, now or at an earlier attempt; None if none has."""
        number = self._proven.find(1)
        return None if number < 0 else self.plan.item(number)

    @property
    def parts_bytes(self) -> int:
        """The size in bytes of the parts of unproven files that need not be sent again."""
        return sum(
            part.size
            for number, upload in list(self._uploads.items())
            if not self._proven[number]
            for part in list(upload.parts.values())
        )

    # What the attempt reports.

    def prove(self, number: int, receipt: Receipt) -> None:
        """Record the receipt of a file that has arrived, or was found at the destination."""
        self._append(receipt)
        with self._lock:
            self._attempts[number] = max(self._attempts[number], receipt.attempt)
            self._mark(number, is_proven=True)

    def absorb(self, records: Iterable[Record]) -> None:
        """Add a helper's records of files of this job, and write them to disk."""
        taken = list(records)
        self.fold(taken)
        for record in taken:
            self._append(record)
        self.flush()

    def fail(self, number: int) -> None:
        """Record that a file has failed for good in this attempt."""
        self._failed.add(number)

    def note_tried(self, numbers: Iterable[int]) -> None:
        """Record files that a try may have put at the destination without a receipt."""
        self._tried.update(numbers)

    def change(self, number: int, entry: Entry) -> UploadUnderWay | None:
        """Set a changed file's new entry. Forget and return its upload, which the caller aborts."""
        with self._lock:
            self.plan.update(number, entry)
            return self._uploads.pop(number, None)

    def log_of(self, number: int, item: Item) -> FileUploads:
        """Return the log in which a copy of a file records its parts."""
        return FileUploads(
            number,
            item,
            uploads=self._uploads,
            intended=self._intended,
            forms=self.forms,
            digests=self._digests,
            append=self._append,
            flush=self.flush,
        )

    def _append(self, record: Record) -> None:
        if isinstance(record, UploadRecord):
            self.has_begun_uploads = True
        self._journal.append(record)

    def flush(self) -> None:
        """Write the records to disk, after syncing the files: no receipt may outlive its file.

        Raises the errors of stores and those of ``Journal.flush``.
        """
        self._journal.flush(self.sync)

    def checkpoint(self) -> None:
        """Flush, and also record the names of a tree's new unproven files.

        A file that was listed once must not be forgotten if it is gone at the next attempt.
        """
        self.name_undone()
        self.flush()

    def name_undone(self) -> None:
        """Record the names of a tree's files that aren't proven and that no listing names."""
        if not self.plan.is_tree:
            return
        end = len(self._proven)  # it grows while files are listed
        new, self._unnamed_from = range(self._unnamed_from, end), end
        numbers = (one for one in new if not self._proven[one] and not self._named[one])
        for record in listing_records(self.plan, numbers):
            self._append(record)

    def sync(self) -> None:
        """Sync the files written to the destinations to their media."""
        for route in self.plan.routes:
            route.destination.sync()
