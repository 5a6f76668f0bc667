"""The log of the upload of one file in parts."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from jobtool.jobs.forms import Form, stored_path
from jobtool.jobs.records import IntentRecord, Record, UploadRecord
from jobtool.stores.optional import Temporaries, supports
from jobtool.stores.store import Part, Upload
from jobtool.transfer.ledger.digests import KnownDigests
from jobtool.transfer.ledger.forms import OtherForms
from jobtool.transfer.ledger.uploads import UploadUnderWay, record_of
from jobtool.transfer.plan import Item


class UploadLog(Protocol):
    """Where a copy in parts records what it has done, and reads what was done before."""

    @property
    def under_way(self) -> UploadUnderWay | None:
        """The upload that may be taken up, None if there is none."""

    def beginning(self) -> int | None:
        """Record that an upload is about to be begun.

        Return the time of an earlier intent whose upload isn't known, in nanoseconds since 1970;
        None if there was none. Raises the errors of the journal.
        """

    def beginning_as(self, form: Form) -> int | None:
        """Record the same of a file that is compressed or unpacked on its way."""

    def begun(self, upload: Upload, part_size: int) -> None:
        """Note an upload in parts of ``part_size`` bytes."""

    def sent(self, part: Part) -> None:
        """Note a part; called from any thread."""

    def dropped(self) -> None:
        """Forget the upload: it can't be taken up."""

    def digests(self, part_size: int) -> KnownDigests:
        """Return the known digests of the file in parts of this size, to be added to."""

    def hashed(self, known: KnownDigests) -> None:
        """Note what was added to the file's digests."""

    def forget_digests(self) -> None:
        """Forget the digests: the file reads differently now, or is done."""


class FileUploads:
    """The ``UploadLog`` of one file of a ledger. The dictionaries are the ledger's, by file.

    ``append`` writes a record to the job's journal, ``flush`` brings the journal to disk.
    """

    def __init__(
        self,
        number: int,
        item: Item,
        *,
        uploads: dict[int, UploadUnderWay],
        intended: dict[int, int],
        forms: OtherForms,
        digests: dict[int, KnownDigests],
        append: Callable[[Record], None],
        flush: Callable[[], None],
    ) -> None:
        self._number = number
        self._item = item
        self._uploads = uploads
        self._intended = intended
        self._forms = forms
        self._digests = digests
        self._append = append
        self._flush = flush

    @property
    def under_way(self) -> UploadUnderWay | None:
        """The upload that may be taken up, None if there is none."""
        return self._uploads.get(self._number)

    def beginning(self) -> int | None:
        """Note that an upload is about to be begun; see ``UploadLog``."""
        return self._beginning(None)

    def beginning_as(self, form: Form) -> int | None:
        """Note the same of a file that is compressed or unpacked; see ``UploadLog``."""
        return self._beginning(form)

    def _beginning(self, form: Form | None) -> int | None:
        planned = self._item.destination_url
        url = planned if form is None else stored_path(planned, form)
        if supports(self._item.route.destination, Temporaries):
            return None  # their names have their owner's mark
        now_ns = time.time_ns()
        # On disk before the upload: without a record the upload may be another program's.
        record = IntentRecord(
            src_path=self._item.source_url, dst_path=url, at_ns=now_ns, compression=form
        )
        self._append(record)
        self._flush()
        self._forms.note_intent(self._number, record)
        earlier_ns = self._intended.get(self._number)
        self._intended.setdefault(self._number, now_ns)
        return earlier_ns

    def begun(self, upload: Upload, part_size: int) -> None:
        """Note an upload in parts of ``part_size`` bytes."""
        record = UploadRecord(
            src_path=self._item.source_url,
            dst_path=self._item.destination_url,
            size=self._item.entry.size,
            mtime_ns=self._item.entry.mtime_ns,
            part_size=part_size,
            token=upload.token,
            md5=upload.attributes.md5,
        )
        self._uploads[self._number] = UploadUnderWay(record)
        self._intended.pop(self._number, None)
        self._append(record)
        if not supports(self._item.route.destination, Temporaries):
            # At once: with only an intent, any other upload of this key would count as ours.
            self._flush()

    def sent(self, part: Part) -> None:
        """Note a part; called from any thread."""
        under_way = self._uploads[self._number]
        record = record_of(under_way.record.token, part)
        under_way.parts[part.number] = record
        self._append(record)

    def dropped(self) -> None:
        """Forget the upload: it can't be taken up."""
        self._uploads.pop(self._number, None)

    def digests(self, part_size: int) -> KnownDigests:
        """Return the known digests of the file; see ``UploadLog``."""
        known = self._digests.get(self._number)
        if known is None or not known.is_of(self._item, part_size):
            entry = self._item.entry
            known = KnownDigests(size=entry.size, mtime_ns=entry.mtime_ns, part_size=part_size)
            self._digests[self._number] = known
        return known

    def hashed(self, known: KnownDigests) -> None:
        """Note what was added to the file's digests."""
        for record in known.records(self._item):
            self._append(record)

    def forget_digests(self) -> None:
        """Forget the digests: the file reads differently now, or is done."""
        self._digests.pop(self._number, None)
